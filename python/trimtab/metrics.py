"""Metrics that are reported beside a loss: means over samples, and their means over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._inputs import real_array
from trimtab._typing import Array

Metric: TypeAlias = Callable[[Array, Any], float | tuple[float, float]]


class Mean(float):
    """A mean with its weight, a float otherwise.

    A metric that ignores samples returns one: with the weight, the mean over several batches equals the mean
    over all samples.

    Attributes
    ----------
    weight : float
        The divisor of the mean: the number of samples that counted, or the sum of their weights.
    """

    weight: float

    def __new__(cls, value: float, weight: float = 1.0) -> Mean:
        mean = super().__new__(cls, value)
        mean.weight = weight
        return mean


def accuracy(logits: Array, labels: ArrayLike, *, ignore_index: int | None = None) -> float:
    """Return the share of samples whose largest logit (the first of equal ones) is that of the label.

    Parameters
    ----------
    logits : array_like
        Shape (N, K). NaN counts as larger than every number, and never as a hit.
    labels : array_like
        Class ids (N,) or (N, 1), or probabilities (N, K), of which the largest is the label.
    ignore_index : int, optional
        Samples with this class id are ignored.

    Returns
    -------
    float
        A `Mean` whose weight is the number of samples that counted; NaN if none did.

    Examples
    --------
    >>> accuracy([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], [1, 1, -1], ignore_index=-1)
    0.5
    """
    return _share_of_hits("accuracy", logits, labels, 1, ignore_index)


def binary_accuracy(logits: Array, labels: ArrayLike) -> float:
    """Return the share of logits whose sign is that of the label: positive for 1, not positive for 0.

    Parameters
    ----------
    logits : array_like
        Any shape, one for each label: of two classes (N,), or of K labels (N, K). NaN is never a hit.
    labels : array_like
        0 and 1, bools, or probabilities, which are positive above 1/2; of the shape of the logits up to axes
        of length 1.

    Returns
    -------
    float
        A `Mean` whose weight is the number of logits; NaN if there are none.

    Examples
    --------
    >>> binary_accuracy([0.3, -2.0, 1.5, 0.1], [1, 0, 0, 1])
    0.75
    """
    scores = real_array("binary_accuracy: logits", logits)
    given = real_array("binary_accuracy: labels", labels)
    if [n for n in given.shape if n != 1] != [n for n in scores.shape if n != 1]:
        raise ValueError(f"binary_accuracy: labels must have shape {scores.shape}, got {given.shape}")
    if not scores.size:
        return Mean(nan, 0.0)
    with np.errstate(invalid="ignore"):  # bfloat16 warns of comparisons with NaN
        positive = given.reshape(scores.shape).astype(np.float64) > 0.5
        hits = np.where(positive, scores > 0, scores <= 0)
    return Mean(np.count_nonzero(hits) / scores.size, scores.size)


def top_k(k: int, *, ignore_index: int | None = None) -> Metric:
    """Return the metric that is the share of samples whose label is among the k largest logits.

    Parameters
    ----------
    k : int
        At least 1. Of equal logits, those of smaller ids come first. NaN counts as larger than every number,
        and never as a hit.
    ignore_index : int, optional
        Samples with this class id are ignored.

    Examples
    --------
    >>> from trimtab import losses
    >>> loss = losses.CrossEntropy()
    >>> loss.metrics["top_5"] = losses.top_k(5)
    """
    return _TopK(_checks.whole("top_k: k", k, 1), ignore_index)


@dataclass(frozen=True)
class _TopK:
    """The metric of `top_k`, as an object that can be pickled."""

    k: int
    ignore_index: int | None

    def __call__(self, logits: Array, labels: ArrayLike) -> float:
        return _share_of_hits("top_k", logits, labels, self.k, self.ignore_index)


def _share_of_hits(name: str, logits: ArrayLike, labels: ArrayLike, k: int, ignore_index: int | None) -> Mean:
    """Return the share of the samples that count whose label is among the k largest logits."""
    scores, given = real_array(f"{name}: logits", logits), real_array(f"{name}: labels", labels)
    if scores.ndim != 2:
        raise ValueError(f"{name}: logits must have shape (N, K), got {scores.shape}")
    shapes = scores.shape[:1], (len(scores), 1), scores.shape
    if given.shape not in shapes:
        raise ValueError(
            f"{name}: labels must have an entry for each row of logits, {shapes[0]} or {shapes[2]}, "
            f"got {given.shape}"
        )
    if given.ndim == 1 or given.shape != scores.shape:
        ids = given.reshape(-1)
        if ignore_index is not None:
            counted = ids != ignore_index
            scores, ids = scores[counted], ids[counted]
    else:
        ids = np.argmax(given, axis=1)
    if not len(ids):
        return Mean(nan, 0.0)
    with np.errstate(invalid="ignore"):  # bfloat16 warns of comparisons with NaN
        hits = _is_largest(scores, ids) if k == 1 else _is_among_largest(scores, ids, k)
    return Mean(np.count_nonzero(hits) / len(ids), len(ids))


def _is_largest(scores: Array, ids: Array) -> Array:
    """Whether the score of each row's id is the first of the largest, and not NaN."""
    largest = np.argmax(scores, axis=1)  # the first NaN if there is one
    hits: Array = (largest == ids) & ~np.isnan(scores[np.arange(len(ids)), largest])
    return hits


def _is_among_largest(scores: Array, ids: Array, k: int) -> Array:
    """Whether fewer than k scores come before that of each row's id, and that is not NaN."""
    classes = scores.shape[1]
    is_class = (ids >= 0) & (ids < classes)
    own = scores[np.arange(len(ids)), np.where(is_class, ids, 0).astype(np.intp)][:, None]
    before = ~(scores <= own) | ((scores == own) & (np.arange(classes) < ids[:, None]))
    hits: Array = (before.sum(axis=1) < k) & is_class & ~np.isnan(own[:, 0])
    return hits


class Means:
    """Weighted means of metrics over batches, in float64."""

    def __init__(self, sums: Mapping[str, tuple[float, float]] | None = None) -> None:
        self.sums = {name: (total, weight) for name, (total, weight) in (sums or {}).items()}

    def add(self, values: Mapping[str, Mean]) -> None:
        """Add the values of a batch, each with its weight. A value of weight 0 adds nothing, even if NaN."""
        for name, value in values.items():
            total, weight = self.sums.get(name, (0.0, 0.0))
            if value.weight:
                total += value.weight * float(value)
            self.sums[name] = total, weight + value.weight

    def values(self) -> dict[str, float]:
        """Return the means so far, NaN if nothing has counted."""
        return {name: total / weight if weight else nan for name, (total, weight) in self.sums.items()}
