"""Losses: what training minimizes, and the metrics that are reported beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from trimtab._typing import Array


def accuracy(logits: Array, labels: ArrayLike) -> float:
    """Return the share of rows whose largest logit stands at the label. Logits (N, K), labels (N,)."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


class Loss:
    """A function ``loss(output, target) -> (value, gradient)``, a mean over the samples.

    The gradient is with respect to the output of the model and has its shape and dtype: what the model's
    ``backward`` takes. ``metrics`` maps names to functions ``metric(output, target) -> float`` that are means
    over the samples too; a trainer reports them.
    """

    metrics: ClassVar[Mapping[str, Callable[[Array, Any], float]]] = {}

    def __call__(self, output: Array, target: Any) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to `output`."""
        raise NotImplementedError(f"{type(self).__name__}: __call__ is not defined")


class CrossEntropy(Loss):
    """Softmax cross entropy: the mean of ``-sum(q * log(softmax(z)))`` over the rows, computed in float64.

    The target distribution is ``q = (1 - label_smoothing) * onehot + label_smoothing / K`` (Szegedy et al.
    2016); the gradient is ``(softmax(z) - q) / N``.

    Parameters
    ----------
    label_smoothing : float
        From 0 to 1.
    """

    metrics: ClassVar[Mapping[str, Callable[[Array, Any], float]]] = {"accuracy": accuracy}

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def __call__(self, output: Array, target: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient for logits (N, K) and integer labels (N,) from 0 to K - 1."""
        labels = np.asarray(target)
        if output.ndim != 2 or 0 in output.shape:
            raise ValueError(f"CrossEntropy: logits must have a non-empty shape (N, K), got {output.shape}")
        samples, classes = output.shape
        if not np.issubdtype(labels.dtype, np.integer):
            raise TypeError(f"CrossEntropy: labels must be integers, got dtype {labels.dtype}")
        if labels.shape != (samples,):
            raise ValueError(f"CrossEntropy: labels must have shape {(samples,)}, got {labels.shape}")
        if labels.min() < 0 or labels.max() >= classes:
            wrong = labels[(labels < 0) | (labels >= classes)][0]
            raise ValueError(f"CrossEntropy: labels must be between 0 and {classes - 1}, got {wrong}")

        shifted = output - output.max(axis=1, keepdims=True).astype(np.float64)
        log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        chosen = np.arange(samples), labels
        smoothing = self.label_smoothing
        value = (1 - smoothing) * -log_softmax[chosen].mean() + smoothing * -log_softmax.mean()
        gradient = np.exp(log_softmax) - smoothing / classes
        gradient[chosen] -= 1 - smoothing
        return float(value), (gradient / samples).astype(output.dtype)
