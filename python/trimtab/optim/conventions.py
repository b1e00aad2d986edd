"""Strengths of weight penalties as others state them, in ours.

The penalty of `trimtab.sgd_update`, `trimtab.penalty` and `SGD` is ``weight_decay / 2 * sum(w**2) + l1 *
sum(|w|)``, added to the mean loss of a batch. Each function takes the strengths of one convention and returns
``{"weight_decay": ..., "l1": ...}``, to be given on as keywords:

>>> from trimtab.optim import conventions
>>> conventions.keras(l2=0.01)
{'weight_decay': 0.02, 'l1': 0.0}

`samples` is n, the size of the whole training set; with sample weights, their sum. `outputs` is the number of
outputs of a regression, over which `losses.MSE` is a mean, too. Biases are left out there as they are here.
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
    """``l2 / n * sum(w**2) + l1 / n * sum(|w|)``, added to the mean loss."""
    l2, l1 = _penalties("lambda_over_n", l2=l2, l1=l1)
    samples = _positive("lambda_over_n: samples", samples)
    return {"weight_decay": 2 * l2 / samples, "l1": l1 / samples}


def lambda_over_2n(l2: float = 0.0, l1: float = 0.0, *, samples: float) -> Strengths:
    """``l2 / 2n * sum(w**2) + l1 / n * sum(|w|)``, added to the mean loss: the usual one of textbooks."""
    l2, l1 = _penalties("lambda_over_2n", l2=l2, l1=l1)
    samples = _positive("lambda_over_2n: samples", samples)
    return {"weight_decay": l2 / samples, "l1": l1 / samples}


def keras(l2: float = 0.0, l1: float = 0.0) -> Strengths:
    """``l2 * sum(w**2) + l1 * sum(|w|)``, added to the mean loss: Keras's ``regularizers.L1L2``.

    It holds for the losses that have the same name there: ``CategoricalCrossentropy`` is our `CrossEntropy`,
    ``MeanSquaredError`` our `MSE`. Keras's ``Huber`` is a mean over the outputs as ours.
    """
    l2, l1 = _penalties("keras", l2=l2, l1=l1)
    return {"weight_decay": 2 * l2, "l1": l1}


def scikit_learn_mlp(alpha: float, *, batch_size: int) -> Strengths:
    """``alpha / (2 * batch) * sum(w**2)``, added to the mean loss: ``MLPClassifier``.

    It holds with `losses.CrossEntropy` for three and more classes. With two, ``MLPClassifier`` has a single
    logistic output where `losses.CrossEntropy` has two logits, whose difference is that output: at the same
    function the weights into them have half its sum of squares. For the same solution give the last layer,
    in a group of its own, twice the `weight_decay` of the others.

    For ``MLPRegressor`` see `scikit_learn_mlp_regressor`.

    Parameters
    ----------
    alpha : float
    batch_size : int
        That of ``solver="sgd"`` and ``"adam"``, ``min(200, n)`` by default; n for ``"lbfgs"``. A last batch
        that is smaller has a larger penalty there, and the same here.
    """
    (alpha,) = _penalties("scikit_learn_mlp", alpha=alpha)
    return {"weight_decay": alpha / _positive("scikit_learn_mlp: batch_size", batch_size), "l1": 0.0}


def scikit_learn_mlp_regressor(alpha: float, *, batch_size: int, outputs: int = 1) -> Strengths:
    """``alpha / (2 * batch) * sum(w**2)``, added to half the squared error: ``MLPRegressor``.

    It holds with `losses.MSE`, the mean of the whole squared error over samples and outputs. ``MLPRegressor``
    descends half of it, summed over the outputs, so the penalty is doubled here and divided by `outputs`.

    Parameters
    ----------
    alpha : float
    batch_size : int
        As for `scikit_learn_mlp`.
    outputs : int
    """
    name = "scikit_learn_mlp_regressor"
    (alpha,) = _penalties(name, alpha=alpha)
    parts = _positive(f"{name}: batch_size", batch_size) * whole(f"{name}: outputs", outputs, 1)
    return {"weight_decay": 2 * alpha / parts, "l1": 0.0}


def scikit_learn_linear(alpha: float, *, l1_ratio: float = 0.0) -> Strengths:
    """``alpha * ((1 - l1_ratio) / 2 * sum(w**2) + l1_ratio * sum(|w|))``, added to the mean loss.

    ``SGDClassifier`` and ``SGDRegressor`` with the loss that they descend: for ``SGDClassifier("log_loss")``
    that of one logit for each class against the rest, for regression half the squared error. With
    `losses.MSE` use `scikit_learn_elastic_net`.

    Parameters
    ----------
    alpha : float
    l1_ratio : float
        From 0 to 1: 0 for ``penalty="l2"``, 1 for ``"l1"``; 0.15 is their default for ``"elasticnet"``.
    """
    (alpha,) = _penalties("scikit_learn_linear", alpha=alpha)
    ratio = number("scikit_learn_linear: l1_ratio", l1_ratio, 0, 1)
    return {"weight_decay": alpha * (1 - ratio), "l1": alpha * ratio}


def scikit_learn_elastic_net(alpha: float, *, l1_ratio: float = 0.5, outputs: int = 1) -> Strengths:
    """``alpha * ((1 - l1_ratio) / 2 * sum(w**2) + l1_ratio * sum(|w|))``, added to half the squared error.

    ``ElasticNet``, ``Lasso`` (``l1_ratio=1``) and ``SGDRegressor``. It holds with `losses.MSE`, which is
    twice that error, and a mean over the outputs where ``ElasticNet`` has a sum.
    """
    name = "scikit_learn_elastic_net"
    (alpha,) = _penalties(name, alpha=alpha)
    ratio = number(f"{name}: l1_ratio", l1_ratio, 0, 1)
    factor = 2 * alpha / whole(f"{name}: outputs", outputs, 1)
    return {"weight_decay": factor * (1 - ratio), "l1": factor * ratio}


def scikit_learn_ridge(alpha: float, *, samples: float, outputs: int = 1) -> Strengths:
    """``alpha * sum(w**2)``, added to the sum of squared errors over samples and outputs: ``Ridge``.

    It holds with `losses.MSE`, a mean over both. Of a ``Ridge`` with an alpha for each target, each is a
    regression of its own.
    """
    (alpha,) = _penalties("scikit_learn_ridge", alpha=alpha)
    samples = _positive("scikit_learn_ridge: samples", samples)
    outputs = whole("scikit_learn_ridge: outputs", outputs, 1)
    return {"weight_decay": 2 * alpha / (samples * outputs), "l1": 0.0}


def scikit_learn_logistic(
    inverse: float, *, samples: float, l1_ratio: float = 0.0, two_logits: bool = False
) -> Strengths:
    """``(1 - l1_ratio) / 2 * sum(w**2) + l1_ratio * sum(|w|)``, added to C times the sum of the losses.

    ``LogisticRegression``. It holds with `losses.CrossEntropy` for three and more classes. With two,
    ``LogisticRegression`` has one logit: what is returned is for a loss of one logit unless `two_logits`.

    Parameters
    ----------
    inverse : float
        C > 0; infinity is no penalty.
    samples : float
    l1_ratio : float
        From 0, the default there, to 1.
    two_logits : bool
        Whether two classes have two logits here, as `losses.CrossEntropy` wants them. Their difference is the
        one of ``LogisticRegression``, and the sum of their squares half of its: `weight_decay` is doubled.
        Not for three and more classes.
    """
    name = "scikit_learn_logistic"
    inverse = inf if inverse == inf else _positive(f"{name}: inverse", inverse)
    ratio = number(f"{name}: l1_ratio", l1_ratio, 0, 1)
    strength = 1 / (inverse * _positive(f"{name}: samples", samples))
    return {
        "weight_decay": (1 - ratio) * strength * (2 if flag(f"{name}: two_logits", two_logits) else 1),
        "l1": ratio * strength,
    }


def _penalties(function: str, **strengths: float) -> list[float]:
    return [number(f"{function}: {name}", value, 0) for name, value in strengths.items()]


def _positive(name: str, value: float) -> float:
    result = number(name, value)
    if not result > 0:
        raise ValueError(f"{name} must be > 0, got {value}")
    return result
