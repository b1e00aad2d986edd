"""`Windows`: kernel size, stride and padding of a convolution or pooling, and its positions on images."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array
from trimtab.nn.options import LARGEST_SIZE, is_sequence, sizes

Size: TypeAlias = int | Sequence[int]
Padding: TypeAlias = Size | Literal["same"]


class Grid(NamedTuple):
    """The positions of a kernel on images of one size, as (height, width)."""

    image: tuple[int, int]
    before: tuple[int, int]  # padding above and to the left
    output: tuple[int, int]  # number of positions


class Windows:
    """Kernels of one size and stride on images (N, C, H, W), or (N, H, W, C) with ``axis=-1``.

    Parameters
    ----------
    layer : str
        The class of the layer they belong to, for error messages.
    kernel_size, stride : int or sequence of two int
        Height and width; at least 1.
    padding : int, sequence of two int, or "same"
        Rows and columns that are added on each side. "same" adds the fewest for which the output has the size
        of the image divided by the stride, rounded up; the last one of an odd number comes after the image.
    axis : {1, -1}
        The channel axis.
    """

    def __init__(self, layer: str, kernel_size: Size, stride: Size, padding: Padding, axis: int) -> None:
        self.kernel = _pair(layer, "kernel_size", kernel_size, 1)
        self.stride = _pair(layer, "stride", stride, 1)
        same = isinstance(padding, str) and padding == "same"
        self.padding = None if same else _pair(layer, "padding", padding, 0, "'same', or ")
        self.axis = _checks.whole(f"{layer}: axis", axis)
        if self.axis not in (1, -1):
            raise ValueError(f"{layer}: axis must be 1 or -1, got {self.axis}")

    def grid(self, layer: object, shape: tuple[int, ...], channels: int | None = None) -> Grid:
        """Return the positions on x of `shape`; raise a ValueError that names the layer if there are none."""
        expected = "C" if channels is None else channels
        layout = f"(N, {expected}, H, W)" if self.axis == 1 else f"(N, H, W, {expected})"
        if len(shape) != 4 or (channels is not None and shape[self.axis] != channels):
            raise ValueError(f"{layer!r}: x must have shape {layout}, got {shape}")
        image = shape[2:] if self.axis == 1 else shape[1:3]
        extents = [self._along(axis, length) for axis, length in enumerate(image)]
        before, output = (tuple(pair) for pair in zip(*extents, strict=True))
        if min(output) < 1:
            raise ValueError(
                f"{layer!r}: x must be at least as large as the kernel {self.kernel}, got shape {shape}"
            )
        return Grid(image, before, output)

    def _along(self, axis: int, length: int) -> tuple[int, int]:
        """The padding before, and the number of positions, along one axis."""
        kernel, stride = self.kernel[axis], self.stride[axis]
        if self.padding is None:
            output = -(-length // stride)
            padded = max(length, (output - 1) * stride + kernel)
            return (padded - length) // 2, output
        padded = length + 2 * self.padding[axis]
        return self.padding[axis], (padded - kernel) // stride + 1

    def shape(self, samples: int, channels: int, size: tuple[int, int]) -> tuple[int, ...]:
        """The shape of images of that size, in the layout of the layer."""
        return (samples, channels, *size) if self.axis == 1 else (samples, *size, channels)

    def channels_last(self, x: Array) -> Array:
        """Contiguous images (N, H, W, C) from images in the layout of the layer."""
        if self.axis == -1:
            return np.ascontiguousarray(x)
        samples, channels, *image = x.shape
        return kernels.transpose(x.reshape(samples, channels, prod(image))).reshape(samples, *image, channels)

    def in_layout(self, images: Array) -> Array:
        """Contiguous images in the layout of the layer from contiguous images (N, H, W, C)."""
        if self.axis == -1:
            return images
        samples, *image, channels = images.shape
        return kernels.transpose(images.reshape(samples, prod(image), channels)).reshape(
            samples, channels, *image
        )


def _pair(layer: str, name: str, value: Padding, low: int, others: str = "") -> tuple[int, int]:
    rule = f"{layer}: {name} must be {others}one or two ints >= {low}"
    try:
        pair = sizes(name, value, _checks.whole, low)
    except (TypeError, ValueError):
        raise ValueError(f"{rule}, got {_checks.shown(value)}") from None
    if not is_sequence(value):
        pair *= 2
    if len(pair) != 2 or max(pair) > LARGEST_SIZE:
        raise ValueError(f"{rule}, got {_checks.shown(value)}")
    return pair
