"""Dtypes of images: which are accepted, the wider ones for arithmetic, and rounding to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab._typing import Array


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is that of integers or floats."""
    return dtype.kind in "iuf" or dtype.name == "bfloat16"


def as_wide(images: Array) -> Array:
    """Return the images in float32 or wider; integers of 32 bits and more in float64."""
    return images.astype(np.result_type(images.dtype, np.float32), copy=False)


def as_dtype(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return values rounded to a dtype; values beyond the range of an integer dtype become its ends."""
    if values.dtype == dtype:
        return values
    if dtype.kind not in "iu":
        return values.astype(dtype)
    ends = np.iinfo(dtype)
    rounded = np.rint(values)
    # float(ends.max) is one more than the maximum of a 64-bit integer, so it cannot be clipped to
    above = rounded >= float(ends.max)
    result = np.where(above, 0, np.maximum(rounded, float(ends.min))).astype(dtype)
    result[above] = ends.max
    return result
