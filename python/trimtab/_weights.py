"""Weights of classes and samples, as losses take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._inputs import real_array
from trimtab._typing import Array

ClassWeight: TypeAlias = ArrayLike | Mapping[int, float] | Literal["balanced"]


def read_class_weight(given: ClassWeight | None) -> Array | dict[int, float] | str | None:
    """Return the factors of the classes as float64 (K,), or checked as they are."""
    name = "CrossEntropy: class_weight"
    if given is None:
        return None
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f"{name} must be factors of the classes or 'balanced', got {given!r}")
        return given
    if isinstance(given, Mapping):
        return {
            _checks.whole(f"{name}: label", label, 0): _checks.number(f"{name}[{label!r}]", factor, 0)
            for label, factor in given.items()
        }
    factors = real_array(name, given).astype(np.float64)
    if factors.ndim != 1 or not np.all(np.isfinite(factors) & (factors >= 0)):
        raise ValueError(f"{name} must be a finite factor >= 0 for each class, got {_checks.shown(given)}")
    return factors


def balanced_class_weight(labels: ArrayLike, classes: int) -> Array:
    """Return weights by which each class counts the same in sum: N / (K n) for a class with n of N samples.

    Parameters
    ----------
    labels : array_like
        Class ids (N,), or probabilities (N, K), whose column sums are the n.
    classes : int
        Their number K. A class without samples has the weight 0.

    Returns
    -------
    numpy.ndarray
        float64, shape (K,). The K of the formula counts only classes that have samples.

    References
    ----------
    King, G., and Zeng, L. (2001). Logistic Regression in Rare Events Data. Political Analysis.

    Examples
    --------
    >>> balanced_class_weight([0, 0, 0, 1], 2).round(3)
    array([0.667, 2.   ])
    """
    ids = real_array("balanced_class_weight: labels", labels)
    classes = _checks.whole("balanced_class_weight: classes", classes, 1)
    if ids.ndim == 2 and ids.shape[1] == classes:
        counts = ids.astype(np.float64).sum(axis=0)
    else:
        if ids.ndim != 1 or ids.dtype.kind not in "iub":
            raise ValueError(
                "balanced_class_weight: labels must be class ids of shape (N,), or probabilities of shape "
                f"(N, {classes}), got dtype {ids.dtype} and shape {ids.shape}"
            )
        wrong = ids[(ids < 0) | (ids >= classes)]
        if wrong.size:
            raise ValueError(
                f"balanced_class_weight: labels must be classes from 0 to {classes - 1}, got {wrong[0]}"
            )
        counts = np.bincount(ids.astype(np.intp), minlength=classes).astype(np.float64)
    occurring = counts > 0
    weights = np.zeros(classes)
    weights[occurring] = counts.sum() / (np.count_nonzero(occurring) * counts[occurring])
    return weights


def read_sample_weight(name: str, given: ArrayLike | None, samples: int, of: str = "") -> Array | None:
    """Return a finite factor >= 0 for each sample as float64 (N,).

    `of` ends the name of the argument in errors.
    """
    if given is None:
        return None
    name = f"{name}: sample_weight{of}"
    weights = real_array(name, given).astype(np.float64)
    if weights.shape not in ((samples,), (samples, 1)):
        raise ValueError(f"{name} must have shape ({samples},), got {weights.shape}")
    weights = weights.reshape(samples)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        sample = int(np.argmax(wrong))
        raise ValueError(f"{name} must be finite and >= 0, got {weights[sample]} at sample {sample}")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError(f"{name} must have a finite sum, got {total}")
    return weights
