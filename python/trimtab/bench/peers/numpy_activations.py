"""NumPy for activations, softmax and losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import prod

import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Inputs
from trimtab.bench.peers.library import Call, Library


def error_function() -> Callable[[Array], Array]:
    """Return SciPy's function, as NumPy has none; without SciPy, one that takes value after value."""
    if find_spec("scipy"):
        erf: Callable[[Array], Array] = import_module("scipy.special").erf
        return erf
    return lambda x: np.fromiter(map(math.erf, x.flat), x.dtype, x.size).reshape(x.shape)


class Activations(Library):
    """Expressions on whole arrays."""

    def relu(self, i: Inputs) -> Call:
        return lambda: np.maximum(i.x, 0)

    def relu_out(self, i: Inputs) -> Call:
        return partial(np.maximum, i.x, 0, out=np.empty_like(i.x))

    def relu_backward(self, i: Inputs) -> Call:
        return lambda: i.dy * (i.residual > 0)

    def leaky_relu(self, i: Inputs) -> Call:
        return lambda: np.where(i.x > 0, i.x, i.x * i.slope)

    def leaky_relu_backward(self, i: Inputs) -> Call:
        return lambda: np.where(i.x > 0, i.dy, i.dy * i.slope)

    def sigmoid(self, i: Inputs) -> Call:
        return lambda: 1 / (1 + np.exp(-i.x))

    def sigmoid_out(self, i: Inputs) -> Call:
        y = np.empty_like(i.x)

        def call() -> Array:
            np.exp(np.negative(i.x, out=y), out=y)
            return np.divide(1, np.add(y, 1, out=y), out=y)

        return call

    def sigmoid_backward(self, i: Inputs) -> Call:
        return lambda: i.dy * i.residual * (1 - i.residual)

    def silu(self, i: Inputs) -> Call:
        return lambda: i.x / (1 + np.exp(-i.x))

    def silu_backward(self, i: Inputs) -> Call:
        def call() -> Array:
            p = 1 / (1 + np.exp(-i.x))
            dx: Array = i.dy * (p + i.x * p * (1 - p))
            return dx

        return call

    def gelu(self, i: Inputs) -> Call:
        erf, root_half = error_function(), 0.5**0.5
        return lambda: i.x * (1 + erf(i.x * root_half)) / 2

    def gelu_backward(self, i: Inputs) -> Call:
        erf, root_half, height = error_function(), 0.5**0.5, (2 * math.pi) ** -0.5

        def call() -> Array:
            density = np.exp(np.square(i.x) / -2) * height
            dx: Array = i.dy * ((1 + erf(i.x * root_half)) / 2 + i.x * density)
            return dx

        return call

    def softmax(self, i: Inputs) -> Call:
        def call() -> Array:
            exponentials = np.exp(i.x - i.x.max(-1, keepdims=True))
            y: Array = exponentials / exponentials.sum(-1, keepdims=True)
            return y

        return call

    def softmax_backward(self, i: Inputs) -> Call:
        return lambda: i.residual * (i.dy - (i.dy * i.residual).sum(-1, keepdims=True))

    def log_softmax(self, i: Inputs) -> Call:
        def call() -> Array:
            shifted = i.x - i.x.max(-1, keepdims=True)
            y: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
            return y

        return call

    def log_softmax_backward(self, i: Inputs) -> Call:
        return lambda: i.dy - np.exp(i.log_probabilities) * i.dy.sum(-1, keepdims=True)

    def tanh(self, i: Inputs) -> Call:
        return lambda: np.tanh(i.x)

    def tanh_out(self, i: Inputs) -> Call:
        return partial(np.tanh, i.x, out=np.empty_like(i.x))

    def tanh_backward(self, i: Inputs) -> Call:
        return lambda: i.dy * (1 - np.square(i.residual))

    def softmax_cross_entropy(self, i: Inputs) -> Call:
        rows, classes = i.shape
        at_label, other = np.arange(rows), i.label_smoothing / classes

        def call() -> tuple[Array, Array]:
            shifted = i.x - i.x.max(axis=1, keepdims=True)
            exp = np.exp(shifted)
            total = exp.sum(axis=1, keepdims=True)
            dlogits = exp / total
            dlogits -= other
            dlogits[at_label, i.labels] -= 1 - i.label_smoothing
            dlogits /= rows
            log_p = (1 - i.label_smoothing) * shifted[at_label, i.labels] + other * shifted.sum(axis=1)
            return (np.log(total[:, 0]) - log_p).mean(), dlogits

        return call

    def binary_cross_entropy(self, i: Inputs) -> Call:
        def call() -> tuple[Array, Array]:
            loss = np.maximum(i.x, 0) - i.x * i.positives + np.log1p(np.exp(-np.abs(i.x)))
            return loss.mean(), (1 / (1 + np.exp(-i.x)) - i.positives) / prod(i.shape)

        return call

    def mae(self, i: Inputs) -> Call:
        def call() -> tuple[Array, Array]:
            difference = i.x - i.residual
            return np.abs(difference).mean(), np.sign(difference) / prod(i.shape)

        return call

    def mse(self, i: Inputs) -> Call:
        def call() -> tuple[Array, Array]:
            difference = i.x - i.residual
            return np.square(difference).mean(), difference * (2 / prod(i.shape))

        return call

    def huber(self, i: Inputs) -> Call:
        def call() -> tuple[Array, Array]:
            difference = i.x - i.residual
            clipped = np.clip(difference, -1, 1)
            return (clipped * (difference - clipped / 2)).mean(), clipped / prod(i.shape)

        return call
