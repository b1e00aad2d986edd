"""Losses: what training minimizes, and the metrics that are reported beside it.

Each loss is a mean, and its gradient is that of the mean. For N samples of K classes or outputs:

    CrossEntropy         mean over the samples of  -Σ_k t_k log p_k,  p = softmax(z)
                         gradient by the logits z  (p Σ_k t_k - t) / N
    BinaryCrossEntropy   mean over the elements of  -t log p - (1 - t) log(1 - p),  p = sigmoid(z)
                         gradient by the logits z  (p - t) / (N K)
    MSE                  mean over the elements of  d²,  d = y - t
                         gradient by the output y  2 d / (N K)
    MAE                  mean over the elements of  |d|
                         gradient by the output y  sign(d) / (N K)
    Huber                mean over the elements of  d² / 2 if |d| <= δ, δ (|d| - δ / 2) otherwise
                         gradient by the output y  clip(d, -δ, δ) / (N K)

The target t of a class id is 1 at that class and 0 elsewhere. Label smoothing s turns t into
``(1 - s) t + s / K``. Class weights multiply t class by class; the mean of class ids then divides by the sum
of the weights of these classes instead of N. Weights of samples make each mean a weighted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._inputs import as_array, is_real, real_array
from trimtab._typing import Array
from trimtab._weights import ClassWeight, balanced_class_weight, read_class_weight, read_sample_weight
from trimtab.metrics import Mean, Metric, accuracy, binary_accuracy, top_k

__all__ = [
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "LossResult",
    "Mean",
    "Metric",
    "accuracy",
    "balanced_class_weight",
    "binary_accuracy",
    "top_k",
]


class LossResult(NamedTuple):
    """The result of a loss.

    Attributes
    ----------
    loss : float
        The mean loss.
    gradient : numpy.ndarray
        Its gradient with respect to the output, of the output's shape and dtype.
    weight : float
        The divisor of the mean: the number of samples or elements that counted, or the sum of their weights.
        If nothing counted, it is 0, as are the loss and the gradient.
    """

    loss: float
    gradient: Array
    weight: float


class ClassLabels(NamedTuple):
    """The classes of samples.

    Attributes
    ----------
    ids : numpy.ndarray
        The class of each sample, (N,); -1 where it is ignored.
    classes : int
        Number of classes.
    """

    ids: Array
    classes: int


class Loss:
    """A function of outputs and targets that a training minimizes.

    ``loss(output, target, sample_weight=None)`` returns ``(loss, gradient, weight)``: see `LossResult`.

    The mean over several batches is ``sum(weight * loss) / sum(weight)``. ``sample_weight`` has a factor >= 0
    for each sample; the mean of the losses l is then ``sum(sample_weight * l) / sum(sample_weight)``. A loss
    of your own takes it only if you train with weights, and may return just ``(loss, gradient)`` if it is a
    mean over the samples: the weight is then their number.

    ``metrics`` maps names to functions ``metric(output, target)`` whose values a trainer reports. They return
    a float, the mean over the samples, or ``(value, weight)`` or a `Mean` if the weight is another. Each loss
    has its own mapping, which may be changed or replaced. A metric that is not a mean over samples, such as
    an F1 score, is a `trimtab.metrics.Score`, which is computed of all samples at once.

    ``takes_logits`` says whether the loss applies a softmax or sigmoid itself; `Trainer.fit` then refuses a
    model that ends with one.

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

    takes_logits = False

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by name, in the order of the report."""
        metrics: dict[str, Metric] = vars(self).setdefault("_metrics", {})
        return metrics

    @metrics.setter
    def metrics(self, metrics: Mapping[str, Metric]) -> None:
        _checks.instance(f"{type(self).__name__}: metrics", metrics, Mapping, "map names to functions")
        vars(self)["_metrics"] = dict(metrics)

    def __call__(
        self, output: Array, target: Any, sample_weight: ArrayLike | None = None
    ) -> LossResult | tuple[float, Array]:
        """Return the mean loss, its gradient with respect to `output`, and the weight of the mean."""
        raise NotImplementedError(f"{type(self).__name__}: __call__ is not defined")

    def check_targets(self, name: str, targets: Array, output: Array) -> None:
        """Raise an error that begins with `name` if a target does not match the output of the model.

        Parameters
        ----------
        name : str
            The function and the argument, such as ``"fit: y"``.
        targets : numpy.ndarray
            The targets of all samples.
        output : numpy.ndarray
            The output of the model for one sample.
        """

    def fit(self, targets: ArrayLike, classes: int) -> None:
        """Take from the targets of all samples what the loss needs to know; called before the first batch.

        Parameters
        ----------
        targets : array_like
        classes : int
            The length of the last axis of the output.
        """

    def aligned(self, target: Array, output: Array) -> Array:
        """Return the targets of a batch in the shape that the metrics expect beside its output."""
        return target

    def class_labels(self, targets: Array, output: Array) -> ClassLabels | None:
        """Return the classes of the samples, None if the targets are no classes.

        Class weights and stratified splits need them. Arguments as for `check_targets`.
        """
        return None


class CrossEntropy(Loss):
    """Softmax cross entropy of logits (N, K), as `trimtab.softmax_cross_entropy` documents it.

    Targets are class ids (N,) or (N, 1) of any integer dtype, or probabilities (N, K) of any real dtype,
    which include one-hot rows of integers or bools. Reports ``accuracy``.

    Parameters
    ----------
    label_smoothing : float
        From 0 to 1: the share of the target that is spread evenly over the classes (Szegedy et al. 2016).
    class_weight : array_like, mapping or "balanced", optional
        A factor >= 0 for each class, or a mapping of class ids to factors, where classes that it leaves out
        have the factor 1. The mean of class ids is weighted by the factors of their classes. "balanced" is
        `balanced_class_weight` of the labels that the loss is fitted to.
    ignore_index : int, optional
        Samples with this class id are ignored.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import losses
    >>> loss, gradient, weight = losses.CrossEntropy()(np.zeros((2, 4)), [0, 3])
    >>> round(loss, 4), gradient[0].tolist(), weight
    (1.3863, [-0.375, 0.125, 0.125, 0.125], 2.0)
    """

    takes_logits = True

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: ClassWeight | None = None,
        ignore_index: int | None = None,
    ) -> None:
        self.label_smoothing = _checks.number("CrossEntropy: label_smoothing", label_smoothing, 0, 1)
        self.class_weight = read_class_weight(class_weight)
        self._balanced: Array | None = None
        self.ignore_index = (
            None if ignore_index is None else _checks.whole("CrossEntropy: ignore_index", ignore_index)
        )
        self.metrics = {"accuracy": partial(accuracy, ignore_index=self.ignore_index)}

    def __call__(
        self, output: Array, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> LossResult:
        """Return the loss, its gradient, and the weight of the mean.

        For class ids it is the sum of the weights of their classes, for probabilities the number of samples;
        with weights of samples, the sum of these or of the products.
        """
        logits = real_array("CrossEntropy: output", output)
        if logits.ndim == 0:
            raise ValueError(f"CrossEntropy: output must have shape (N, K), got {logits.shape}")
        labels = as_array("CrossEntropy: target", target)
        labels = _read_labels("CrossEntropy", labels, logits.shape)
        class_weight = self._class_weights(logits.shape[-1])
        weights = read_sample_weight("CrossEntropy", sample_weight, len(labels))
        loss, gradient = kernels.softmax_cross_entropy(
            logits,
            labels if labels.ndim == 1 else _as_target(labels, logits),
            label_smoothing=self.label_smoothing,
            class_weight=class_weight,
            sample_weight=weights,
            ignore_index=self.ignore_index,
        )
        return _result(loss, gradient, self._weight(labels, class_weight, weights))

    def _weight(self, labels: Array, class_weight: Array | None, weights: Array | None) -> float:
        """Return the divisor of the mean over class ids (N,) or probabilities (N, K)."""
        if labels.ndim == 1 and self.ignore_index is not None:
            counted = labels != self.ignore_index
            labels, weights = labels[counted], None if weights is None else weights[counted]
        factors = np.ones(len(labels)) if weights is None else weights
        if labels.ndim == 1 and class_weight is not None:
            factors = factors * class_weight[labels.astype(np.intp)]
        return float(factors.sum())

    def fit(self, targets: ArrayLike, classes: int) -> None:
        """Weigh the classes by their frequency among the targets, if `class_weight` is "balanced"."""
        if isinstance(self.class_weight, str):
            ids = as_array("CrossEntropy: targets", targets)
            if ids.ndim == 1 or ids.shape[1:] == (1,):
                ids = ids.reshape(-1)
                ids = ids if self.ignore_index is None else ids[ids != self.ignore_index]
            self._balanced = balanced_class_weight(ids, classes)

    def _class_weights(self, classes: int) -> Array | None:
        """Return the factors of the classes, (K,), or None."""
        if isinstance(self.class_weight, str):
            if self._balanced is None:
                raise ValueError(
                    "CrossEntropy: class_weight must be fitted to labels where it is 'balanced': "
                    "call loss.fit(labels, classes)"
                )
            return self._balanced
        if not isinstance(self.class_weight, dict):
            return self.class_weight
        factors = np.ones(classes)
        for label, factor in self.class_weight.items():
            if not 0 <= label < classes:
                raise ValueError(
                    f"CrossEntropy: class_weight must have labels from 0 to {classes - 1}, got {label}"
                )
            factors[label] = factor
        return factors

    def check_targets(self, name: str, targets: Array, output: Array) -> None:
        """Raise an error that quotes the first label that is not a class."""
        classes = output.shape[1] if output.ndim > 1 else 0
        labels = _read_labels(name, targets, (len(targets), *output.shape[1:]))
        balanced = isinstance(self.class_weight, str)
        class_weight = None if balanced else self._class_weights(classes)
        if class_weight is not None and len(class_weight) != classes:
            raise ValueError(
                f"CrossEntropy: class_weight must have {classes} entries, got {len(class_weight)}"
            )
        if labels.ndim > 1:
            _require_distributions(name, labels)
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

    def class_labels(self, targets: Array, output: Array) -> ClassLabels:
        """Return the class of each sample; of probabilities, the class of the largest."""
        labels = _read_labels("CrossEntropy: target", targets, (len(targets), *output.shape[1:]))
        ids = labels.astype(np.int64) if labels.ndim == 1 else np.argmax(labels, axis=1)
        if labels.ndim == 1 and self.ignore_index is not None:
            ids[labels == self.ignore_index] = -1
        return ClassLabels(ids, output.shape[1])

    def aligned(self, target: Array, output: Array) -> Array:
        """Return class ids (N, 1) as (N,): a metric would broadcast (N,) and (N, 1) to (N, N)."""
        return target[:, 0] if target.ndim == 2 and target.shape[1] == 1 != output.shape[1] else target


def _read_labels(name: str, labels: Array, shape: tuple[int, ...]) -> Array:
    """Return class ids (N,), their range unchecked, or probabilities (N, K) for logits of a shape."""
    is_integral = labels.dtype.kind in "iub"
    if not is_real(labels.dtype):
        raise TypeError(
            f"{name}: labels must be class ids or probabilities, got dtype {labels.dtype}; "
            "numpy.unique(labels, return_inverse=True) gives ids to names"
        )
    if is_integral and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 1:
        if not is_integral:
            raise TypeError(f"{name}: class ids must be integers, got dtype {labels.dtype}")
        return labels
    if labels.shape != shape:
        raise ValueError(
            f"{name}: labels must have shape {shape[:1]}, or {shape} where they are probabilities, "
            f"got {labels.shape}"
        )
    if is_integral:
        wrong = labels[(labels != 0) & (labels != 1)]
        if wrong.size:
            raise ValueError(f"{name}: labels of shape {shape} must be one-hot, got {wrong[0]}")
    return labels


def _require_distributions(name: str, labels: Array) -> None:
    """Raise a ValueError that quotes the first row that is not a distribution over the classes."""
    if labels.shape[1] == 1:
        raise ValueError(f"{name}: probabilities must be of two classes at least, got shape {labels.shape}")
    for begin, rows in _blocks(labels):
        # 16-bit floats have three digits. NaN is left to the training, which names the batch
        wrong = (rows < 0).any(axis=1) | (abs(rows.sum(axis=1) - 1) > 0.01)
        if wrong.any():
            sample = begin + int(np.argmax(wrong))
            raise ValueError(
                f"{name}: probabilities must be >= 0 and add up to 1, got {labels[sample]} at sample {sample}"
            )


def _blocks(targets: Array) -> Iterator[tuple[int, Array]]:
    """Yield the targets in float64 and parts of bounded size, each with the number of its first sample.

    So a memory map is never copied as a whole.
    """
    rows = max(1, 2**16 // max(1, targets[:1].size))
    for begin in range(0, len(targets), rows):
        yield begin, targets[begin : begin + rows].astype(np.float64)


class _Elementwise(Loss):
    """A mean over all elements. Targets have any dtype, and the output's shape up to axes of length 1."""

    def __call__(
        self, output: Array, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> LossResult:
        """Return the loss, its gradient, and the number of elements or the sum of their weights."""
        name = type(self).__name__
        pred = real_array(f"{name}: output", output)
        targets = real_array(f"{name}: target", target)
        samples = len(pred) if pred.ndim else 1
        weights = read_sample_weight(name, sample_weight, samples)
        loss, gradient = self._kernel(pred, _as_target(targets, pred), sample_weight=weights)
        number = (
            float(pred.size) if weights is None else float(weights.sum()) * (pred.size // max(samples, 1))
        )
        return _result(loss, gradient, number)

    def aligned(self, target: Array, output: Array) -> Array:
        """Return targets in the shape of the output: a metric would broadcast (N,) and (N, 1) to (N, N)."""
        return target.reshape(output.shape) if target.size == output.size else target

    def _kernel(self, pred: Array, target: Array, *, sample_weight: Array | None) -> tuple[float, Array]:
        raise NotImplementedError(f"{type(self).__name__}: _kernel is not defined")

    def check_targets(self, name: str, targets: Array, output: Array) -> None:
        """Raise a ValueError unless the targets have the shape of the output, up to axes of length 1."""
        shape = real_array(name, targets).shape
        if [size for size in shape[1:] if size != 1] != [size for size in output.shape[1:] if size != 1]:
            wanted = (len(targets), *output.shape[1:])
            raise ValueError(f"{name} must have shape {wanted} as the output of the model, got {shape}")


class BinaryCrossEntropy(_Elementwise):
    """Cross entropy of the sigmoid of logits, `trimtab.binary_cross_entropy`. Reports ``accuracy``.

    Targets are 0 and 1, or probabilities between, of any real dtype or bool. One logit for each sample means
    two classes; K of them mean K labels, of which any number may hold.

    Parameters
    ----------
    label_smoothing : float
        From 0 to 1: the share of the target that is spread evenly over both classes.
    pos_weight : float or array_like, optional
        A factor >= 0 of the losses of positive targets: one number, or one for each of the K labels.
    """

    takes_logits = True

    def __init__(self, label_smoothing: float = 0.0, pos_weight: ArrayLike | None = None) -> None:
        name = "BinaryCrossEntropy"
        self.label_smoothing = _checks.number(f"{name}: label_smoothing", label_smoothing, 0, 1)
        self.pos_weight = None
        if pos_weight is not None:
            self.pos_weight = real_array(f"{name}: pos_weight", pos_weight).astype(np.float64)
            if self.pos_weight.ndim > 1 or not np.all(np.isfinite(self.pos_weight) & (self.pos_weight >= 0)):
                raise ValueError(
                    f"{name}: pos_weight must be a finite factor >= 0, or one for each label, "
                    f"got {_checks.shown(pos_weight)}"
                )
        self.metrics = {"accuracy": binary_accuracy}

    def class_labels(self, targets: Array, output: Array) -> ClassLabels | None:
        """Return class 1 where the target is above 1/2; None for several labels at once."""
        if output.size != len(output):
            return None
        return ClassLabels((targets.reshape(len(targets)).astype(np.float64) > 0.5).astype(np.int64), 2)

    def _kernel(self, pred: Array, target: Array, *, sample_weight: Array | None) -> tuple[float, Array]:
        return kernels.binary_cross_entropy(
            pred,
            target,
            label_smoothing=self.label_smoothing,
            pos_weight=self.pos_weight,
            sample_weight=sample_weight,
        )

    def check_targets(self, name: str, targets: Array, output: Array) -> None:
        """Raise a ValueError that quotes the first target that is not between 0 and 1, or a wrong shape."""
        super().check_targets(name, targets, output)
        for _, values in _blocks(np.asarray(targets)):
            wrong = (values < 0) | (values > 1)
            if wrong.any():
                raise ValueError(f"{name} must be between 0 and 1, got {values[wrong][0]}")


class MSE(_Elementwise):
    """Mean squared error, `trimtab.mse`. Targets have the output's shape and any real dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import losses
    >>> losses.MSE()(np.array([[1.0, 2.0]]), [[1.0, 4.0]])
    LossResult(loss=2.0, gradient=array([[ 0., -2.]]), weight=2.0)
    """

    def _kernel(self, pred: Array, target: Array, *, sample_weight: Array | None) -> tuple[float, Array]:
        return kernels.mse(pred, target, sample_weight=sample_weight)


class MAE(_Elementwise):
    """Mean absolute error, `trimtab.mae`. Targets have the output's shape and any real dtype."""

    def _kernel(self, pred: Array, target: Array, *, sample_weight: Array | None) -> tuple[float, Array]:
        return kernels.mae(pred, target, sample_weight=sample_weight)


class Huber(_Elementwise):
    """Huber's loss, `trimtab.huber`. Targets have the output's shape and any real dtype.

    Parameters
    ----------
    delta : float
        The distance from the target beyond which the loss is linear; finite and >= 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = _checks.number("Huber: delta", delta, 0)

    def _kernel(self, pred: Array, target: Array, *, sample_weight: Array | None) -> tuple[float, Array]:
        return kernels.huber(pred, target, delta=self.delta, sample_weight=sample_weight)


def _result(loss: float, gradient: Array, weight: float) -> LossResult:
    """Return the result of a kernel, or zeros if nothing counted: the kernel's mean is then NaN."""
    if weight == 0:
        return LossResult(0.0, np.zeros_like(gradient), 0.0)
    return LossResult(float(loss), gradient, weight)


def _as_target(target: Array, output: Array) -> Array:
    """Return a target in a dtype that the kernels take beside the output: the output's own, or float64."""
    return target if target.dtype == output.dtype else target.astype(np.float64)
