"""Numba: loops as a user would write them, compiled, in parallel, in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba  # type: ignore[import-not-found,import-untyped,unused-ignore]
import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Inputs
from trimtab.bench.peers.library import Call, Library

compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(parallel=True, fastmath=True)


@compiled
def layer_norm(x: Any, gamma: Any, beta: Any, eps: Any) -> Any:
    y = np.empty_like(x)
    rows, width = x.shape
    for row in numba.prange(rows):
        mean, var = np.float32(0), np.float32(0)
        for column in range(width):
            mean += x[row, column]
        mean /= np.float32(width)
        for column in range(width):
            var += (x[row, column] - mean) ** 2
        rstd = 1 / np.sqrt(var / np.float32(width) + eps)
        for column in range(width):
            y[row, column] = (x[row, column] - mean) * rstd * gamma[column] + beta[column]
    return y


@compiled
def rms_norm(x: Any, gamma: Any, eps: Any) -> Any:
    y = np.empty_like(x)
    rows, width = x.shape
    for row in numba.prange(rows):
        squares = np.float32(0)
        for column in range(width):
            squares += x[row, column] ** 2
        rstd = 1 / np.sqrt(squares / np.float32(width) + eps)
        for column in range(width):
            y[row, column] = x[row, column] * rstd * gamma[column]
    return y


@compiled
def dropout(x: Any, p: Any, scale: Any) -> Any:
    y = np.empty_like(x)
    for number in numba.prange(x.size):
        keep = np.random.random() >= p  # noqa: NPY002, a Generator does not draw in parallel
        y[number] = x[number] * scale if keep else np.float32(0)
    return y


@compiled
def update(w: Any, g: Any, v: Any, lr: Any, momentum: Any, weight_decay: Any) -> None:
    for number in numba.prange(w.size):
        v[number] = momentum * v[number] + g[number] + weight_decay * w[number]
        w[number] -= lr * v[number]


class Numba(Library):
    """The operations that are short loops."""

    name = "Numba"
    dtypes = frozenset({"float32"})  # of which the loops are

    def __init__(self) -> None:
        self.most_threads: int = numba.get_num_threads()

    def get_num_threads(self) -> int:
        threads: int = numba.get_num_threads()
        return threads

    def set_num_threads(self, threads: int) -> None:
        numba.set_num_threads(min(threads, self.most_threads))

    def layer_norm(self, i: Inputs) -> Call:
        eps = np.float32(i.eps)
        return lambda: layer_norm(i.x, i.gamma, i.beta, eps)

    def rms_norm(self, i: Inputs) -> Call:
        eps = np.float32(i.eps)
        return lambda: rms_norm(i.x, i.gamma, eps)

    def dropout_forward(self, i: Inputs) -> Call:
        x, scale = i.x.reshape(-1), np.float32(1 / (1 - i.p))
        return lambda: dropout(x, i.p, scale).reshape(i.shape)

    def sgd_update(self, i: Inputs) -> Call:
        w, g, v = map(i.each_weight, "wgv")
        flat = [tuple(array.reshape(-1) for array in arrays) for arrays in zip(w, g, v, strict=True)]
        options, updated = [np.float32(value) for value in i.update.values()], (*w, *v)

        def call() -> tuple[Array, ...]:
            for arrays in flat:
                update(*arrays, *options)
            return updated

        return call
