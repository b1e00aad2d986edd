"""The theory of early stopping: kernel gradient descent, and the step after which to stop it.

Yao, Rosasco and Caponnetto (2007). A regression function f is known by m noisy values ``y_i`` at random
points ``x_i``. Gradient descent on the empirical squared error, in the reproducing space of a kernel K, is

    f_0 = 0,  f_{t+1} = f_t - (γ_t / m) Σ_i (f_t(x_i) - y_i) K(x_i, ·),  γ_t = 1 / (κ² (t + 1)^θ),

with ``κ² = sup K(x, x)`` and 0 <= θ < 1. It approaches f at first, and then fits the noise. If f is smooth of
degree r > 0 (in the range of the r-th power of the integral operator of K), stopping after

    t*(m) = ⌈m^(1 / ((2r + 2)(1 - θ)))⌉

steps bounds the root mean squared error by a multiple of m^(-r / (2r + 2)). The number of steps regularizes
the solution, as the strength of the penalty does in ridge regression.

A function is represented by its coefficients, ``f_t = Σ_i c_i K(x_i, ·)``. Its values at points z are
``kernel(z, x) @ c``. The callback that stops a training is `trimtab.callbacks.EarlyStopping`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from trimtab._checks import number, whole
from trimtab._inputs import real_array
from trimtab._typing import Array

__all__ = ["descend", "descend_exactly", "step_sizes", "stopping_time"]

STEPS_AT_ONCE = 256  # steps whose factors are in memory at once


def stopping_time(samples: int, smoothness: float, theta: float = 0.0) -> int:
    """Return ``t*(m)``, the number of steps after which to stop the descent.

    Parameters
    ----------
    samples : int
        m, at least 1.
    smoothness : float
        r > 0.
    theta : float
        Exponent of the step sizes; 0 <= theta < 1.

    Returns
    -------
    int

    Examples
    --------
    >>> [stopping_time(m, smoothness=1) for m in (16, 4096)]
    [2, 8]
    """
    theta = number("stopping_time: theta", theta, 0, below=1)
    samples = whole("stopping_time: samples", samples, 1)
    smoothness = number("stopping_time: smoothness", smoothness, above=0)
    exact: float = samples ** (1 / ((2 * smoothness + 2) * (1 - theta)))
    # 3125 ** (1 / 5) is 5.000000000000001 in float64, and must give 5 steps
    return ceil(exact * (1 - 1e-12))


def step_sizes(steps: int, theta: float = 0.0, kappa_squared: float = 1.0) -> Array:
    """Return ``γ_t = 1 / (κ² (t + 1)^θ)`` for t from 0 to steps - 1.

    Parameters
    ----------
    steps : int
        At least 0.
    theta : float
        0 <= theta < 1; 0 is a constant step.
    kappa_squared : float
        The supremum of K(x, x), > 0.

    Returns
    -------
    numpy.ndarray
        float64 (steps,).

    Examples
    --------
    >>> step_sizes(3, theta=0.5).round(3)
    array([1.   , 0.707, 0.577])
    """
    theta = number("step_sizes: theta", theta, 0, below=1)
    steps = whole("step_sizes: steps", steps, 0)
    kappa_squared = number("step_sizes: kappa_squared", kappa_squared, above=0)
    return 1 / (kappa_squared * np.arange(1, steps + 1) ** theta)


def descend(
    gram: ArrayLike,
    y: ArrayLike,
    times: int | Sequence[int],
    *,
    theta: float = 0.0,
    kappa_squared: float = 1.0,
) -> Array:
    """Run the descent, ``c -= (γ_t / m) (G c - y)``, and return the coefficients after some numbers of steps.

    Parameters
    ----------
    gram : array_like
        G, the symmetric matrix (m, m) of the kernel between the points.
    y : array_like
        (m,), or (m, k) for k regressions at once.
    times : int or increasing sequence of int
        Numbers of steps.
    theta, kappa_squared : float
        As for `step_sizes`. No diagonal element of G may be larger than `kappa_squared`.

    Returns
    -------
    numpy.ndarray
        float64, of the shape of y; for a sequence of times, with a leading axis for them.

    Raises
    ------
    ValueError
        If shapes do not match or a number is out of range.

    Examples
    --------
    >>> points = np.array([0.0, 0.5, 1.0])
    >>> gram = np.exp(-((points[:, None] - points) ** 2))
    >>> descend(gram, [0.0, 1.0, 0.0], times=[1, 100]).shape
    (2, 3)
    """
    gram, y, listed = _arguments("descend", gram, y, times, kappa_squared)
    sizes = step_sizes(listed[-1], theta, kappa_squared) / len(y)
    coefficients = np.zeros_like(y)
    found = []
    for begin, end in pairwise([0, *listed]):
        for size in sizes[begin:end]:
            coefficients -= size * (gram @ coefficients - y)
        found.append(coefficients.copy())
    return np.stack(found).reshape(np.shape(times) + y.shape)


def descend_exactly(
    gram: ArrayLike,
    y: ArrayLike,
    times: int | Sequence[int],
    *,
    theta: float = 0.0,
    kappa_squared: float = 1.0,
) -> Array:
    """Return the result of `descend` by its closed form in the basis of the eigenvectors of G.

    With ``G / m = U diag(λ) U'``, the residual of y along an eigenvector after t steps is the fraction
    ``p_t(λ) = Π_s (1 - γ_s λ)``, so ``c_t = U diag((1 - p_t(λ)) / (m λ)) U' y``. One eigenvalue decomposition
    serves all times.

    Parameters
    ----------
    gram, y, times, theta, kappa_squared
        As for `descend`.

    Returns
    -------
    numpy.ndarray
        As `descend`, up to rounding.

    Examples
    --------
    >>> gram = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> bool(np.allclose(descend_exactly(gram, [1.0, 2.0], 50), descend(gram, [1.0, 2.0], 50)))
    True
    """
    gram, y, listed = _arguments("descend_exactly", gram, y, times, kappa_squared)
    sizes = step_sizes(listed[-1], theta, kappa_squared)
    eigenvalues, vectors = np.linalg.eigh(gram / len(y))
    components = vectors.T @ y
    found = []
    filters, residual = np.zeros_like(eigenvalues), np.ones_like(eigenvalues)
    for begin, end in pairwise([0, *listed]):
        for start in range(begin, end, STEPS_AT_ONCE):
            gammas = sizes[start : min(start + STEPS_AT_ONCE, end)]
            products = np.cumprod(1 - np.multiply.outer(gammas, eigenvalues), axis=0)
            # (1 - p_t) / λ is the sum of γ_s p_s, which is also defined at λ = 0
            filters += residual * (gammas[0] + gammas[1:] @ products[:-1])
            residual *= products[-1]
        shape = (-1,) + (1,) * (y.ndim - 1)
        found.append(vectors @ ((filters / len(y)).reshape(shape) * components))
    return np.stack(found).reshape(np.shape(times) + y.shape)


def _arguments(
    function: str, gram: ArrayLike, y: ArrayLike, times: int | Sequence[int], kappa_squared: float
) -> tuple[Array, Array, list[int]]:
    """Return the arrays as float64 and the times as a list, or raise a ValueError."""
    gram, y = (
        real_array(f"{function}: {name}", array).astype(np.float64)
        for name, array in (("gram", gram), ("y", y))
    )
    kappa_squared = number(f"{function}: kappa_squared", kappa_squared, above=0)
    if y.ndim == 0 or len(y) == 0:
        raise ValueError(f"{function}: y must have at least one entry, got shape {y.shape}")
    if gram.shape != (len(y), len(y)):
        raise ValueError(f"{function}: gram must have shape {(len(y), len(y))}, got {gram.shape}")
    largest = gram.diagonal().max()
    if not largest <= kappa_squared * (1 + 1e-12):
        raise ValueError(
            f"{function}: kappa_squared must be at least K(x, x), got {kappa_squared} < {largest}"
        )
    try:
        listed = [whole(f"{function}: times", time) for time in np.atleast_1d(times)]
    except ValueError as error:
        raise ValueError(f"{function}: times must be an int or a sequence of ints, got {times}") from error
    if not listed or listed[0] < 0 or any(one > other for one, other in pairwise(listed)):
        raise ValueError(f"{function}: times must be >= 0 and increasing, got {times}")
    return gram, y, listed
