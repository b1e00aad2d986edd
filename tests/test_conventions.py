"""Strengths of decay in other conventions: their formulas, and the solutions of scikit-learn."""

import re
from inspect import isfunction
from pathlib import Path

import numpy as np
import pytest
import trimtab as tt
from numpy.testing import assert_allclose
from trimtab import nn
from trimtab.optim import SGD, conventions


def penalty_of(strengths, w):
    return tt.penalty(w, l1=strengths["l1"], l2=strengths["weight_decay"])


def test_conventions(rng):
    """Each penalty as its formula states it has the value of ours."""
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
    }
    for expected, strengths in formulas.items():
        assert penalty_of(strengths, w) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"^lambda_over_n: samples must be > 0, got 0$"):
        conventions.lambda_over_n(0.1, samples=0)


def test_the_page_on_decay_lists_every_convention():
    page = (Path(__file__).parents[1] / "docs" / "weight-decay.md").read_text()
    own = (value for value in vars(conventions).values() if isfunction(value))
    functions = {function.__name__ for function in own if function.__module__ == conventions.__name__}
    assert set(re.findall(r"`(\w+)` \|$", page, re.MULTILINE)) == {
        name for name in functions if not name.startswith("_")
    }


def descend(gradient, features, strengths, lr, count):
    """The end of full-batch descent on a loss of one weight vector."""
    weight = nn.Parameter(np.zeros(features))
    optimizer = SGD([weight], lr=lr, proximal=True, **strengths)
    for _ in range(count):
        weight.grad[...] = gradient(weight.value)
        optimizer.step()
    return weight.value


def test_conventions_find_the_solutions_of_scikit_learn(rng):
    linear = pytest.importorskip("sklearn.linear_model")
    x = rng.standard_normal((100, 5))
    y = x @ np.array([2.0, -1.0, 0.05, 0.0, 0.5]) + 0.1 * rng.standard_normal(100)
    labels = y > 0

    def squared_error(w):
        return x.T @ (x @ w - y) / len(x)

    def log_loss(w):
        return x.T @ (1 / (1 + np.exp(-x @ w)) - labels) / len(x)

    cases = [
        (
            linear.Ridge(30.0, fit_intercept=False).fit(x, y),
            lambda w: 2 * squared_error(w),
            conventions.scikit_learn_ridge(30.0, samples=100),
        ),
        (
            linear.Lasso(0.1, fit_intercept=False, tol=1e-12).fit(x, y),
            squared_error,
            conventions.scikit_learn_linear(0.1, l1_ratio=1.0),
        ),
        (
            linear.ElasticNet(0.1, l1_ratio=0.3, fit_intercept=False, tol=1e-12).fit(x, y),
            squared_error,
            conventions.scikit_learn_linear(0.1, l1_ratio=0.3),
        ),
        (
            linear.LogisticRegression(C=0.3, fit_intercept=False, tol=1e-10).fit(x, labels),
            log_loss,
            conventions.scikit_learn_logistic(0.3, samples=100),
        ),
    ]
    for model, gradient, strengths in cases:
        assert_allclose(descend(gradient, 5, strengths, 0.2, 2000), model.coef_.ravel(), atol=1e-6)
