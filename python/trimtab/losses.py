"""Losses: what training minimizes, and the metrics that are reported beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab._typing import Array

Metric: TypeAlias = Callable[[Array, Any], float]


def accuracy(logits: Array, labels: ArrayLike, *, ignore_index: int | None = None) -> float:
    """Return the share of rows whose largest logit (the first of equal ones) stands at the label.

    Parameters
    ----------
    logits : numpy.ndarray
        Shape (N, K).
    labels : array_like
        Class ids (N,), or probabilities (N, K), whose largest counts.
    ignore_index : int, optional
        Rows with this label are left out.
    """
    ids = _class_ids(labels)
    hits = np.argmax(logits, axis=1) == ids
    return float(np.mean(hits if ignore_index is None else hits[ids != ignore_index]))


def top_k(k: int, *, ignore_index: int | None = None) -> Metric:
    """Return the metric "share of rows whose label is among the k largest logits".

    Parameters
    ----------
    k : int
        At least 1. Of equal logits those of smaller ids come first.
    ignore_index : int, optional
        Rows with this label are left out.

    Examples
    --------
    >>> from trimtab import losses
    >>> loss = losses.CrossEntropy()
    >>> loss.metrics = {**loss.metrics, "top_5": losses.top_k(5)}
    """
    if k < 1:
        raise ValueError(f"top_k: k must be at least 1, got {k}")

    def metric(logits: Array, labels: ArrayLike) -> float:
        ids = _class_ids(labels)
        if ignore_index is not None:
            logits, ids = logits[ids != ignore_index], ids[ids != ignore_index]
        own = np.take_along_axis(logits, ids[:, None], axis=1)
        # NaN compares false with everything, so it comes before every number, as in argmax
        before = ~(logits <= own) | ((logits == own) & (np.arange(logits.shape[1]) < ids[:, None]))
        return float(np.mean(before.sum(axis=1) < k))

    return metric


def _class_ids(labels: ArrayLike) -> Array:
    given = np.asarray(labels)
    return given if given.ndim == 1 else np.argmax(given, axis=1)


class Loss:
    """A function ``loss(output, target) -> (value, gradient)``, a mean over the samples.

    The gradient is with respect to the output of the model and has its shape and dtype: what the model's
    ``backward`` takes. ``metrics`` maps names to functions ``metric(output, target) -> float`` that are means
    over the samples too; a trainer reports them. Assign another mapping to report others.
    """

    metrics: Mapping[str, Metric] = {}

    def __call__(self, output: Array, target: Any) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to `output`."""
        raise NotImplementedError(f"{type(self).__name__}: __call__ is not defined")


class CrossEntropy(Loss):
    """Softmax cross entropy of logits (N, K): `trimtab.softmax_cross_entropy`, which states it in full.

    The targets are class ids (N,) or probabilities (N, K). Reports ``accuracy``.

    Parameters
    ----------
    label_smoothing : float
        From 0 to 1: the share of the target that is spread evenly over the classes (Szegedy et al. 2016).
    class_weight : array_like, optional
        A factor for each class. The mean is weighted by that of each label.
    ignore_index : int, optional
        Samples with this label count for nothing.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        ignore_index: int | None = None,
    ) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.class_weight = None if class_weight is None else np.array(class_weight, np.float64)
        self.ignore_index = ignore_index
        self.metrics = {"accuracy": partial(accuracy, ignore_index=ignore_index)}

    def __call__(self, output: Array, target: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient."""
        labels = np.asarray(target)
        if labels.ndim == 1 and labels.dtype.kind == "f":
            raise TypeError(f"CrossEntropy: class ids must be integers, got dtype {labels.dtype}")
        return kernels.softmax_cross_entropy(
            output,
            target,
            label_smoothing=self.label_smoothing,
            class_weight=self.class_weight,
            ignore_index=self.ignore_index,
        )


class MSE(Loss):
    """Mean squared error over all elements: `trimtab.mse`. Targets of the output's shape, any real dtype."""

    def __call__(self, output: Array, target: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient."""
        return kernels.mse(output, np.asarray(target, output.dtype))


class Huber(Loss):
    """Huber's loss, a mean over all elements: `trimtab.huber`. Targets of the output's shape, any real dtype.

    Parameters
    ----------
    delta : float
        The distance from which on it is straight; finite and >= 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        if not 0 <= delta < np.inf:
            raise ValueError(f"Huber: delta must be finite and >= 0, got {delta}")
        self.delta = delta

    def __call__(self, output: Array, target: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient."""
        return kernels.huber(output, np.asarray(target, output.dtype), delta=self.delta)
