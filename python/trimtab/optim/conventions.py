"""Strengths of weight penalties as others state them, in ours.

The penalty of `trimtab.sgd_update`, `trimtab.penalty` and `SGD` is ``weight_decay / 2 * sum(w**2) + l1 *
sum(|w|)``, added to the mean loss of a batch. Each function takes the strengths of one convention and returns
``{"weight_decay": ..., "l1": ...}``, to be given on as keywords:

>>> from trimtab.optim import conventions
>>> conventions.keras(l2=0.01)
{'weight_decay': 0.02, 'l1': 0.0}

`samples` is n, the size of the whole training set.
"""

from __future__ import annotations

from typing import TypedDict


class Strengths(TypedDict):
    """Keywords of `SGD` and `trimtab.sgd_update`."""

    weight_decay: float
    l1: float


def lambda_over_n(l2: float = 0.0, l1: float = 0.0, *, samples: int) -> Strengths:
    """``l2 / n * sum(w**2) + l1 / n * sum(|w|)``, added to the mean loss."""
    _require_positive("lambda_over_n", "samples", samples)
    return {"weight_decay": 2 * l2 / samples, "l1": l1 / samples}


def lambda_over_2n(l2: float = 0.0, l1: float = 0.0, *, samples: int) -> Strengths:
    """``l2 / 2n * sum(w**2) + l1 / n * sum(|w|)``, added to the mean loss: the usual one of textbooks."""
    _require_positive("lambda_over_2n", "samples", samples)
    return {"weight_decay": l2 / samples, "l1": l1 / samples}


def keras(l2: float = 0.0, l1: float = 0.0) -> Strengths:
    """``l2 * sum(w**2) + l1 * sum(|w|)``, added to the mean loss: Keras's ``regularizers.L1L2``."""
    return {"weight_decay": 2 * l2, "l1": l1}


def scikit_learn_mlp(alpha: float, *, batch_size: int) -> Strengths:
    """``alpha / (2 * batch) * sum(w**2)``, added to the mean loss: ``MLPClassifier`` and ``MLPRegressor``."""
    _require_positive("scikit_learn_mlp", "batch_size", batch_size)
    return {"weight_decay": alpha / batch_size, "l1": 0.0}


def scikit_learn_linear(alpha: float, *, l1_ratio: float = 0.0) -> Strengths:
    """``alpha * ((1 - l1_ratio) / 2 * sum(w**2) + l1_ratio * sum(|w|))``, added to the mean loss.

    ``SGDClassifier``, ``SGDRegressor``, and ``ElasticNet`` and ``Lasso`` (``l1_ratio=1``), whose loss is half
    the mean squared error.
    """
    return {"weight_decay": alpha * (1 - l1_ratio), "l1": alpha * l1_ratio}


def scikit_learn_ridge(alpha: float, *, samples: int) -> Strengths:
    """``alpha * sum(w**2)``, added to the sum of squared errors: ``Ridge``."""
    return lambda_over_n(alpha, samples=samples)


def scikit_learn_logistic(inverse: float, *, samples: int) -> Strengths:
    """``1/2 * sum(w**2)``, added to C times the sum of the losses, C = `inverse`: ``LogisticRegression``."""
    _require_positive("scikit_learn_logistic", "inverse", inverse)
    return lambda_over_2n(1 / inverse, samples=samples)


def _require_positive(function: str, argument: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{function}: {argument} must be > 0, got {value}")
