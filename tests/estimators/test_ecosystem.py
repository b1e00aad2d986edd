"""The estimators inside the tools of scikit-learn and joblib."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from trimtab.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = (array[:300] for array in load_digits(return_X_y=True))
X = X / 16
NET = MLPClassifier(
    (32,), normalization="batch", dropout=0.1, learning_rate_init=0.02, max_iter=10, random_state=0
)


@pytest.fixture(scope="module")
def fitted():
    return clone(NET).fit(X, Y)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_copies_predict_and_continue_with_the_same_bits(copied, solver):
    original = clone(NET).set_params(solver=solver, dropout=0.0).partial_fit(X, Y, classes=range(10))
    other = copied(original)
    assert np.array_equal(other.predict_proba(X), original.predict_proba(X))
    for estimator in (original, other):
        estimator.partial_fit(X, Y)
    for array, same in zip(original.coefs_, other.coefs_, strict=True):
        assert np.array_equal(array, same)


def test_maps_of_a_file_predict_and_are_trained_on(tmp_path, fitted):
    """Their arrays are read-only; a fit that continues has arrays of its own."""
    path = tmp_path / "net.joblib"
    joblib.dump(fitted, path)
    mapped = joblib.load(path, mmap_mode="r")
    assert not mapped.coefs_[0].flags.writeable
    assert np.array_equal(mapped.predict_proba(X), fitted.predict_proba(X))
    before = mapped.coefs_[0].copy()
    mapped.partial_fit(X, Y)
    assert not np.array_equal(mapped.coefs_[0], before)
    assert np.array_equal(joblib.load(path).coefs_[0], before)


def test_samples_may_be_read_only():
    x, y = X.copy(), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    assert clone(NET).fit(x, y).score(x, y) > 0.9


def test_clones_have_the_parameters_alone(fitted):
    assert fitted.get_params() == clone(fitted).get_params() == NET.get_params()
    assert not hasattr(clone(fitted), "coefs_")


def test_grid_search_in_two_processes():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), NET),
        {"mlpclassifier__dropout": [0.0, 0.9], "mlpclassifier__alpha": [1e-4]},
        n_jobs=2,
        cv=2,
        error_score="raise",
    ).fit(X, Y)
    assert search.best_params_["mlpclassifier__dropout"] == 0
    assert search.best_score_ > 0.8


def test_calibration_importance_and_predictions_by_folds(fitted):
    calibrated = CalibratedClassifierCV(NET, cv=2).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    importance = permutation_importance(fitted, X, Y, n_repeats=2, random_state=0).importances_mean
    assert importance[0] == 0 < importance.max()  # the corner is always empty
    assert np.mean(cross_val_predict(NET, X, Y, cv=3) == Y) > 0.8


def test_sample_weights_are_routed():
    weight = np.where(Y < 5, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        net = clone(NET).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        results = cross_validate(net, X, Y, params={"sample_weight": weight}, cv=2, return_estimator=True)
    guesses = results["estimator"][0].predict(X)
    assert np.isin(guesses, range(5)).all()


def test_threads_share_a_fitted_net(fitted):
    expected = fitted.predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: fitted.predict_proba(X), range(16)):
            assert np.array_equal(result, expected)


def test_names_of_features_are_kept_and_checked():
    pandas = pytest.importorskip("pandas")
    names = [f"pixel {number}" for number in range(64)]
    frame = pandas.DataFrame(X, columns=names)
    net = make_pipeline(StandardScaler(), NET).set_output(transform="pandas").fit(frame, pandas.Series(Y))
    assert list(net[-1].feature_names_in_) == names
    with pytest.raises(ValueError, match="feature names should match"):
        net[-1].predict(frame[names[::-1]])


def test_coefficients_can_be_changed_in_place(fitted):
    net = copy.deepcopy(fitted)
    net.coefs_[-1][...] = 0
    net.intercepts_[-1][...] = np.arange(10)
    assert (net.predict(X) == 9).all()


def test_page_of_a_notebook_shows_the_parameters():
    assert "MLPClassifier" in NET._repr_html_()
    assert repr(MLPRegressor(dropout=0.5)) == "MLPRegressor(dropout=0.5)"


@pytest.mark.parametrize("estimator", [NET, MLPRegressor()])
def test_what_a_fit_leaves_is_missing_before(estimator):
    for name in ("coefs_", "intercepts_", "loss_curve_"):
        with pytest.raises(AttributeError, match=f"this {type(estimator).__name__} is not fitted yet"):
            getattr(clone(estimator), name)
