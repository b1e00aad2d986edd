"""Conversions of weight penalties from the conventions of other libraries and textbooks.

The penalty of `trimtab.sgd_update`, `trimtab.penalty` and `SGD` is ``weight_decay / 2 * sum(w**2) + l1 *
sum(|w|)``, added to the mean loss of a batch. Each function takes the strengths in one convention and returns
``{"weight_decay": ..., "l1": ...}``, to be passed as keywords:

>>> from trimtab.optim import conventions
>>> conventions.keras(l2=0.01)
{'weight_decay': 0.02, 'l1': 0.0}

`samples` is n, the size of the whole training set; with sample weights, their sum. `outputs` is the number of
outputs of a regression; `losses.MSE` is a mean over these, too. No convention here penalizes biases.
"""

from __future__ import annotations

from math import inf
from typing import TypedDict

from trimtab._checks import flag, number, whole


class Strengths(TypedDict):
    """Keywords of `SGD` and `trimtab.sgd_update`."""

    weight_decay: float
    l1: float


def lambda_over_n(l2: float = 0.0, l1: float = 0.0, *, samples: float) -> Strengths:
    """``l2 / n * sum(w**2) + l1 / n * sum(|w|)``, added to the mean loss.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.lambda_over_n(l2=0.5, samples=1000)
    {'weight_decay': 0.001, 'l1': 0.0}
    """
    l2, l1 = _penalties("lambda_over_n", l2=l2, l1=l1)
    samples = number("lambda_over_n: samples", samples, above=0)
    return {"weight_decay": 2 * l2 / samples, "l1": l1 / samples}


def lambda_over_2n(l2: float = 0.0, l1: float = 0.0, *, samples: float) -> Strengths:
    """``l2 / 2n * sum(w**2) + l1 / n * sum(|w|)``, added to the mean loss: the usual form in textbooks.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.lambda_over_2n(l2=0.5, samples=1000)
    {'weight_decay': 0.0005, 'l1': 0.0}
    """
    l2, l1 = _penalties("lambda_over_2n", l2=l2, l1=l1)
    samples = number("lambda_over_2n: samples", samples, above=0)
    return {"weight_decay": l2 / samples, "l1": l1 / samples}


def keras(l2: float = 0.0, l1: float = 0.0) -> Strengths:
    """``l2 * sum(w**2) + l1 * sum(|w|)``, added to the mean loss: Keras's ``regularizers.L1L2``.

    Valid with the corresponding losses: ``CategoricalCrossentropy`` is our `CrossEntropy`,
    ``MeanSquaredError`` our `MSE`, and ``Huber`` a mean over the outputs like ours.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.keras(l2=1e-4)
    {'weight_decay': 0.0002, 'l1': 0.0}
    """
    l2, l1 = _penalties("keras", l2=l2, l1=l1)
    return {"weight_decay": 2 * l2, "l1": l1}


def scikit_learn_mlp(alpha: float, *, batch_size: int) -> Strengths:
    """``alpha / (2 * batch) * sum(w**2)``, added to the mean loss: ``MLPClassifier``.

    Valid with `losses.CrossEntropy` for three or more classes. For two classes, ``MLPClassifier`` has a
    single logistic output, `losses.CrossEntropy` two logits with that output as their difference. For the
    same function, the weights into the two logits have half the sum of squares. For the same solution, put
    the last layer into a group of its own with twice the `weight_decay` of the others.

    For ``MLPRegressor`` see `scikit_learn_mlp_regressor`.

    Parameters
    ----------
    alpha : float
    batch_size : int
        That of ``solver="sgd"`` and ``"adam"``, by default ``min(200, n)``; n for ``"lbfgs"``. In
        scikit-learn a smaller last batch has a larger penalty; here every batch has the same.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.scikit_learn_mlp(1e-4, batch_size=200)
    {'weight_decay': 5e-07, 'l1': 0.0}
    """
    (alpha,) = _penalties("scikit_learn_mlp", alpha=alpha)
    return {"weight_decay": alpha / number("scikit_learn_mlp: batch_size", batch_size, above=0), "l1": 0.0}


def scikit_learn_mlp_regressor(alpha: float, *, batch_size: int, outputs: int = 1) -> Strengths:
    """``alpha / (2 * batch) * sum(w**2)``, added to half the squared error: ``MLPRegressor``.

    Valid with `losses.MSE`, the mean squared error over samples and outputs. ``MLPRegressor`` minimizes half
    of it, summed over the outputs, so the penalty is doubled here and divided by `outputs`.

    Parameters
    ----------
    alpha : float
    batch_size : int
        As for `scikit_learn_mlp`.
    outputs : int

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.scikit_learn_mlp_regressor(1e-4, batch_size=200)
    {'weight_decay': 1e-06, 'l1': 0.0}
    """
    name = "scikit_learn_mlp_regressor"
    (alpha,) = _penalties(name, alpha=alpha)
    size = number(f"{name}: batch_size", batch_size, above=0)
    outputs = whole(f"{name}: outputs", outputs, 1)
    return {"weight_decay": 2 * alpha / (size * outputs), "l1": 0.0}


def scikit_learn_linear(alpha: float, *, l1_ratio: float = 0.0) -> Strengths:
    """``alpha * ((1 - l1_ratio) / 2 * sum(w**2) + l1_ratio * sum(|w|))``, added to the mean loss.

    ``SGDClassifier`` and ``SGDRegressor``, with the loss that they minimize: for
    ``SGDClassifier("log_loss")`` that of one logit for each class against the rest, for regression half the
    squared error. With `losses.MSE`, use `scikit_learn_elastic_net`.

    Parameters
    ----------
    alpha : float
    l1_ratio : float
        From 0 to 1: 0 for ``penalty="l2"``, 1 for ``"l1"``; 0.15 is their default for ``"elasticnet"``.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.scikit_learn_linear(1e-4, l1_ratio=0.5)
    {'weight_decay': 5e-05, 'l1': 5e-05}
    """
    (alpha,) = _penalties("scikit_learn_linear", alpha=alpha)
    ratio = number("scikit_learn_linear: l1_ratio", l1_ratio, 0, 1)
    return {"weight_decay": alpha * (1 - ratio), "l1": alpha * ratio}


def scikit_learn_elastic_net(alpha: float, *, l1_ratio: float = 0.5, outputs: int = 1) -> Strengths:
    """``alpha * ((1 - l1_ratio) / 2 * sum(w**2) + l1_ratio * sum(|w|))``, added to half the squared error.

    ``ElasticNet``, ``Lasso`` (``l1_ratio=1``) and ``SGDRegressor``. Valid with `losses.MSE`, which is twice
    that error, and a mean over the outputs instead of the sum of ``ElasticNet``.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.scikit_learn_elastic_net(0.1, l1_ratio=0.5)
    {'weight_decay': 0.1, 'l1': 0.1}
    """
    name = "scikit_learn_elastic_net"
    (alpha,) = _penalties(name, alpha=alpha)
    ratio = number(f"{name}: l1_ratio", l1_ratio, 0, 1)
    factor = 2 * alpha / whole(f"{name}: outputs", outputs, 1)
    return {"weight_decay": factor * (1 - ratio), "l1": factor * ratio}


def scikit_learn_ridge(alpha: float, *, samples: float, outputs: int = 1) -> Strengths:
    """``alpha * sum(w**2)``, added to the sum of squared errors over samples and outputs: ``Ridge``.

    Valid with `losses.MSE`, a mean over both. A ``Ridge`` with an alpha for each target is a separate
    regression for each.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.scikit_learn_ridge(1.0, samples=500)
    {'weight_decay': 0.004, 'l1': 0.0}
    """
    (alpha,) = _penalties("scikit_learn_ridge", alpha=alpha)
    samples = number("scikit_learn_ridge: samples", samples, above=0)
    outputs = whole("scikit_learn_ridge: outputs", outputs, 1)
    return {"weight_decay": 2 * alpha / (samples * outputs), "l1": 0.0}


def scikit_learn_logistic(
    inverse: float, *, samples: float, l1_ratio: float = 0.0, two_logits: bool = False
) -> Strengths:
    """``(1 - l1_ratio) / 2 * sum(w**2) + l1_ratio * sum(|w|)``, added to C times the sum of the losses.

    ``LogisticRegression``. Valid with `losses.CrossEntropy` for three or more classes. For two classes,
    ``LogisticRegression`` has one logit, and the result is for a loss of one logit unless `two_logits`.

    Parameters
    ----------
    inverse : float
        C > 0; infinity is no penalty.
    samples : float
    l1_ratio : float
        From 0, the default there, to 1.
    two_logits : bool
        Whether two classes have two logits here, as in `losses.CrossEntropy`. Their difference is the logit
        of ``LogisticRegression``, and their weights have half the sum of squares: `weight_decay` is doubled.
        False for three or more classes.

    Examples
    --------
    >>> from trimtab.optim import conventions
    >>> conventions.scikit_learn_logistic(1.0, samples=500)
    {'weight_decay': 0.002, 'l1': 0.0}
    """
    name = "scikit_learn_logistic"
    inverse = inf if inverse == inf else number(f"{name}: inverse", inverse, above=0)
    ratio = number(f"{name}: l1_ratio", l1_ratio, 0, 1)
    strength = 1 / (inverse * number(f"{name}: samples", samples, above=0))
    factor = 2 if flag(f"{name}: two_logits", two_logits) else 1
    return {"weight_decay": (1 - ratio) * strength * factor, "l1": ratio * strength}


def _penalties(function: str, **strengths: float) -> list[float]:
    """Return strengths of penalties, each a finite float of at least 0."""
    return [number(f"{function}: {name}", value, 0) for name, value in strengths.items()]
