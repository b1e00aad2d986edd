"""Metrics that are reported beside a loss.

========================================  ===============================================================
metric                                    of
========================================  ===============================================================
`accuracy`, `top_k`                       logits (N, K) and class ids or probabilities
`binary_accuracy`                         logits of two classes, or of many labels at once
`f1`, `roc_auc`                           any of them; needs scikit-learn
`mean_absolute_error`                     numbers
`r2`                                      numbers; needs scikit-learn
========================================  ===============================================================

Most are means over samples, so `Means` over batches are exact. A `Score` is not, and is computed of all
samples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from math import nan
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab import _checks, extras
from trimtab._inputs import real_array
from trimtab._typing import Array

__all__ = [
    "Mean",
    "Metric",
    "Score",
    "accuracy",
    "binary_accuracy",
    "f1",
    "mean_absolute_error",
    "r2",
    "roc_auc",
    "top_k",
]

TARGET = {"y_true", "true", "target", "targets", "label", "labels"}  # common names of the parameter
Metric: TypeAlias = Callable[[Array, Any], float | tuple[float, float]]


class Mean(float):
    """A mean with its weight, a float otherwise.

    A metric that ignores samples returns one: with the weight, the mean over several batches equals the mean
    over all samples.

    Attributes
    ----------
    weight : float
        The divisor of the mean: the number of samples that counted, or the sum of their weights.

    Examples
    --------
    >>> from trimtab import metrics
    >>> mean = metrics.Mean(0.75, weight=4)
    >>> mean, mean.weight
    (0.75, 4)
    """

    weight: float

    def __new__(cls, value: float, weight: float = 1.0) -> Mean:
        mean = super().__new__(cls, value)
        mean.weight = weight
        return mean


class Score:
    """A metric of all samples at once, which no mean over batches gives, such as the area under a curve.

    `Trainer.evaluate` computes it, and `fit` on the validation data: its name there begins with ``val_``, and
    batches of training have none.

    Parameters
    ----------
    function : callable
        ``function(outputs, targets) -> float``, with the outputs and targets of all samples.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import losses, metrics
    >>> loss = losses.MSE()
    >>> loss.metrics["worst"] = metrics.Score(lambda outputs, targets: np.abs(outputs - targets).max())
    """

    def __init__(self, function: Callable[[Array, Any], float]) -> None:
        if not callable(function):
            raise TypeError(f"Score: function must be a function, got {_checks.shown(function)}")
        require_output_first("Score: function", function)
        self.function = function

    def __call__(self, outputs: Array, targets: Any) -> float:
        """Return the value for all samples."""
        value = self.function(outputs, targets)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"Score: function must return a float, got {_checks.shown(value)}") from error


def require_output_first(name: str, function: Callable[..., Any]) -> None:
    """Raise a TypeError if a function takes the target before the output, as in scikit-learn and Keras."""
    try:
        parameters = [*signature(function).parameters]
    except (TypeError, ValueError):  # of a compiled function
        return
    if len(parameters) > 1 and parameters[0] in TARGET:
        raise TypeError(
            f"{name} must take the output before the target, got the parameters {', '.join(parameters[:2])}: "
            "exchange them by lambda output, target: function(target, output)"
        )


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
    return _TopK(_checks.whole("top_k: k", k, 1), _optional_id("top_k", ignore_index))


@dataclass(frozen=True)
class _TopK:
    """The metric of `top_k`, as an object that can be pickled."""

    k: int
    ignore_index: int | None

    def __call__(self, logits: Array, labels: ArrayLike) -> float:
        return _share_of_hits("top_k", logits, labels, self.k, self.ignore_index)


def _optional_id(name: str, ignore_index: int | None) -> int | None:
    """Return the class id to ignore, an int or None."""
    return None if ignore_index is None else _checks.whole(f"{name}: ignore_index", ignore_index)


def _share_of_hits(name: str, logits: ArrayLike, labels: ArrayLike, k: int, ignore_index: int | None) -> Mean:
    """Return the share of the samples that count whose label is among the k largest logits."""
    scores, given = real_array(f"{name}: logits", logits), real_array(f"{name}: labels", labels)
    ignore_index = _optional_id(name, ignore_index)
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


def mean_absolute_error(outputs: ArrayLike, targets: ArrayLike) -> float:
    """Return the mean of ``|output - target|``, in float64.

    Parameters
    ----------
    outputs, targets : array_like
        Numbers, of the same shape up to axes of length 1.

    Returns
    -------
    float
        A `Mean` whose weight is the number of values; NaN if there are none.

    Examples
    --------
    >>> mean_absolute_error([1.0, 2.5], [2.0, 2.0])
    0.75
    """
    predicted, wanted = _numbers("mean_absolute_error", outputs, targets)
    if not predicted.size:
        return Mean(nan, 0.0)
    return Mean(float(np.mean(np.abs(predicted - wanted))), predicted.size)


def r2() -> Score:
    """Return the coefficient of determination, scikit-learn's ``r2_score``: 1 - Σ(t - y)² / Σ(t - mean(t))².

    That of several outputs is the mean over the outputs.

    Returns
    -------
    Score
        NaN for fewer than two samples, and if an output or target is not finite.

    Raises
    ------
    MissingExtra
        If scikit-learn is not installed.

    Examples
    --------
    >>> r2()([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.7857142857142857
    """
    extras.load("sklearn.metrics", "sklearn")
    return Score(_r2)


def f1(average: str = "macro", *, ignore_index: int | None = None) -> Score:
    """Return the F1 score, the harmonic mean of precision and recall: scikit-learn's ``f1_score``.

    Outputs are logits: of K classes (N, K) with class ids, where the largest is the prediction; or of two
    classes (N,) and of many labels (N, K) with targets of the same shape, where positive logits are.

    Parameters
    ----------
    average : {"macro", "micro", "weighted", "binary"}
        How the scores of classes or labels become one. Logits (N,) and (N, 1) have one score, that of the
        positive class, whatever the average.
    ignore_index : int, optional
        Samples with this class id are ignored.

    Returns
    -------
    Score
        NaN if no sample counts, or an output is NaN.

    Raises
    ------
    MissingExtra
        If scikit-learn is not installed.

    Examples
    --------
    >>> f1("binary")([0.5, -1.0, 2.0, 1.0], [1, 0, 0, 1])
    0.8
    """
    _checks.one_of("f1: average", average, ["macro", "micro", "weighted", "binary"])
    ignore_index = _optional_id("f1", ignore_index)
    extras.load("sklearn.metrics", "sklearn")
    return Score(_F1(average, ignore_index))


def roc_auc(average: str = "macro", *, ignore_index: int | None = None) -> Score:
    """Return the area under the ROC curve: scikit-learn's ``roc_auc_score``.

    That of a class is the area for this class against the others.

    Parameters
    ----------
    average : {"macro", "weighted", "micro"}
        How the areas of classes or labels become one.
    ignore_index : int, optional
        Samples with this class id are ignored.

    Returns
    -------
    Score
        Of logits as in `f1`. NaN if the area is undefined: if the targets have one class only, no sample
        counts, or a score is NaN. Scores are the logits, or the softmax of logits with class ids.

    Raises
    ------
    MissingExtra
        If scikit-learn is not installed.

    Examples
    --------
    >>> roc_auc()([0.5, -1.0, 2.0, 1.0], [1, 0, 0, 1])
    0.5
    """
    _checks.one_of("roc_auc: average", average, ["macro", "weighted", "micro"])
    ignore_index = _optional_id("roc_auc", ignore_index)
    extras.load("sklearn.metrics", "sklearn")
    return Score(_RocAuc(average, ignore_index))


def _numbers(name: str, outputs: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Return outputs and targets in float64 and in the shape of the outputs."""
    predicted = real_array(f"{name}: outputs", outputs).astype(np.float64)
    wanted = real_array(f"{name}: targets", targets).astype(np.float64)
    if [n for n in wanted.shape if n != 1] != [n for n in predicted.shape if n != 1]:
        raise ValueError(f"{name}: targets must have shape {predicted.shape}, got {wanted.shape}")
    return predicted, wanted.reshape(predicted.shape)


def _r2(outputs: ArrayLike, targets: ArrayLike) -> float:
    predicted, wanted = _numbers("r2", outputs, targets)
    samples = len(predicted) if predicted.ndim else 1
    if samples < 2 or not predicted.size or not np.isfinite([predicted, wanted]).all():
        return nan
    rows = samples, -1
    with np.errstate(over="ignore"):  # squares of errors above 1e154
        score: float = extras.load("sklearn.metrics").r2_score(wanted.reshape(rows), predicted.reshape(rows))
    return score


def _classified(
    name: str, outputs: ArrayLike, targets: ArrayLike, ignore_index: int | None
) -> tuple[Array, Array]:
    """Return logits and class ids (N, K), (N,), or logits and 0 or 1, both (N,) or both (N, K)."""
    logits = real_array(f"{name}: outputs", outputs).astype(np.float64)
    given = real_array(f"{name}: targets", targets)
    if logits.ndim > 1 and logits.shape[1:] == (1,):
        logits = logits[:, 0]
    if given.ndim > 1 and given.shape[1:] == (1,):
        given = given[:, 0]
    if given.shape not in (logits.shape[:1], logits.shape) or logits.ndim not in (1, 2):
        raise ValueError(
            f"{name}: targets must have an entry for each row or each element of outputs {logits.shape}, "
            f"got {given.shape}"
        )
    if ignore_index is not None and given.ndim == 1:
        counted = given != ignore_index
        logits, given = logits[counted], given[counted]
    return logits, given if given.ndim < logits.ndim else (given > 0.5).astype(np.int64)


@dataclass(frozen=True)
class _F1:
    """The score of `f1`, as an object that can be pickled."""

    average: str
    ignore_index: int | None

    def __call__(self, outputs: ArrayLike, targets: ArrayLike) -> float:
        logits, given = _classified("f1", outputs, targets, self.ignore_index)
        if not logits.size or np.isnan(logits).any():
            return nan
        several = logits.ndim == 2 and (logits.shape[1] > 2 or given.ndim == 2)
        if self.average == "binary" and several:
            raise ValueError(
                "f1: average must be 'macro', 'micro' or 'weighted' for several classes or labels, "
                f"got 'binary' and outputs of shape {np.shape(outputs)}"
            )
        predicted = np.argmax(logits, axis=1) if given.ndim < logits.ndim else (logits > 0).astype(np.int64)
        average = "binary" if logits.ndim == 1 else self.average
        score: float = extras.load("sklearn.metrics").f1_score(
            given, predicted, average=average, zero_division=0.0
        )
        return score


@dataclass(frozen=True)
class _RocAuc:
    """The score of `roc_auc`, as an object that can be pickled."""

    average: str
    ignore_index: int | None

    def __call__(self, outputs: ArrayLike, targets: ArrayLike) -> float:
        scores, given = _classified("roc_auc", outputs, targets, self.ignore_index)
        if scores.ndim == 2 and given.ndim == 1:  # class ids: one column for each class, 1 for its samples
            scores = kernels.softmax(scores)
            given = (given[:, None] == np.arange(scores.shape[1])).astype(np.int64)
        if not scores.size or np.isnan(scores).any():
            return nan
        columns = given.reshape(len(given), -1)
        if (columns.min(axis=0) == columns.max(axis=0)).any():
            return nan
        area: float = extras.load("sklearn.metrics").roc_auc_score(given, scores, average=self.average)
        return area


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
