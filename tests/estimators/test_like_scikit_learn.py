"""The same fits as scikit-learn's nets, while the parameters that these lack keep their defaults."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.neural_network
import trimtab.estimators
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.utils.validation import has_fit_parameter

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RECORDS = (
    "loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "best_loss_",
    "loss_",
    "n_iter_",
    "t_",
)
WEIGHTED = pytest.mark.skipif(
    not has_fit_parameter(sklearn.neural_network.MLPClassifier(), "sample_weight"),
    reason="scikit-learn's nets take sample_weight from 1.7 on",
)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_of_the_same_name_have_the_same_defaults(name):
    theirs = getattr(sklearn.neural_network, name)().get_params()
    ours = getattr(trimtab.estimators, name)().get_params()
    shared = theirs.keys() & ours.keys()
    assert len(shared) >= 22
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}


def data(kind):
    if kind == "labels":
        return make_multilabel_classification(200, random_state=0)
    if kind.startswith("value"):
        x, y = load_diabetes(return_X_y=True)
        y = (y - y.mean()) / y.std()
        if kind.endswith("poisson"):
            y = np.random.default_rng(0).poisson(np.exp(y))
        return x, np.stack([y, y**2], axis=1) if kind.startswith("values") else y
    x, y = load_digits(return_X_y=True)
    some = y < 2 if kind == "two classes" else slice(500)
    return x[some] / 16, np.array([f"digit {digit}" for digit in y])[some]


POISSON = pytest.mark.skipif(
    "loss" not in sklearn.neural_network.MLPRegressor().get_params(),
    reason="scikit-learn's regressor takes a loss from 1.7 on",
)
KINDS = (
    *("classes", "two classes", "labels", "value", "values"),
    *(pytest.param(kind, marks=POISSON) for kind in ("value, poisson", "values, poisson")),
)


def both(kind, **options):
    name = "MLPRegressor" if kind.startswith("value") else "MLPClassifier"
    options = {"hidden_layer_sizes": (20,), "max_iter": 12, "random_state": 3, **options}
    if kind.endswith("poisson"):
        options["loss"] = "poisson"
    return [getattr(module, name)(**options) for module in (sklearn.neural_network, trimtab.estimators)]


def assert_alike(theirs, ours, tolerance=1e-6):
    for expected, array in zip(
        theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True
    ):
        assert array.dtype == expected.dtype
        np.testing.assert_allclose(array, expected, rtol=0, atol=tolerance)
    for name in RECORDS:
        expected, record = getattr(theirs, name), getattr(ours, name)
        assert (record is None) == (expected is None), name
        if expected is not None:
            np.testing.assert_allclose(record, expected, rtol=tolerance, err_msg=name)
    assert (ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (
        *(theirs.n_layers_, theirs.n_outputs_, theirs.out_activation_),
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd"},
        {"solver": "sgd", "shuffle": False},
        {"solver": "sgd", "batch_size": 32, "alpha": 1.0},
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.3},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.1, "max_iter": 40},
        {"tol": 0.05, "n_iter_no_change": 2, "max_iter": 60},
        {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 30, "validation_fraction": 0.2},
        {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3, "learning_rate_init": 0.01},
        {"hidden_layer_sizes": (), "alpha": 0.1},
        {"hidden_layer_sizes": [12, 9, 7], "activation": "tanh"},
        {"activation": "logistic"},
        {"activation": "identity"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_fit_takes_the_same_steps(kind, options):
    x, y = data(kind)
    theirs, ours = (estimator.fit(x, y) for estimator in both(kind, **options))
    assert_alike(theirs, ours)
    np.testing.assert_allclose(ours.score(x, y), theirs.score(x, y), rtol=1e-9)
    expected, guesses = theirs.predict(x), ours.predict(x)
    if kind.startswith("value"):
        np.testing.assert_allclose(guesses, expected, atol=1e-6)
    else:
        assert np.array_equal(guesses, expected)
        assert np.array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-6)
        np.testing.assert_allclose(ours.predict_log_proba(x), np.log(theirs.predict_proba(x)), rtol=1e-6)


@WEIGHTED
@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_sample_weights_are_the_same(kind, options):
    x, y = data(kind)
    weight = np.random.default_rng(0).uniform(0, 3, len(x))
    assert_alike(*(estimator.fit(x, y, weight) for estimator in both(kind, **options)))


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_takes_the_same_steps(kind):
    x, y = data(kind)
    classes = (
        {} if kind.startswith("value") else {"classes": np.arange(5) if kind == "labels" else np.unique(y)}
    )
    theirs, ours = both(kind)
    for part in (slice(None), slice(100), slice(50, 150)):
        for estimator in (theirs, ours):
            estimator.partial_fit(x[part], y[part], **classes)
    assert_alike(theirs, ours)


@pytest.mark.parametrize("options", [{"tol": 0.05, "n_iter_no_change": 3}, {"early_stopping": True}], ids=str)
def test_warm_start_continues_in_the_same_way(options):
    x, y = data("classes")
    theirs, ours = both("classes", warm_start=True, **options)
    for _ in range(3):
        theirs.fit(x, y)
        ours.fit(x, y)
    assert_alike(theirs, ours)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_samples_are_those_of_the_dense_matrix(form):
    x, y = data("classes")
    theirs, ours = both("classes")
    theirs.fit(x, y)
    ours.fit(form(x), y)
    assert_alike(theirs, ours)
    assert np.array_equal(ours.predict(form(x)), theirs.predict(x))


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_trained_in_float32(kind):
    x, y = data(kind)
    theirs, ours = (estimator.fit(x.astype(np.float32), y) for estimator in both(kind, max_iter=3))
    assert_alike(theirs, ours, tolerance=1e-4)
    assert ours._output(x[:3].astype(np.float32)).dtype == np.float32


def test_printed_course_is_the_same(capsys):
    x, y = data("classes")
    options = {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "tol": 0.05,
        "n_iter_no_change": 2,
        "max_iter": 60,
    }
    printed = []
    for estimator in both("classes", verbose=True, learning_rate_init=0.2, **options):
        estimator.fit(x, y)
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]
    assert "Learning rate too small. Stopping." in printed[0] or "Setting learning rate to" in printed[0]


@pytest.mark.parametrize("verbose", [True, False])
def test_printed_scores_are_the_same(verbose, capsys):
    x, y = data("classes")
    printed = []
    for estimator in both("classes", verbose=verbose, early_stopping=True):
        estimator.fit(x, y)
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]
    assert printed[0].count("Validation score: ") == (12 if verbose else 0)
