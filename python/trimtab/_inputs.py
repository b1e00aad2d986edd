"""Readers of what callers pass to the Python functions: arrays, generators and paths.

The message of an error begins with `name`, the function and the argument, such as ``"fit: x"``. Numbers,
flags and names are checked by `trimtab._checks`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import trimtab._core as kernels
from trimtab._checks import shown
from trimtab._typing import Array

DTYPES = frozenset({"float32", "float64", "float16", "bfloat16"})
FLOATS = "efd"  # the codes of float16, float32 and float64: NumPy's own types among the four
SEEDS = (
    int,
    float,
    np.integer,
    type(None),
    np.random.Generator,
    np.random.BitGenerator,
    np.random.SeedSequence,
)


def as_array(name: str, value: Any) -> Array:
    """Return an array-like as a plain array, without a copy if it is one; a memory map is not loaded.

    Parameters
    ----------
    name : str
    value : array_like
        Anything `numpy.asarray` takes, and objects that have only ``__dlpack__``.

    Raises
    ------
    TypeError
        If the value is or contains a masked array or a `numpy.matrix`: the mask would be lost, and the
        operators of a matrix have other meanings.
    ValueError
        If its rows differ in length.
    """
    if type(value) is np.ndarray:
        return value
    try:
        _refuse_masked_and_matrix(name, value)
    except RecursionError:
        raise ValueError(f"{name} must be an array, got lists that are nested too deeply") from None
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        try:
            return np.from_dlpack(value)
        except (TypeError, ValueError, BufferError, RuntimeError, AttributeError) as error:
            raise TypeError(f"{name} must be an array, got a {type(value).__name__}: {error}") from error
    try:
        array = np.asanyarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must have samples of one shape, got {error}") from error
    _refuse_masked_and_matrix(name, array)
    return np.asarray(array)


def _refuse_masked_and_matrix(name: str, value: Any) -> None:
    """Raise a TypeError for a masked array or matrix, also inside lists and tuples."""
    refused = (np.ma.MaskedArray, np.matrix)
    if isinstance(value, refused):
        advice = ".filled(...)" if isinstance(value, np.ma.MaskedArray) else "numpy.asarray(...)"
        raise TypeError(f"{name} must be a plain array, got a {type(value).__name__}: use {advice}")
    if isinstance(value, list | tuple):
        kinds = set(map(type, value))
        if any(issubclass(kind, (*refused, list, tuple)) for kind in kinds):
            for item in value:
                _refuse_masked_and_matrix(name, item)


def real_array(name: str, value: Any) -> Array:
    """Return `as_array` of a value; raise a TypeError unless its elements are real numbers or bools."""
    array = as_array(name, value)
    if not is_real(array.dtype):
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether values of a dtype are real numbers or bools; bfloat16 is real, too."""
    return dtype.kind in "fiub" or np.can_cast(dtype, np.float64, "same_kind")


def float_array(name: str, value: Any) -> Array:
    """Return an array of one of the four dtypes, read as the compiled functions read their arguments.

    Parameters
    ----------
    name : str
    value : array_like
        An array, an object with ``__dlpack__``, or a list of floats; it is read once.

    Raises
    ------
    TypeError, ValueError
        As the compiled functions. An error that reading the value raises itself is passed on.
    """
    if type(value) is np.ndarray and value.dtype.char in FLOATS:
        return value
    try:
        return kernels.as_array(value)
    except (TypeError, ValueError) as error:
        kernels_name = "as_array: x"
        if not str(error).startswith(kernels_name):
            raise
        raise type(error)(name + str(error).removeprefix(kernels_name)) from error.__cause__


def copy_into(target: Array, name: str, value: Any) -> None:
    """Copy real numbers of the same shape into an array; after an error the array is unchanged."""
    array = as_array(name, value)
    require_castable(name, array, target)
    if array.shape != target.shape:
        raise ValueError(f"{name} must have shape {target.shape}, got {array.shape}")
    target[...] = array.astype(target.dtype, copy=False)


def require_castable(name: str, array: Array, target: Array) -> None:
    """Raise an error unless real values are converted to floats, or integers to integers that hold them."""
    if target.dtype.kind in "iu" and array.dtype.kind in "iu":
        limits = np.iinfo(target.dtype)
        for value in array.min(initial=0), array.max(initial=0):
            if not limits.min <= int(value) <= limits.max:
                raise ValueError(f"{name} must be between {limits.min} and {limits.max}, got {value}")
        return
    kind = np.dtype(np.float64) if target.dtype.kind not in "iub" else target.dtype
    if not np.can_cast(array.dtype, kind, "same_kind"):
        raise TypeError(f"{name} must be a real array castable to {target.dtype}, got dtype {array.dtype}")


def require_state(state: Any) -> None:
    """Raise a TypeError unless the `state` of a ``load_state_dict`` is a mapping."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: state must be a mapping of arrays, got {type(state).__name__}")


def as_generator(name: str, rng: Any) -> np.random.Generator:
    """Return a generator: the given one itself, one that shares the state of a RandomState, or a new one.

    Parameters
    ----------
    name : str
    rng : int, numpy.random.Generator, numpy.random.RandomState or None
        An int is a seed, as is a list of ints; None draws a seed from the system. NumPy's bit generators and
        seed sequences are taken, too.
    """
    if isinstance(rng, np.random.RandomState):
        return np.random.Generator(rng._bit_generator)
    rule = f"{name} must be a seed, a generator or None"
    seeds = rng if isinstance(rng, list | tuple) else [rng]
    # NumPy itself may crash on other objects, such as a matrix
    if not all(isinstance(item, SEEDS) for item in seeds):
        raise TypeError(f"{rule}, got {shown(rng)}")
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{rule}, got {shown(rng)}") from error


def path_text(name: str, path: Any) -> str:
    """Return a path as a str; raise a TypeError otherwise."""
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise TypeError(f"{name} must be a path, got {shown(path)}") from error


def require_writable(name: str, path: str | os.PathLike[str]) -> None:
    """Raise a ValueError unless a file can be written at the path."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"{name} must be in an existing folder, got {os.fspath(path)!r}")
    if path.is_dir():
        raise ValueError(f"{name} must be a file, got the folder {os.fspath(path)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{name} must be writable, got {os.fspath(path)!r}")
