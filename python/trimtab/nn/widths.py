"""Dtypes of layers whose arithmetic is NumPy's: float32 or wider, whatever the storage."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab._typing import Array

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def working(*arrays: Array) -> np.dtype[Any]:
    """The dtype to compute in: float64 where an array is, else float32."""
    return DOUBLE if any(array.dtype == DOUBLE for array in arrays) else SINGLE


def no_narrower(parameter: Array, x: Array) -> Array:
    """A parameter as the kernels take it beside x: of its dtype or of one that is wider."""
    if parameter.dtype == x.dtype or parameter.itemsize > x.itemsize:
        return parameter
    return parameter.astype(working(parameter, x))


def sum_into(out: Array, array: Array, axis: int | tuple[int, ...]) -> None:
    """Write the sum over the axes, rounded once to the dtype of `out`."""
    if out.dtype == array.dtype and out.itemsize > 2:
        np.add.reduce(array, axis=axis, out=out)  # np.sum, which takes twice the time for few values
    else:
        out[...] = np.sum(array, axis=axis, dtype=working(out, array))
