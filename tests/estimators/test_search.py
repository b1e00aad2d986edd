"""Searches over settings on several processes: results as of a serial one, no more threads than CPUs."""

import os

import numpy as np
import pytest
import trimtab as tt
from trimtab.estimators import MLPClassifier

joblib = pytest.importorskip("joblib")
selection = pytest.importorskip("sklearn.model_selection")
pytest.importorskip("sklearn.experimental.enable_halving_search_cv")

GRID = {"dropout": [0.0, 0.5], "alpha": [1e-4, 1.0]}
WORKERS = 2
SEARCHES = {
    "grid": lambda net, **options: selection.GridSearchCV(net, GRID, cv=2, **options),
    "halving": lambda net, **options: selection.HalvingGridSearchCV(
        net, GRID, cv=2, resource="max_iter", max_resources=8, min_resources=2, random_state=0, **options
    ),
}


@pytest.fixture(scope="module")
def dask_workers():
    """A scheduler and two worker processes of Dask on this machine."""
    dask = pytest.importorskip("dask.distributed")
    with (
        dask.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        dask.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(params=["loky", "dask"])
def backend(request):
    if request.param == "dask":
        request.getfixturevalue("dask_workers")
    return request.param


def found(search, backend, n_jobs):
    """The results of a search, but for times, and the settings that it finds best."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 4))
    net = MLPClassifier((8,), max_iter=8, tol=0, learning_rate_init=0.01, random_state=0)
    with joblib.parallel_config(backend, n_jobs=n_jobs):
        fitted = SEARCHES[search](net).fit(x, x[:, 0] > 0)
    scores = {name: values for name, values in fitted.cv_results_.items() if "time" not in name}
    return scores, fitted.best_params_, fitted.predict_proba(x)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("search", SEARCHES)
def test_processes_find_what_one_process_finds(search, backend):
    np.testing.assert_equal(found(search, backend, WORKERS), found(search, "sequential", 1))


def test_workers_share_the_cpus(backend):
    """Each has a part of them as its limit of threads: together no more than there are, or one each."""

    def threads(_):
        return os.getpid(), tt.get_num_threads()

    with joblib.parallel_config(backend, n_jobs=WORKERS):
        of_workers = dict(joblib.Parallel()(joblib.delayed(threads)(task) for task in range(8)))
    assert os.getpid() not in of_workers
    assert max(of_workers.values()) <= max(1, (os.cpu_count() or 1) // WORKERS)
