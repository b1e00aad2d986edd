"""Conversions of decay from other libraries: their formulas, and solutions of scikit-learn."""

import re
import warnings
from inspect import isfunction
from pathlib import Path

import numpy as np
import pytest
import trimtab as tt
from trimtab import losses, nn
from trimtab.optim import SGD, conventions


def penalty_of(strengths, w):
    return tt.penalty(w, l1=strengths["l1"], l2=strengths["weight_decay"])


def test_each_convention_has_the_value_of_its_formula(rng):
    """As a penalty of the library and as the formula states it."""
    w = rng.standard_normal(20)
    squares, sizes, n = np.square(w).sum(), np.abs(w).sum(), 50
    formulas = {
        0.3 / n * squares + 0.2 / n * sizes: conventions.lambda_over_n(0.3, 0.2, samples=n),
        0.3 / (2 * n) * squares + 0.2 / n * sizes: conventions.lambda_over_2n(0.3, 0.2, samples=n),
        0.3 * squares + 0.2 * sizes: conventions.keras(0.3, 0.2),
        0.3 / (2 * 8) * squares: conventions.scikit_learn_mlp(0.3, batch_size=8),
        0.3 * (0.75 / 2 * squares + 0.25 * sizes): conventions.scikit_learn_linear(0.3, l1_ratio=0.25),
        0.3 * squares / n: conventions.scikit_learn_ridge(0.3, samples=n),
        squares / 2 / (0.3 * n): conventions.scikit_learn_logistic(0.3, samples=n),
        # twice half the squared error, over 3 outputs
        2 / 3 * 0.3 / 16 * squares: conventions.scikit_learn_mlp_regressor(0.3, batch_size=8, outputs=3),
        2 / 3 * 0.3 * (0.75 / 2 * squares + 0.25 * sizes): conventions.scikit_learn_elastic_net(
            0.3, l1_ratio=0.25, outputs=3
        ),
    }
    for expected, strengths in formulas.items():
        assert penalty_of(strengths, w) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"^lambda_over_n: samples must be finite and > 0, got 0$"):
        conventions.lambda_over_n(0.1, samples=0)


@pytest.mark.parametrize(
    "convention",
    [
        lambda: conventions.lambda_over_n(samples=9),
        lambda: conventions.lambda_over_2n(samples=9),
        conventions.keras,
    ],
)
def test_strengths_are_0_unless_given(convention):
    assert convention() == {"weight_decay": 0, "l1": 0}


def test_the_page_on_decay_lists_every_convention():
    page = (Path(__file__).parents[2] / "docs" / "weight-decay.md").read_text()
    own = (value for value in vars(conventions).values() if isfunction(value))
    functions = {function.__name__ for function in own if function.__module__ == conventions.__name__}
    assert set(re.findall(r"`(\w+)` \|$", page, re.MULTILINE)) == {
        name for name in functions if not name.startswith("_")
    }


NUMBERS = {
    "lambda_over_n: l2": lambda v: conventions.lambda_over_n(v, samples=9),
    "lambda_over_n: l1": lambda v: conventions.lambda_over_n(0.1, v, samples=9),
    "lambda_over_2n: l1": lambda v: conventions.lambda_over_2n(0.1, v, samples=9),
    "keras: l2": conventions.keras,
    "keras: l1": lambda v: conventions.keras(0.1, v),
    "scikit_learn_mlp: alpha": lambda v: conventions.scikit_learn_mlp(v, batch_size=9),
    "scikit_learn_mlp_regressor: alpha": lambda v: conventions.scikit_learn_mlp_regressor(v, batch_size=9),
    "scikit_learn_linear: alpha": conventions.scikit_learn_linear,
    "scikit_learn_linear: l1_ratio": lambda v: conventions.scikit_learn_linear(0.1, l1_ratio=v),
    "scikit_learn_elastic_net: alpha": conventions.scikit_learn_elastic_net,
    "scikit_learn_elastic_net: l1_ratio": lambda v: conventions.scikit_learn_elastic_net(0.1, l1_ratio=v),
    "scikit_learn_ridge: alpha": lambda v: conventions.scikit_learn_ridge(v, samples=9),
    "scikit_learn_logistic: l1_ratio": lambda v: conventions.scikit_learn_logistic(1, samples=9, l1_ratio=v),
}
POSITIVE = {
    "lambda_over_n: samples": lambda v: conventions.lambda_over_n(0.1, samples=v),
    "lambda_over_2n: samples": lambda v: conventions.lambda_over_2n(0.1, samples=v),
    "scikit_learn_mlp: batch_size": lambda v: conventions.scikit_learn_mlp(0.1, batch_size=v),
    "scikit_learn_mlp_regressor: batch_size": lambda v: conventions.scikit_learn_mlp_regressor(
        0.1, batch_size=v
    ),
    "scikit_learn_mlp_regressor: outputs": lambda v: conventions.scikit_learn_mlp_regressor(
        0.1, batch_size=9, outputs=v
    ),
    "scikit_learn_elastic_net: outputs": lambda v: conventions.scikit_learn_elastic_net(0.1, outputs=v),
    "scikit_learn_ridge: samples": lambda v: conventions.scikit_learn_ridge(0.1, samples=v),
    "scikit_learn_ridge: outputs": lambda v: conventions.scikit_learn_ridge(0.1, samples=9, outputs=v),
    "scikit_learn_logistic: inverse": lambda v: conventions.scikit_learn_logistic(v, samples=9),
    "scikit_learn_logistic: samples": lambda v: conventions.scikit_learn_logistic(1.0, samples=v),
}


@pytest.mark.parametrize("name", NUMBERS | POSITIVE)
def test_invalid_strengths_are_refused_by_name(name):
    call = (NUMBERS | POSITIVE)[name]
    bad = [-0.1, np.nan] if name in NUMBERS else [0, -1, np.nan]
    for value in [*bad, 1.1] if "ratio" in name else bad:
        with pytest.raises((ValueError, TypeError), match=f"^{name} must be .*, got {value}$"):
            call(value)
    for value in ("1", True, None):
        with pytest.raises(TypeError, match=f"^{name} must be .*, got {value!r}$"):
            call(value)


def test_a_strength_of_zero_is_no_penalty():
    assert conventions.scikit_learn_logistic(np.inf, samples=9) == {"weight_decay": 0.0, "l1": 0.0}
    with pytest.raises(TypeError, match=r"^scikit_learn_logistic: two_logits must be a bool, got 2$"):
        conventions.scikit_learn_logistic(1.0, samples=9, two_logits=2)


# ---- scikit-learn ----
#
# Training continues from scikit-learn's solution with our loss and the converted strengths: the weights stay
# where they are. With other strengths they move, so a wrong factor shows.


def linear_model(coefficients, intercepts):
    """A linear layer with weights (K, F) or (F,) and biases."""
    weights = np.atleast_2d(coefficients)
    layer = nn.Linear(weights.shape[1], len(weights), dtype="f8")
    layer.weight.value[...], layer.bias.value[...] = weights, intercepts
    return nn.Sequential(layer)


def moved_by_training(model, loss, x, y, strengths, last=None, steps=300):
    """The distance that full-batch descent moves the weights; `last` is the decay of the last layer."""
    layers = list(model.children().values())
    groups = [
        {"parameters": layers[:-1] or layers[-1:], **strengths},
        {"parameters": layers[-1:], **(last or strengths)},
    ]
    optimizer = SGD(
        groups if layers[:-1] else groups[:1], lr=0.05, momentum=0.9, dampening=0.9, proximal=True
    )
    before = [parameter.value.copy() for parameter in model.parameters()]
    for _ in range(steps):
        model.backward(loss(model(x), y)[1])
        optimizer.step()
    after = [parameter.value for parameter in model.parameters()]
    return max(np.abs(one - other).max() for one, other in zip(before, after, strict=True))


def assert_solves(build, loss, x, y, strengths, last=None, tol=1e-5):
    assert moved_by_training(build(), loss, x, y, strengths, last) < tol
    for factor in (0.5, 2.0):
        other = {name: factor * value for name, value in strengths.items()}
        assert moved_by_training(build(), loss, x, y, other, last and strengths) > 100 * tol


class OneLogit:
    """The binary cross entropy of one logit, scikit-learn's loss for two classes."""

    def __call__(self, logits, labels):
        p = 1 / (1 + np.exp(-logits))
        value = -np.mean(labels * np.log(p[:, 0]) + (1 - labels) * np.log(1 - p[:, 0]))
        return value, (p - labels[:, None]) / len(labels)


class HalfSquares:
    """Half the squared error, summed over the outputs."""

    def __call__(self, output, target):
        return np.mean(np.square(output - target).sum(axis=1)) / 2, (output - target) / len(target)


@pytest.fixture
def regression(rng):
    """Inputs (80, 4), and targets (80, 1) or (80, 3) with offsets."""
    x = rng.standard_normal((80, 4))
    weights = rng.standard_normal((4, 3)) * [[2.0], [0.5], [0.02], [1.0]]
    y = x @ weights + [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal((80, 3))
    return x, {1: y[:, :1], 3: y}


@pytest.fixture
def classes(rng):
    """Inputs (90, 4), and labels of two and of three classes."""
    x = rng.standard_normal((90, 4))
    scores = x @ rng.standard_normal((4, 3)) + rng.standard_normal((90, 3))
    return x, {2: (scores[:, 0] > 0.3).astype(int), 3: scores.argmax(axis=1)}


@pytest.mark.parametrize("outputs", [1, 3])
def test_ridge_has_the_solution_of_scikit_learn(outputs, regression):
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = regression[0], regression[1][outputs]
    ridge = linear.Ridge(20.0).fit(x, y)
    strengths = conventions.scikit_learn_ridge(20.0, samples=80, outputs=outputs)
    assert_solves(lambda: linear_model(ridge.coef_, ridge.intercept_), losses.MSE(), x, y, strengths)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("ratio", [1.0, 0.3])
def test_elastic_net_and_lasso_have_the_solutions_of_scikit_learn(ratio, outputs, regression):
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = regression[0], regression[1][outputs]
    kind = linear.Lasso(0.1, tol=1e-12) if ratio == 1 else linear.ElasticNet(0.1, l1_ratio=ratio, tol=1e-12)
    net = kind.fit(x, y)
    assert ratio < 1 or (net.coef_ == 0).any()

    def build():
        return linear_model(net.coef_, net.intercept_)

    strengths = conventions.scikit_learn_elastic_net(0.1, l1_ratio=ratio, outputs=outputs)
    assert_solves(build, losses.MSE(), x, y, strengths)
    assert_solves(build, HalfSquares(), x, y, conventions.scikit_learn_linear(0.1, l1_ratio=ratio))


def test_the_default_ratio_of_elastic_net_is_that_of_scikit_learn(regression):
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = regression[0], regression[1][1]
    net = linear.ElasticNet(0.1, tol=1e-12).fit(x, y)
    strengths = conventions.scikit_learn_elastic_net(0.1)
    assert_solves(lambda: linear_model(net.coef_, net.intercept_), losses.MSE(), x, y, strengths)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_logistic_regression_of_two_classes_has_the_solution_of_scikit_learn(ratio, classes):
    """It has one logit there; here two, with half of the weights each and opposite signs."""
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = classes[0], classes[1][2]
    how = {"l1_ratio": ratio, "solver": "saga"} if ratio else {}
    found = linear.LogisticRegression(C=0.1, tol=1e-10, max_iter=100_000, **how).fit(x, y)
    w, b = found.coef_, found.intercept_
    one = conventions.scikit_learn_logistic(0.1, samples=90, l1_ratio=ratio)
    assert_solves(lambda: linear_model(w, b), OneLogit(), x, y, one)
    two = conventions.scikit_learn_logistic(0.1, samples=90, l1_ratio=ratio, two_logits=True)
    halves = np.vstack([-w, w]) / 2, np.concatenate([-b, b]) / 2
    assert_solves(lambda: linear_model(*halves), losses.CrossEntropy(), x, y, two)


def test_logistic_regression_of_three_classes_has_the_solution_of_scikit_learn(classes):
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = classes[0], classes[1][3]
    found = linear.LogisticRegression(C=0.1, tol=1e-10, max_iter=1000).fit(x, y)
    strengths = conventions.scikit_learn_logistic(0.1, samples=90)
    assert_solves(lambda: linear_model(found.coef_, found.intercept_), losses.CrossEntropy(), x, y, strengths)


@pytest.mark.parametrize("ratio", [0.0, 0.4])
def test_linear_models_have_the_solutions_of_stochastic_descent(ratio, regression, classes):
    """As closely as their descent comes with small steps."""
    linear = pytest.importorskip("sklearn.linear_model")
    how = {"alpha": 0.3, "penalty": "elasticnet", "l1_ratio": ratio, "tol": None}
    how |= {"max_iter": 3000, "learning_rate": "constant", "eta0": 3e-4, "random_state": 0}
    x, y = regression[0], regression[1][1]
    labels = classes[1][2]
    regressor = linear.SGDRegressor(**how).fit(x, y[:, 0])
    classifier = linear.SGDClassifier("log_loss", **how).fit(classes[0], labels)
    net = conventions.scikit_learn_elastic_net(0.3, l1_ratio=ratio)
    own = conventions.scikit_learn_linear(0.3, l1_ratio=ratio)
    for model, loss, data, strengths in (
        (regressor, losses.MSE(), (x, y), net),
        (regressor, HalfSquares(), (x, y), own),
        (classifier, OneLogit(), (classes[0], labels), own),
    ):

        def build(model=model):
            return linear_model(model.coef_, model.intercept_)

        near = moved_by_training(build(), loss, *data, strengths)
        for factor in (0.5, 2.0):
            other = {name: factor * value for name, value in strengths.items()}
            assert moved_by_training(build(), loss, *data, other) > 3 * near


def network(model):
    """The network of a scikit-learn perceptron with tanh units."""
    layers = []
    for weights, biases in zip(model.coefs_, model.intercepts_, strict=True):
        layers += [*linear_model(weights.T, biases).children().values(), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def perceptron(kind, x, y, alpha):
    """A perceptron of three tanh units after its training has converged."""
    neural = pytest.importorskip("sklearn.neural_network")
    how = {"solver": "sgd", "batch_size": len(x), "learning_rate_init": 0.2, "tol": 0, "max_iter": 6000}
    model = getattr(neural, kind)(
        hidden_layer_sizes=(3,), activation="tanh", alpha=alpha, random_state=0, **how
    )
    model.set_params(n_iter_no_change=10**6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few iterations
        return model.fit(x, y)


@pytest.mark.parametrize("outputs", [1, 3])
def test_mlp_regressor_has_the_solution_of_scikit_learn(outputs, regression):
    x, y = regression[0], regression[1][outputs] / 4
    model = perceptron("MLPRegressor", x, y if outputs > 1 else y[:, 0], alpha=10.0)
    strengths = conventions.scikit_learn_mlp_regressor(10.0, batch_size=80, outputs=outputs)
    assert_solves(lambda: network(model), losses.MSE(), x, y, strengths)
    half = conventions.scikit_learn_mlp(10.0, batch_size=80)
    assert_solves(lambda: network(model), HalfSquares(), x, y, half)


def test_mlp_classifier_of_three_classes_has_the_solution_of_scikit_learn(classes):
    x, y = classes[0], classes[1][3]
    model = perceptron("MLPClassifier", x, y, alpha=3.0)
    strengths = conventions.scikit_learn_mlp(3.0, batch_size=90)
    assert_solves(lambda: network(model), losses.CrossEntropy(), x, y, strengths)


def test_mlp_classifier_of_two_classes_has_the_solution_of_scikit_learn(classes):
    """It has one logit there; here two, whose layer has twice the decay."""
    x, y = classes[0], classes[1][2]
    model = perceptron("MLPClassifier", x, y, alpha=3.0)
    strengths = conventions.scikit_learn_mlp(3.0, batch_size=90)
    assert_solves(lambda: network(model), OneLogit(), x, y, strengths)
    model.coefs_[-1] = np.hstack([-model.coefs_[-1], model.coefs_[-1]]) / 2
    model.intercepts_[-1] = np.concatenate([-model.intercepts_[-1], model.intercepts_[-1]]) / 2
    last = {"weight_decay": 2 * strengths["weight_decay"], "l1": 0.0}
    assert moved_by_training(network(model), losses.CrossEntropy(), x, y, strengths, last) < 1e-5
    assert moved_by_training(network(model), losses.CrossEntropy(), x, y, strengths) > 1e-3
