"""Whitening: normalization that decorrelates channels, too (decorrelated batch norm)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._inputs import DTYPES, float_array
from trimtab._typing import Array


class WhitenSaved(NamedTuple):
    """What `whiten_backward` takes from `whiten_forward`."""

    centred: Array  # (groups, channels of a group, values), in the unit of the group
    eigenvalues: Array  # of the covariance plus eps, in that unit
    vectors: Array
    exponents: Array  # of the units, powers of two: (groups, 1, 1)
    shape: tuple[int, ...]  # of x, channels first
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

    Of all whitening maps this one, ZCA, moves the channels least.

    Parameters
    ----------
    x : array_like
        float32, float64, float16 or bfloat16; C channels along `axis`, more than one value each.
    num_groups : int, default 1
        Groups of channels, a divisor of C. Small groups need fewer values and less time.
    axis : int, default 1
        The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
    eps : float, default 1e-5
        Added to the variances; finite and >= 0. Positive where a covariance may be singular, as it is with no
        more values than channels in a group.
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
        What `whiten_backward` takes.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `batch_norm_forward`, and where `num_groups` does not divide the channels. Nothing has been changed
        then.

    See Also
    --------
    trimtab.nn.Whitening : the layer.

    References
    ----------
    Huang, L., Yang, D., Lang, B., and Deng, J. (2018). Decorrelated Batch Normalization. CVPR.
    """
    given = float_array("whiten_forward: x", x)
    with _errors_as("whiten_forward"):
        mean, _, count = kernels.batch_moments(given, axis=axis)
    if count < 2 or not given.size:
        raise _error("x", "have more than one value per channel", f"shape {given.shape}")
    num_groups = _divisor(num_groups, len(mean))
    size = len(mean) // num_groups
    eps = _number("eps", eps, 0, np.inf, "finite and >= 0")
    statistics = _running_statistics(running_mean, running_matrix, (num_groups, size, size))
    momentum = _number("momentum", momentum, 0, 1, "between 0 and 1")

    axis = index(axis)
    moved = np.moveaxis(given, axis, 0)
    values = moved.reshape(num_groups, size, count).astype(np.float64)
    # In units near the largest value squares neither overflow nor vanish; powers of two change no digit.
    exponents = _exponents(np.maximum(np.abs(values).max((1, 2), keepdims=True), np.sqrt(eps)))
    values = np.ldexp(values, -exponents) - np.ldexp(mean.reshape(num_groups, size, 1), -exponents)
    covariance = values @ values.mT / count + np.ldexp(eps, -2 * exponents) * np.eye(size)
    finite = np.isfinite(covariance.sum((1, 2)))
    eigenvalues, vectors = np.linalg.eigh(np.where(finite[:, None, None], covariance, np.eye(size)))
    smallest = np.ldexp(eps, -2 * exponents[:, 0])
    eigenvalues = np.where(finite[:, None], np.maximum(eigenvalues, smallest), np.nan)
    matrix_of_units = _inverse_root(eigenvalues, vectors)
    matrix = np.ldexp(matrix_of_units, -exponents)
    for running, batch in zip(statistics, (mean, matrix), strict=False):
        running[...] = (1 - momentum) * running.astype(np.float64) + momentum * batch
    y = _moved_back(matrix_of_units @ values, moved.shape, axis, given.dtype)
    saved = WhitenSaved(values, eigenvalues, vectors, exponents, moved.shape, axis, given.dtype)
    return WhitenForwardResult(y, mean, matrix, saved)


def whiten_backward(dy: ArrayLike, saved: WhitenSaved) -> Array:
    """Return the gradient of whitening with respect to its input.

    With G the gradient of a group, V and L its eigenvectors and eigenvalues, sym(A) = (A + A') / 2::

        dS  = V (K * (V' sym(G Xc') V)) V';  K_ij = -1 / (a b (a + b)), a = sqrt(L_i), b = sqrt(L_j)
        dXc = W G + 2 / m dS Xc;  dX = dXc - mean of dXc

    which is finite where eigenvalues are equal, too.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to y, of its shape and dtype.
    saved : WhitenSaved
        What `whiten_forward` returned.

    Returns
    -------
    numpy.ndarray
        Gradient with respect to x, of its shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If `saved` is something else, or `dy` does not fit it.

    References
    ----------
    Huang, L., Yang, D., Lang, B., and Deng, J. (2018). Decorrelated Batch Normalization. CVPR.
    """
    if not isinstance(saved, WhitenSaved):
        raise _error(
            "saved", "be what whiten_forward saved", _checks.shown(saved), TypeError, "whiten_backward"
        )
    centred, eigenvalues, vectors, exponents, shape, axis, dtype = saved
    given = float_array("whiten_backward: dy", dy)
    if given.dtype != dtype:
        raise _error("dy", f"have dtype {dtype}", f"dtype {given.dtype}", TypeError, "whiten_backward")
    expected = list(shape[1:])
    expected.insert(axis % len(shape), shape[0])
    if given.shape != tuple(expected):
        raise _error("dy", f"have shape {tuple(expected)}", given.shape, function="whiten_backward")
    g = np.moveaxis(given, axis, 0).reshape(centred.shape).astype(np.float64)
    root = np.sqrt(eigenvalues)
    a, b = root[:, :, None], root[:, None, :]
    product = g @ centred.mT
    in_eigenbasis = vectors.mT @ (product + product.mT) @ vectors / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        dinverse_root = np.where(a * b == 0, 0.0, -in_eigenbasis / (a * b * (a + b)))
    dcovariance = vectors @ dinverse_root @ vectors.mT
    dvalues = _inverse_root(eigenvalues, vectors) @ g
    dvalues += (2 / centred.shape[2]) * dcovariance @ centred
    dvalues -= dvalues.mean(2, keepdims=True)
    return _moved_back(np.ldexp(dvalues, -exponents), shape, axis, dtype)


def _exponents(sizes: Array) -> Array:
    """The least n with sizes < 2**n, as far as 2**n and 2**-n are normal; 0 where a size is not finite."""
    exponents: Array = np.clip(np.frexp(np.where(np.isfinite(sizes), sizes, 1.0))[1], -1000, 1000)
    return exponents


def _inverse_root(eigenvalues: Array, vectors: Array) -> Array:
    """V L^(-1/2) V', in which a direction without variance counts 0, as the rstd of a constant."""
    roots = np.sqrt(eigenvalues)[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        matrix: Array = np.where(roots == 0, 0.0, vectors / roots) @ vectors.mT
    return matrix


def _moved_back(values: Array, shape: tuple[int, ...], axis: int, dtype: np.dtype[Any]) -> Array:
    """Groups as an array of x's axes and dtype, contiguous."""
    return np.ascontiguousarray(np.moveaxis(values.reshape(shape), 0, axis), dtype)


# ---- arguments ----


def _error(
    argument: str,
    rule: str,
    got: object,
    kind: type[Exception] = ValueError,
    function: str = "whiten_forward",
) -> Exception:
    return kind(f"{function}: {argument} must {rule}, got {got}")


@contextmanager
def _errors_as(function: str) -> Iterator[None]:
    """Let what a kernel finds wrong be an error of the function that called it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message = str(error).partition(": ")[2]
        raise type(error)(f"{function}: {message}") from None


def _divisor(num_groups: int, channels: int) -> int:
    if not isinstance(num_groups, int | np.integer) or isinstance(num_groups, bool):
        raise _error("num_groups", "be an int >= 1", _checks.shown(num_groups), TypeError)
    if not 1 <= num_groups < 2**63:
        raise _error("num_groups", "be an int >= 1", num_groups)
    if channels % num_groups:
        raise _error("num_groups", f"divide the {channels} channels", num_groups)
    return int(num_groups)


def _number(name: str, value: float, low: float, high: float, rule: str) -> float:
    try:
        return _checks.number(f"whiten_forward: {name}", value, low, high)
    except ValueError:
        raise _error(name, f"be {rule}", _checks.shown(value)) from None
    except MemoryError:
        raise
    except Exception as error:
        raise _error(name, "be a number", _checks.shown(value), TypeError) from error


def _overlaps_itself(array: Array) -> bool:
    if array.flags.forc:
        return False
    steps = [np.arange(extent) * step for extent, step in zip(array.shape, array.strides, strict=True)]
    addresses = np.sort(functools.reduce(np.add.outer, steps), axis=None)
    return bool(np.any(np.diff(addresses) < array.itemsize))


def _running_statistics(
    mean: Array | None, matrix: Array | None, shape: tuple[int, int, int]
) -> tuple[Array, ...]:
    """The running statistics, both or none."""
    if mean is None and matrix is None:
        return ()
    shapes = {"running_mean": (shape[0] * shape[1],), "running_matrix": shape}
    arrays = {"running_mean": mean, "running_matrix": matrix}
    for name, array in arrays.items():
        if array is None:
            other = next(iter(arrays.keys() - {name}))
            raise _error(name, f"be given together with {other}", None)
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray | np.matrix):
            kind = f"{type(array).__module__}.{type(array).__qualname__}".removeprefix("builtins.")
            raise _error(name, "be a numpy.ndarray", kind, TypeError)
        if array.dtype.name not in DTYPES:
            rule = "be a float32, float64, float16 or bfloat16 array"
            raise _error(name, rule, f"dtype {array.dtype}", TypeError)
        if array.shape != shapes[name]:
            raise _error(name, f"have shape {shapes[name]}", array.shape)
        if not array.flags.writeable:
            raise _error(name, "be writeable", "a read-only array")
        if _overlaps_itself(array):
            raise _error(name, "have an address of its own for every element", f"strides {array.strides}")
    if mean is not None and matrix is not None and np.shares_memory(mean, matrix):
        raise _error("running_matrix", "not overlap running_mean", "overlapping arrays")
    return tuple(array for array in arrays.values() if array is not None)
