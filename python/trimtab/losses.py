"""Losses: what training minimizes, and the metrics that are reported beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._inputs import as_array, real_array
from trimtab._typing import Array
from trimtab.metrics import Mean, Metric, accuracy, top_k

__all__ = ["MSE", "CrossEntropy", "Huber", "Loss", "LossResult", "Mean", "Metric", "accuracy", "top_k"]


class LossResult(NamedTuple):
    """What a loss returns.

    Attributes
    ----------
    loss : float
        The mean loss.
    gradient : numpy.ndarray
        With respect to the output, of its shape and dtype.
    weight : float
        Of how much `loss` is the mean: the number of samples or elements that counted, or the sum of their
        weights. 0 where nothing counted: then the loss and its gradient are 0, too.
    """

    loss: float
    gradient: Array
    weight: float


class Loss:
    """A function ``loss(output, target) -> (loss, gradient, weight)``: see `LossResult`.

    The mean over several batches is ``sum(weight * loss) / sum(weight)``. A loss of your own may return
    ``(loss, gradient)`` alone, a mean over the samples: its weight is their number.

    ``metrics`` maps names to functions ``metric(output, target)`` that are reported by a trainer: they return
    a float, the mean over the samples, or ``(value, weight)`` or a `Mean` where something else counts. Each
    loss has a mapping of its own, to be changed or replaced. The mean over the batches of a metric that is no
    mean over samples, such as an F1 score, depends on the size of the batches.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import losses
    >>> class Hinge(losses.Loss):
    ...     def __call__(self, output, target):
    ...         margin = 1 - output * target
    ...         return np.maximum(margin, 0).mean(), np.where(margin > 0, -target, 0) / output.size
    >>> loss = Hinge()
    >>> loss.metrics["accuracy"] = lambda output, target: np.mean(output * target > 0)
    """

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by name, in the order in which they are reported."""
        metrics: dict[str, Metric] = vars(self).setdefault("_metrics", {})
        return metrics

    @metrics.setter
    def metrics(self, metrics: Mapping[str, Metric]) -> None:
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"{type(self).__name__}: metrics must map names to functions, got {_checks.shown(metrics)}"
            )
        vars(self)["_metrics"] = dict(metrics)

    def __call__(self, output: Array, target: Any) -> LossResult | tuple[float, Array]:
        """Return the mean loss and its gradient with respect to `output`, and what it is the mean of."""
        raise NotImplementedError(f"{type(self).__name__}: __call__ is not defined")

    def check_targets(self, name: str, targets: Array, output: Array) -> None:
        """Raise an error that begins with `name` if one of the targets does not go with such an output.

        Parameters
        ----------
        name : str
            Of the argument, such as ``"fit: y"``.
        targets : numpy.ndarray
            Of all samples.
        output : numpy.ndarray
            Of the model, for one sample.
        """

    def aligned(self, target: Array, output: Array) -> Array:
        """Return the targets of a batch as the metrics get them: in the shape that goes with its output."""
        return target


class CrossEntropy(Loss):
    """Softmax cross entropy of logits (N, K): `trimtab.softmax_cross_entropy`, which states it in full.

    The targets are class ids (N,) or (N, 1) of any integer dtype, or probabilities (N, K), among them one-hot
    rows of any real or bool dtype. Reports ``accuracy``.

    Parameters
    ----------
    label_smoothing : float
        From 0 to 1: the share of the target that is spread evenly over the classes (Szegedy et al. 2016).
    class_weight : array_like, optional
        A factor >= 0 for each class. The mean is weighted by that of each label.
    ignore_index : int, optional
        Samples with this class id count for nothing.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        ignore_index: int | None = None,
    ) -> None:
        self.label_smoothing = _checks.number("CrossEntropy: label_smoothing", label_smoothing, 0, 1)
        self.class_weight = None if class_weight is None else _class_weight(class_weight)
        self.ignore_index = (
            None if ignore_index is None else _checks.whole("CrossEntropy: ignore_index", ignore_index)
        )
        self.metrics = {"accuracy": partial(accuracy, ignore_index=self.ignore_index)}

    def __call__(self, output: Array, target: ArrayLike) -> LossResult:
        """Return the loss, its gradient, and the sum of the weights of the labels that counted.

        The mean of class ids is weighted by `class_weight`, the mean of probabilities is over the samples.
        """
        logits = real_array("CrossEntropy: output", output)
        labels = self._labels("CrossEntropy", as_array("CrossEntropy: target", target), logits.shape)
        loss, gradient = kernels.softmax_cross_entropy(
            logits,
            labels if labels.ndim == 1 else _floating(labels, logits),
            label_smoothing=self.label_smoothing,
            class_weight=self.class_weight,
            ignore_index=self.ignore_index,
        )
        if labels.ndim > 1:
            weight = float(len(labels))
        else:
            counted = labels if self.ignore_index is None else labels[labels != self.ignore_index]
            weight = float(len(counted) if self.class_weight is None else self.class_weight[counted].sum())
        return _result(loss, gradient, weight)

    def check_targets(self, name: str, targets: Array, output: Array) -> None:
        """Raise a ValueError that quotes the first label that is no class."""
        classes = output.shape[1] if output.ndim > 1 else 0
        labels = self._labels(name, targets, (len(targets), *output.shape[1:]))
        if self.class_weight is not None and len(self.class_weight) != classes:
            raise ValueError(
                f"CrossEntropy: class_weight must have {classes} entries, got {len(self.class_weight)}"
            )
        if labels.ndim > 1:
            _require_probabilities(name, labels)
            return
        wrong = (labels < 0) | (labels >= classes)
        if self.ignore_index is not None:
            wrong &= labels != self.ignore_index
        if wrong.any():
            sample = int(np.argmax(wrong))
            raise ValueError(
                f"{name}: labels must be classes from 0 to {classes - 1}, "
                f"got {labels[sample]} at sample {sample}"
            )

    def _labels(self, name: str, labels: Array, shape: tuple[int, ...]) -> Array:
        """Return class ids (N,) or probabilities (N, K) for logits of a shape."""
        kind = labels.dtype.kind
        if kind not in "iubf" and not np.can_cast(labels.dtype, np.float64, "same_kind"):
            raise TypeError(
                f"{name}: labels must be class ids or probabilities, got dtype {labels.dtype}; "
                "numpy.unique(labels, return_inverse=True) gives ids to names"
            )
        if labels.ndim == 2 and labels.shape[1] == 1 and kind in "iub":
            labels = labels[:, 0]
        if labels.ndim == 1 and kind not in "iub":
            rule = f"labels must be integers, or probabilities of shape {shape}"
            if kind == "f":
                rule = "class ids must be integers"
            raise TypeError(f"{name}: {rule}, got dtype {labels.dtype}")
        if labels.ndim != 1 and labels.shape != shape:
            raise ValueError(
                f"{name}: labels must have shape {shape[:1]}, or {shape} where they are probabilities, "
                f"got {labels.shape}"
            )
        if labels.ndim > 1 and kind in "iub":
            wrong = labels[(labels != 0) & (labels != 1)]
            if wrong.size:
                raise ValueError(f"{name}: labels of shape {shape} must be one-hot, got {wrong[0]}")
        return labels

    def aligned(self, target: Array, output: Array) -> Array:
        """Return class ids (N, 1) as (N,): a metric would pair each of (N,) with all of (N, 1)."""
        return target[:, 0] if target.ndim == 2 and target.shape[1] == 1 != output.shape[1] else target


class _Regression(Loss):
    """A mean over all elements; targets of the shape of the output, but for axes of length 1, any dtype."""

    def __call__(self, output: Array, target: ArrayLike) -> LossResult:
        """Return the loss, its gradient, and the number of elements."""
        name = type(self).__name__
        pred = real_array(f"{name}: output", output)
        targets = real_array(f"{name}: target", target)
        loss, gradient = self._kernel(pred, _floating(targets, pred))
        return _result(loss, gradient, float(pred.size))

    def aligned(self, target: Array, output: Array) -> Array:
        """Return targets in the shape of the output: a metric would pair each of (N,) with all of (N, 1)."""
        return target.reshape(output.shape) if target.size == output.size else target

    def _kernel(self, pred: Array, target: Array) -> tuple[float, Array]:
        raise NotImplementedError(f"{type(self).__name__}: _kernel is not defined")

    def check_targets(self, name: str, targets: Array, output: Array) -> None:
        """Raise a ValueError unless the targets have the shape of the output, but for axes of length 1."""
        shape = real_array(name, targets).shape
        if [size for size in shape[1:] if size != 1] != [size for size in output.shape[1:] if size != 1]:
            wanted = (len(targets), *output.shape[1:])
            raise ValueError(f"{name} must have shape {wanted} as the output of the model, got {shape}")


class MSE(_Regression):
    """Mean squared error over all elements: `trimtab.mse`. Targets of the output's shape, any real dtype."""

    def _kernel(self, pred: Array, target: Array) -> tuple[float, Array]:
        return kernels.mse(pred, target)


class Huber(_Regression):
    """Huber's loss, a mean over all elements: `trimtab.huber`. Targets of the output's shape, any real dtype.

    Parameters
    ----------
    delta : float
        The distance from which on it is straight; finite and >= 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = _checks.number("Huber: delta", delta, 0)

    def _kernel(self, pred: Array, target: Array) -> tuple[float, Array]:
        return kernels.huber(pred, target, delta=self.delta)


def _result(loss: float, gradient: Array, weight: float) -> LossResult:
    if weight == 0:
        return LossResult(0.0, np.zeros_like(gradient), 0.0)
    return LossResult(float(loss), gradient, weight)


def _floating(target: Array, output: Array) -> Array:
    """Return targets as the kernels take them beside the output: of its dtype, or of one with every value."""
    return target if target.dtype == output.dtype else target.astype(np.float64)


def _require_probabilities(name: str, labels: Array) -> None:
    """Raise a ValueError that quotes the first row that is no distribution over the classes."""
    if labels.shape[1] == 1:
        raise ValueError(f"{name}: probabilities must be of two classes at least, got shape {labels.shape}")
    rows = labels.astype(np.float64)
    # 16 bits keep three digits; NaN is left to the training, which names the batch
    wrong = (rows < 0).any(axis=1) | (abs(rows.sum(axis=1) - 1) > 0.01)
    if wrong.any():
        sample = int(np.argmax(wrong))
        raise ValueError(
            f"{name}: probabilities must be >= 0 and add up to 1, got {labels[sample]} at sample {sample}"
        )


def _class_weight(given: ArrayLike) -> Array:
    factors = real_array("CrossEntropy: class_weight", given).astype(np.float64)
    if factors.ndim != 1 or not np.all(np.isfinite(factors) & (factors >= 0)):
        raise ValueError(
            "CrossEntropy: class_weight must be a finite factor >= 0 for each class, "
            f"got {_checks.shown(given)}"
        )
    return factors
