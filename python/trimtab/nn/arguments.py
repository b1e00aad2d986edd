"""Arguments of ``forward`` and ``backward``: read as arrays, their shapes checked, errors name the layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab._inputs import FLOATS, float_array
from trimtab._typing import Array

if TYPE_CHECKING:
    from trimtab.nn.module import Module


def as_input(module: Module, x: ArrayLike) -> Array:
    """Return x as an array of one of the four dtypes; raise an error that names the layer otherwise."""
    if type(x) is np.ndarray and x.dtype.char in FLOATS:
        return x
    return float_array(f"{module!r}: x", x)


def as_gradient(
    module: Module, dy: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None
) -> Array:
    """Return dy as an array of that shape, and dtype if one is given; raise an error that names the layer."""
    if type(dy) is not np.ndarray or dy.dtype.char not in FLOATS:
        dy = float_array(f"{module!r}: dy", dy)
    if dy.shape != shape:
        require_shape(module, "dy", dy, shape)
    return dy if dtype is None or dy.dtype == dtype else dy.astype(dtype)


def require_shape(module: Module, argument: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise a ValueError that names the layer and both shapes unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(f"{module!r}: {argument} must have shape {shape}, got {array.shape}")


def require_channels(module: Module, x: ArrayLike, axis: int, channels: int) -> Array:
    """Return x as an array; raise an error that names the layer unless `axis` has so many channels."""
    x = as_input(module, x)
    shape = x.shape
    if not (-len(shape) <= axis < len(shape) and shape[axis] == channels):
        raise ValueError(f"{module!r}: x must have {channels} channels, got shape {shape}")
    return x


def require_axes(module: Module, x: ArrayLike, axes: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Return x as an array; raise an error that names the layer unless its axes, in order, have `shape`."""
    x = as_input(module, x)
    given, rank = x.shape, len(x.shape)
    if axes[-1] == -1 and axes[0] == -len(axes):  # the last ones
        if given[-len(shape) :] != shape:
            raise ValueError(f"{module!r}: x must have last axes {shape}, got shape {given}")
        return x
    places = [axis % rank if -rank <= axis < rank else -1 for axis in axes]
    if -1 in places or places != sorted({*places}) or tuple(given[place] for place in places) != shape:
        raise ValueError(f"{module!r}: x must have sizes {shape} in the axes {axes}, in order, got {given}")
    return x


def as_samples(model: Module, samples: Array) -> Array:
    """Return samples as a model takes them: in the dtype of its parameters, or integers if it takes ids."""
    if samples.dtype.kind in "iu" and any(module.takes_ids for _, module in model.modules()):
        return samples
    parameters = model.parameters()
    dtype = parameters[0].value.dtype if parameters else np.result_type(samples, np.float32)
    return samples.astype(dtype, copy=False)
