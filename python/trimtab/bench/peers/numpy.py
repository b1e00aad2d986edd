"""NumPy as a user would write it; in float64, the expected results of all libraries.

The tests compare these float64 results with the reference, which is not part of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Inputs
from trimtab.bench.peers.library import Call
from trimtab.bench.peers.numpy_activations import Activations
from trimtab.bench.peers.numpy_batch import BatchStatistics

Axes: TypeAlias = tuple[int, ...]

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017


def broadcast(i: Inputs, channels: Array) -> Array:
    """Reshape values of the channels so that they broadcast."""
    return np.expand_dims(channels, i.others)


def standardize(i: Inputs, x: Array, axes: Axes, out: Array | None = None) -> Array:
    centered: Array = np.subtract(x, x.mean(axis=axes, keepdims=True), out=out)
    var = np.square(centered).mean(axis=axes, keepdims=True)
    standardized: Array = np.divide(centered, np.sqrt(var + i.eps), out=out)
    return standardized


def through_statistics(h: Array, xhat: Array, rstd: Array, axes: Axes) -> Array:
    inner = (h * xhat).mean(axis=axes, keepdims=True)
    dx: Array = rstd * (h - h.mean(axis=axes, keepdims=True) - xhat * inner)
    return dx


def norm_backward(i: Inputs, axes: Axes) -> Callable[[Array], tuple[Array, Array, Array]]:
    """Return the backward of a norm over some axes, a function of dy."""
    gamma, others = broadcast(i, i.gamma), i.others
    mean = i.x.mean(axis=axes, keepdims=True)
    rstd = 1 / np.sqrt(i.x.var(axis=axes, keepdims=True) + i.eps)

    def backward(dy: Array) -> tuple[Array, Array, Array]:
        xhat = (i.x - mean) * rstd
        dx = through_statistics(dy * gamma, xhat, rstd, axes)
        return dx, (dy * xhat).sum(axis=others), dy.sum(axis=others)

    return backward


def in_groups(i: Inputs, array: Array) -> Array:
    """Reshape to (samples, groups, values of a group)."""
    return np.moveaxis(array, i.axis, 1).reshape(len(array), i.groups, -1)


def of_groups(i: Inputs, grouped: Array) -> Array:
    """The inverse of in_groups."""
    return np.moveaxis(grouped.reshape(np.moveaxis(i.x, i.axis, 1).shape), 1, i.axis)


def update(i: Inputs, all_w: list[Array], all_g: list[Array], all_v: list[Array], spare: list[Array]) -> None:
    for w, g, v, s in zip(all_w, all_g, all_v, spare, strict=True):
        np.multiply(v, i.momentum, out=v)
        np.add(v, g, out=v)
        np.multiply(w, i.weight_decay, out=s)
        np.add(v, s, out=v)
        np.multiply(v, i.lr, out=s)
        np.subtract(w, s, out=w)


class NumPy(BatchStatistics, Activations):
    """Expressions on whole arrays.

    Parameters
    ----------
    keep : bool, optional
        Dropout keeps all or nothing; by default it draws a mask.
    """

    name = "NumPy"

    def __init__(self, keep: bool | None = None) -> None:
        self.keep = keep

    def keeper(self, i: Inputs) -> Callable[[], Array]:
        if self.keep is not None:
            same = np.full(i.shape, self.keep)
            return lambda: same
        rng = np.random.default_rng(3)
        return lambda: rng.random(i.shape, np.float32) >= i.p

    def norm_out(self, i: Inputs, axes: Axes) -> Call:
        """A norm over some axes that writes to one array."""
        gamma, beta, y = broadcast(i, i.gamma), broadcast(i, i.beta), np.empty_like(i.x)

        def call() -> Array:
            standardize(i, i.x, axes, out=y)
            np.multiply(y, gamma, out=y)
            return np.add(y, beta, out=y)

        return call

    def layer_norm(self, i: Inputs) -> Call:
        return lambda: standardize(i, i.x, (-1,)) * i.gamma + i.beta

    def layer_norm_out(self, i: Inputs) -> Call:
        return self.norm_out(i, (-1,))

    def layer_norm_backward(self, i: Inputs) -> Call:
        return partial(norm_backward(i, (-1,)), i.dy)

    def add_layer_norm_forward(self, i: Inputs) -> Call:
        def call() -> tuple[Array, Array]:
            summed = i.x + i.residual
            return standardize(i, summed, (-1,)) * i.gamma + i.beta, summed

        return call

    def rms_norm(self, i: Inputs) -> Call:
        return lambda: i.x / np.sqrt(np.square(i.x).mean(axis=-1, keepdims=True) + i.eps) * i.gamma

    def rms_norm_out(self, i: Inputs) -> Call:
        y = np.empty_like(i.x)

        def call() -> Array:
            np.square(i.x, out=y)
            rms = np.sqrt(y.mean(axis=-1, keepdims=True) + i.eps)
            np.divide(i.x, rms, out=y)
            return np.multiply(y, i.gamma, out=y)

        return call

    def rms_norm_backward(self, i: Inputs) -> Call:
        rstd = 1 / np.sqrt(np.square(i.x).mean(axis=-1, keepdims=True) + i.eps)
        rows = i.others

        def call() -> tuple[Array, Array]:
            xhat, h = i.x * rstd, i.dy * i.gamma
            dx = rstd * (h - xhat * (h * xhat).mean(axis=-1, keepdims=True))
            return dx, (i.dy * xhat).sum(axis=rows)

        return call

    def add_rms_norm_forward(self, i: Inputs) -> Call:
        def call() -> tuple[Array, Array]:
            summed = i.x + i.residual
            rms = np.sqrt(np.square(summed).mean(axis=-1, keepdims=True) + i.eps)
            return summed / rms * i.gamma, summed

        return call

    def batch_norm_forward(self, i: Inputs) -> Call:
        gamma, beta, axes = broadcast(i, i.gamma), broadcast(i, i.beta), i.others
        return lambda: standardize(i, i.x, axes) * gamma + beta

    def batch_norm_forward_out(self, i: Inputs) -> Call:
        return self.norm_out(i, i.others)

    def batch_norm_backward(self, i: Inputs) -> Call:
        return partial(norm_backward(i, i.others), i.dy)

    def batch_norm(self, i: Inputs) -> Call:
        gamma, beta, mean, var = (broadcast(i, values) for values in (i.gamma, i.beta, i.mean, i.var))
        return lambda: (i.x - mean) * (gamma / np.sqrt(var + i.eps)) + beta

    def batch_norm_out(self, i: Inputs) -> Call:
        gamma, beta, mean, var = (broadcast(i, values) for values in (i.gamma, i.beta, i.mean, i.var))
        y = np.empty_like(i.x)

        def call() -> Array:
            np.subtract(i.x, mean, out=y)
            np.multiply(y, gamma / np.sqrt(var + i.eps), out=y)
            return np.add(y, beta, out=y)

        return call

    def batch_norm_residual_relu(self, i: Inputs) -> Call:
        normalized = self.batch_norm_forward(i)
        return lambda: np.maximum(normalized() + i.residual, 0)

    def batch_norm_residual_relu_backward(self, i: Inputs) -> Call:
        backward = norm_backward(i, i.others)

        def call() -> tuple[Array, ...]:
            g = i.dy * (i.residual > 0)
            return *backward(g), g

        return call

    def batch_moments(self, i: Inputs) -> Call:
        axes = i.others
        return lambda: (i.x.mean(axis=axes), i.x.var(axis=axes))

    def group_norm(self, i: Inputs) -> Call:
        gamma, beta = broadcast(i, i.gamma), broadcast(i, i.beta)
        return lambda: of_groups(i, standardize(i, in_groups(i, i.x), (2,))) * gamma + beta

    def group_norm_backward(self, i: Inputs) -> Call:
        gamma, others, x = broadcast(i, i.gamma), i.others, in_groups(i, i.x)
        mean, rstd = x.mean(axis=2, keepdims=True), 1 / np.sqrt(x.var(axis=2, keepdims=True) + i.eps)

        def call() -> tuple[Array, Array, Array]:
            xhat, h = (in_groups(i, i.x) - mean) * rstd, in_groups(i, i.dy * gamma)
            dx = of_groups(i, through_statistics(h, xhat, rstd, (2,)))
            return dx, (i.dy * of_groups(i, xhat)).sum(axis=others), i.dy.sum(axis=others)

        return call

    instance_norm, instance_norm_backward = group_norm, group_norm_backward

    def dropout_forward(self, i: Inputs) -> Call:
        keep, scale = self.keeper(i), 1 / (1 - i.p)
        return lambda: i.x * keep() * scale

    def dropout_backward(self, i: Inputs) -> Call:
        scale = 1 / (1 - i.p)
        return lambda: i.dy * i.keep * scale

    def dropout_backward_out(self, i: Inputs) -> Call:
        scale, dx = 1 / (1 - i.p), np.empty_like(i.dy)
        return lambda: np.multiply(np.multiply(i.dy, i.keep, out=dx), scale, out=dx)

    def add_dropout_forward(self, i: Inputs) -> Call:
        keep, scale = self.keeper(i), 1 / (1 - i.p)
        return lambda: (i.x + i.beta) * keep() * scale + i.residual

    def alpha_dropout_forward(self, i: Inputs) -> Call:
        keep, dropped = self.keeper(i), -SELU_SCALE * SELU_ALPHA
        scale = ((1 - i.p) * (1 + i.p * dropped**2)) ** -0.5
        at_kept, at_dropped = -scale * dropped * i.p, scale * dropped * (1 - i.p)
        return lambda: np.where(keep(), scale * i.x + at_kept, at_dropped)

    def alpha_dropout_backward(self, i: Inputs) -> Call:
        scale = ((1 - i.p) * (1 + i.p * (SELU_SCALE * SELU_ALPHA) ** 2)) ** -0.5
        return lambda: i.dy * i.keep * scale

    def drop_path_forward(self, i: Inputs) -> Call:
        keep, scale, one = self.keeper(i), 1 / (1 - i.p), (slice(None), *(slice(1) for _ in i.shape[1:]))
        return lambda: i.x * keep()[one] * scale

    def drop_path_backward(self, i: Inputs) -> Call:
        scale, keep = 1 / (1 - i.p), i.keep_sample.reshape(-1, *(1 for _ in i.shape[1:]))
        return lambda: i.dy * keep * scale

    def gaussian_dropout_backward(self, i: Inputs) -> Call:
        return lambda: i.dy * i.residual

    def clip_grad_norm(self, i: Inputs) -> Call:
        g = i.each_weight("g")
        return lambda: np.sqrt(sum(np.vdot(array, array) for array in g))

    def max_pool(self, i: Inputs) -> Call:
        x = i.x[:, : i.shape[1] // 2 * 2, : i.shape[2] // 2 * 2]
        even, odd = slice(None, None, 2), slice(1, None, 2)
        return lambda: np.maximum(
            np.maximum(x[:, even, even], x[:, even, odd]), np.maximum(x[:, odd, even], x[:, odd, odd])
        )

    def avg_pool(self, i: Inputs) -> Call:
        x = i.x[:, : i.shape[1] // 2 * 2, : i.shape[2] // 2 * 2]
        even, odd = slice(None, None, 2), slice(1, None, 2)
        return lambda: (x[:, even, even] + x[:, even, odd] + x[:, odd, even] + x[:, odd, odd]) / 4

    def sgd_update(self, i: Inputs) -> Call:
        w, g, v = map(i.each_weight, "wgv")
        spare, updated = [np.empty_like(array) for array in w], (*w, *v)

        def call() -> tuple[Array, ...]:
            update(i, w, g, v, spare)
            return updated

        return call

    def sgd_update_clipped(self, i: Inputs) -> Call:
        w, g, v = map(i.each_weight, "wgv")
        spare, updated = [np.empty_like(array) for array in w], (*w, *v)

        def call() -> tuple[object, ...]:
            l1_norm = sum(np.abs(array).sum() for array in w)
            l2_norm_sq = sum(np.vdot(array, array) for array in w)
            norm = np.sqrt(sum(np.vdot(array, array) for array in g))
            for array in g:
                array *= i.max_grad_norm / max(norm, i.max_grad_norm)
            update(i, w, g, v, spare)
            for array in g:
                array.fill(0)
            return l1_norm, l2_norm_sq, min(norm, i.max_grad_norm), norm, *updated

        return call

    def adam_update(self, i: Inputs) -> Call:
        w, g, m, v = i.adam_state()
        spare, updated = [np.empty_like(array) for array in w], (*w, *m, *v)
        step_size = i.lr / (1 - i.beta1**i.step)
        root_correction = (1 - i.beta2**i.step) ** 0.5

        def call() -> tuple[Array, ...]:
            for wi, gi, mi, vi, si in zip(w, g, m, v, spare, strict=True):
                np.subtract(gi, mi, out=si)
                np.multiply(si, 1 - i.beta1, out=si)
                np.add(mi, si, out=mi)
                np.multiply(gi, gi, out=si)
                np.multiply(si, 1 - i.beta2, out=si)
                np.multiply(vi, i.beta2, out=vi)
                np.add(vi, si, out=vi)
                np.multiply(wi, 1 - i.lr * i.weight_decay, out=wi)
                np.sqrt(vi, out=si)
                np.divide(si, root_correction, out=si)
                np.add(si, i.eps, out=si)
                np.divide(mi, si, out=si)
                np.multiply(si, step_size, out=si)
                np.subtract(wi, si, out=wi)
            return updated

        return call

    def sgd_optimizer(self, i: Inputs) -> Call:
        w, g = map(i.each_weight, "wg")
        v, spare = [np.zeros_like(array) for array in w], [np.empty_like(array) for array in w]
        updated = tuple(w)

        def call() -> tuple[Array, ...]:
            update(i, w, g, v, spare)
            for array in g:
                array.fill(0)
            return updated

        return call

    def max_norm(self, i: Inputs) -> Call:
        def call() -> Array:
            length = np.sqrt(np.square(i.x).sum(axis=-1, keepdims=True))
            w: Array = i.x * np.minimum(1, i.limit / length)
            return w

        return call

    def penalty(self, i: Inputs) -> Call:
        all_w = i.each_weight("w")
        return lambda: sum(np.abs(w).sum() + i.weight_decay / 2 * np.vdot(w, w) for w in all_w)
