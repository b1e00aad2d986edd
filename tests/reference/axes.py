"""Arrays in float64, and axes of any sign and number."""

import numpy as np


def wide(x):
    """x in float64"""
    return np.asarray(x, dtype=np.float64)


def as_axes(axis, ndim):
    """The axes as a sorted tuple of non-negative ints."""
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


def others(axis, ndim):
    """Every axis that is not in `axis`."""
    return tuple(a for a in range(ndim) if a not in as_axes(axis, ndim))


def along(values, axis, ndim):
    """Values of the shape of `axis`, int or tuple, as an array that broadcasts against ndim axes; or None."""
    return None if values is None else np.expand_dims(wide(values), others(axis, ndim))
