"""Dtypes of parameters; and of arithmetic in NumPy, which is float32 or wider for every dtype of storage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from trimtab._checks import shown
from trimtab._inputs import DTYPES
from trimtab._typing import Array

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def as_float_dtype(dtype: DTypeLike, owner: str = "") -> np.dtype[Any]:
    """Return `dtype` as a numpy dtype, or raise a TypeError unless it is one of those of the kernels."""
    name = f"{owner}: dtype" if owner else "dtype"
    try:
        result = np.dtype(dtype)
    except MemoryError:
        raise
    except Exception as error:  # whatever the attributes of an arbitrary object raise
        raise TypeError(f"{name} must be a floating type, got {shown(dtype)}") from error
    if dtype is None or result.name not in DTYPES:
        got = "None" if dtype is None else result
        raise TypeError(
            f"{name} must be a floating type, got {got} (not float32, float64, float16 or bfloat16)"
        )
    return result


def compute_dtype(*arrays: Array) -> np.dtype[Any]:
    """Return the dtype to compute in: float64 if an array has it, else float32."""
    return FLOAT64 if any(array.dtype == FLOAT64 for array in arrays) else FLOAT32


def at_least_as_wide(parameter: Array, x: Array) -> Array:
    """Return a parameter as the kernels take it beside x: of x's dtype, or a wider one."""
    if parameter.dtype == x.dtype or parameter.itemsize > x.itemsize:
        return parameter
    return parameter.astype(compute_dtype(parameter, x))


def sum_into(out: Array, array: Array, axis: int | tuple[int, ...]) -> None:
    """Write the sum over the axes, rounded once to the dtype of `out`."""
    if out.dtype == array.dtype and out.itemsize > 2:
        np.add.reduce(array, axis=axis, out=out)  # for few values in half the time of np.sum
    else:
        out[...] = np.sum(array, axis=axis, dtype=compute_dtype(out, array))
