"""Whitening (decorrelated batch normalization): channels of mean 0 and variance 1 without correlation.

Inside, x is (groups, channels of a group, values) in float64, and each step is a product of stacked matrices.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._inputs import DTYPES, float_array
from trimtab._typing import Array


class WhitenSaved(NamedTuple):
    """The result of `whiten_forward` that `whiten_backward` takes."""

    centered: Array  # (groups, channels of a group, values), divided by the scale of the group
    eigenvalues: Array  # (groups, channels of a group), of the covariance plus eps, so scaled
    eigenvectors: Array  # (groups, channels of a group, channels of a group)
    exponents: Array  # (groups, 1, 1): the scale of a group is 2**exponent
    shape: tuple[int, ...]  # of x with the channels first
    axis: int
    dtype: np.dtype[Any]


class WhitenForwardResult(NamedTuple):
    """The result of `whiten_forward`."""

    y: Array
    mean: Array
    matrix: Array
    saved: WhitenSaved


def whiten_forward(
    x: ArrayLike,
    *,
    num_groups: int = 1,
    axis: int = 1,
    eps: float = 1e-5,
    running_mean: Array | None = None,
    running_matrix: Array | None = None,
    momentum: float = 0.1,
) -> WhitenForwardResult:
    """Whiten the channels of a batch: mean 0, variance 1 and no correlation within a group.

    With the m values of a group of D consecutive channels as the columns of X::

        Xc = X - mean;  Xc Xc' / m + eps I = V L V';  W = V L^(-1/2) V';  Y = W Xc

    This is ZCA: of all whitening transforms, the one that changes the channels least.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16; C channels along `axis`, more than one value each.
    num_groups : int, default 1
        Number of groups of channels, a divisor of C. Small groups need fewer values and less time.
    axis : int, default 1
        The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
    eps : float, default 1e-5
        Added to the variances; finite and >= 0. It should be positive if a covariance may be singular, for
        instance with no more values than channels in a group.
    running_mean, running_matrix : numpy.ndarray, optional
        Running mean (C,) and whitening matrix (num_groups, D, D), both or neither, of any of the four dtypes;
        updated in place: ``running = (1 - momentum) * running + momentum * batch``. Inference is
        ``running_matrix @ (x - running_mean)``.
    momentum : float, default 0.1
        Weight of the new batch in them, 0 to 1.

    Returns
    -------
    y : numpy.ndarray
        Of x's shape and dtype. A group with NaN or Inf is all NaN.
    mean : numpy.ndarray of float64
        Shape (C,).
    matrix : numpy.ndarray of float64
        W of each group, shape (num_groups, D, D).
    saved : WhitenSaved
        For `whiten_backward`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `batch_norm_forward`, and if `num_groups` does not divide the channels. Nothing is changed then.

    See Also
    --------
    trimtab.nn.Whitening : the layer.

    References
    ----------
    Huang, L., Yang, D., Lang, B., and Deng, J. (2018). Decorrelated Batch Normalization. CVPR.

    Examples
    --------
    >>> import numpy as np, trimtab as tt
    >>> y = tt.whiten_forward([[1.0, 2.0], [3.0, 1.0], [8.0, 6.0]], eps=0.0).y
    >>> np.allclose(y.T @ y / 3, np.eye(2))
    True
    """
    x = float_array("whiten_forward: x", x)
    axis = _channel_axis(axis, x.ndim)
    mean, _, count = kernels.batch_moments(x, axis=axis)
    if count < 2 or not x.size:
        raise ValueError(f"whiten_forward: x must have more than one value per channel, got shape {x.shape}")
    num_groups = _checks.divisor("whiten_forward: num_groups", num_groups, len(mean), "channels")
    size = len(mean) // num_groups
    eps = _checks.number("whiten_forward: eps", eps, 0)
    _require_running_statistics(running_mean, running_matrix, (num_groups, size, size))
    momentum = _checks.number("whiten_forward: momentum", momentum, 0, 1)

    moved = np.moveaxis(x, axis, 0)
    values = moved.reshape(num_groups, size, count).astype(np.float64)
    # Scaled to at most 1, values have squares that neither overflow nor underflow; a power of two is exact.
    exponents = _exponents(np.maximum(np.abs(values).max((1, 2), keepdims=True), np.sqrt(eps)))
    centered = np.ldexp(values, -exponents) - np.ldexp(mean.reshape(num_groups, size, 1), -exponents)
    covariance = centered @ centered.mT / count + np.ldexp(eps, -2 * exponents) * np.eye(size)
    finite = np.isfinite(covariance.sum((1, 2)))
    eigenvalues, eigenvectors = np.linalg.eigh(np.where(finite[:, None, None], covariance, np.eye(size)))
    smallest = np.ldexp(eps, -2 * exponents[:, 0])
    eigenvalues = np.where(finite[:, None], np.maximum(eigenvalues, smallest), np.nan)
    scaled_matrix = _inverse_root(eigenvalues, eigenvectors)
    matrix = np.ldexp(scaled_matrix, -exponents)
    for running, batch in ((running_mean, mean), (running_matrix, matrix)):
        if running is not None:
            running[...] = (1 - momentum) * running.astype(np.float64) + momentum * batch
    y = _ungrouped(scaled_matrix @ centered, moved.shape, axis, x.dtype)
    saved = WhitenSaved(centered, eigenvalues, eigenvectors, exponents, moved.shape, axis, x.dtype)
    return WhitenForwardResult(y, mean, matrix, saved)


def whiten_backward(dy: ArrayLike, saved: WhitenSaved) -> Array:
    """Return the gradient of whitening with respect to its input.

    With G the gradient of a group, V and L its eigenvectors and eigenvalues, sym(A) = (A + A') / 2::

        dS  = V (K * (V' sym(G Xc') V)) V';  K_ij = -1 / (a b (a + b)), a = sqrt(L_i), b = sqrt(L_j)
        dXc = W G + 2 / m dS Xc;  dX = dXc - mean of dXc

    which is finite for equal eigenvalues, too. K_ij is 0 where L_i or L_j is 0.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to y, of its shape and dtype.
    saved : WhitenSaved
        From `whiten_forward`.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x, of its shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If `saved` is something else, or `dy` has another shape or dtype than y.

    References
    ----------
    Huang, L., Yang, D., Lang, B., and Deng, J. (2018). Decorrelated Batch Normalization. CVPR.

    Examples
    --------
    >>> import numpy as np, trimtab as tt
    >>> saved = tt.whiten_forward([[1.0, 2.0], [3.0, 1.0], [8.0, 6.0]]).saved
    >>> dx = tt.whiten_backward(np.eye(3, 2), saved)
    >>> np.allclose(dx.sum(axis=0), 0)
    True
    """
    if not isinstance(saved, WhitenSaved):
        raise TypeError(
            f"whiten_backward: saved must be what whiten_forward saved, got {_checks.shown(saved)}"
        )
    centered, eigenvalues, eigenvectors, exponents, shape, axis, dtype = saved
    dy = float_array("whiten_backward: dy", dy)
    if dy.dtype != dtype:
        raise TypeError(f"whiten_backward: dy must have dtype {dtype}, got dtype {dy.dtype}")
    channels, *others = shape
    others.insert(axis % len(shape), channels)
    if dy.shape != tuple(others):
        raise ValueError(f"whiten_backward: dy must have shape {tuple(others)}, got {dy.shape}")
    g = np.moveaxis(dy, axis, 0).reshape(centered.shape).astype(np.float64)
    root = np.sqrt(eigenvalues)
    a, b = root[:, :, None], root[:, None, :]
    product = g @ centered.mT
    in_eigenbasis = eigenvectors.mT @ (product + product.mT) @ eigenvectors / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        weighted = np.where(a * b == 0, 0.0, -in_eigenbasis / (a * b * (a + b)))
    dcovariance = eigenvectors @ weighted @ eigenvectors.mT
    dcentered = _inverse_root(eigenvalues, eigenvectors) @ g
    dcentered += (2 / centered.shape[2]) * dcovariance @ centered
    dcentered -= dcentered.mean(2, keepdims=True)
    return _ungrouped(np.ldexp(dcentered, -exponents), shape, axis, dtype)


def _exponents(bounds: Array) -> Array:
    """Smallest n with ``bounds < 2**n``, within -1000 to 1000; 0 where a bound is not finite."""
    exponents: Array = np.clip(np.frexp(np.where(np.isfinite(bounds), bounds, 1.0))[1], -1000, 1000)
    return exponents


def _inverse_root(eigenvalues: Array, eigenvectors: Array) -> Array:
    """V L^(-1/2) V', with 0 for directions without variance, as the rstd of a constant."""
    roots = np.sqrt(eigenvalues)[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        matrix: Array = np.where(roots == 0, 0.0, eigenvectors / roots) @ eigenvectors.mT
    return matrix


def _ungrouped(values: Array, shape: tuple[int, ...], axis: int, dtype: np.dtype[Any]) -> Array:
    """Values (groups, channels of a group, values) as a contiguous array of x's shape and dtype."""
    return np.ascontiguousarray(np.moveaxis(values.reshape(shape), 0, axis), dtype)


def _channel_axis(axis: int, ndim: int) -> int:
    axis = _checks.whole("whiten_forward: axis", axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(
            f"whiten_forward: axis {axis} is out of bounds for an array of {ndim} dimensions"
        )
    return axis


def _require_running_statistics(
    mean: Array | None, matrix: Array | None, matrix_shape: tuple[int, int, int]
) -> None:
    """Raise an error unless both are None, or arrays that can be updated in place."""
    if mean is None and matrix is None:
        return
    num_groups, size, _ = matrix_shape
    for name, array, shape, other in (
        ("running_mean", mean, (num_groups * size,), "running_matrix"),
        ("running_matrix", matrix, matrix_shape, "running_mean"),
    ):
        if array is None:
            raise ValueError(f"whiten_forward: {name} must be given together with {other}, got None")
        _require_updatable(f"whiten_forward: {name}", array, shape)
    if mean is not None and matrix is not None and np.shares_memory(mean, matrix):
        raise ValueError(
            "whiten_forward: running_matrix must not overlap running_mean, got overlapping arrays"
        )


def _require_updatable(name: str, array: Any, shape: tuple[int, ...]) -> None:
    """Raise an error unless `array` has the shape, a floating dtype, and elements that can be written."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray | np.matrix):
        kind = f"{type(array).__module__}.{type(array).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"{name} must be a numpy.ndarray, got {kind}")
    if array.dtype.name not in DTYPES:
        raise TypeError(
            f"{name} must be a float32, float64, float16 or bfloat16 array, got dtype {array.dtype}"
        )
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")
    if _overlaps_itself(array):
        raise ValueError(
            f"{name} must have an address of its own for every element, got strides {array.strides}"
        )


def _overlaps_itself(array: Array) -> bool:
    if array.flags.forc:
        return False
    steps = [np.arange(extent) * step for extent, step in zip(array.shape, array.strides, strict=True)]
    addresses = np.sort(functools.reduce(np.add.outer, steps), axis=None)
    return bool(np.any(np.diff(addresses) < array.itemsize))
