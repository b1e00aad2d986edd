"""`MaxPool2d`, `AvgPool2d`: pooling of images; `Flatten`: images as rows."""

from __future__ import annotations

import math

import trimtab._core as kernels
from trimtab._inputs import real_array
from trimtab._typing import Array
from trimtab.nn.arguments import as_gradient, as_input
from trimtab.nn.module import Module
from trimtab.nn.windows import Padding, Size, Windows


class _Pool2d(Module):
    """Base of the poolings: their windows."""

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *, axis: int = 1
    ) -> None:
        name = type(self).__name__
        self.windows = Windows(name, kernel_size, kernel_size if stride is None else stride, padding, axis)

    def __repr__(self) -> str:
        kernel = "x".join(map(str, self.windows.kernel))
        return f"{type(self).__name__}({kernel}, axis={self.windows.axis})"


class MaxPool2d(_Pool2d):
    """The largest value of each window of each channel; NaN counts as the largest.

    The gradient goes to the first of equal values, row by row; that of NaN is lost.

    Parameters
    ----------
    kernel_size : int or sequence of two int
        Height and width of a window.
    stride : int or sequence of two int, optional
        By default the kernel size: windows are adjacent.
    padding : int, sequence of two int, or "same"
        Rows and columns on each side that windows may cover; they are never the largest value.
    axis : {1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.MaxPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    def forward(self, x: Array) -> Array:
        """Return y of shape (N, C, height, width), or channels last."""
        x = as_input(self, x)
        grid = self.windows.grid(self, x.shape)
        x = self.windows.channels_last(x)
        y = kernels.max_pool(x, self.windows.kernel, grid.before, self.windows.stride, grid.output)
        self.saved = x, y, grid
        return self.windows.in_layout(y)

    def backward(self, dy: Array) -> Array:
        """Return dx: dy at the positions of the largest values, summed where windows overlap."""
        x, y, grid = self.saved
        dy = as_gradient(self, dy, self.windows.shape(len(x), x.shape[-1], grid.output))
        dy = self.windows.channels_last(dy)
        dx = kernels.max_pool_backward(dy, x, y, self.windows.kernel, grid.before, self.windows.stride)
        return self.windows.in_layout(dx)


class AvgPool2d(_Pool2d):
    """The mean of each window of each channel; padding counts as zeros.

    Parameters
    ----------
    kernel_size, stride, padding, axis
        As for `MaxPool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.AvgPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """

    def forward(self, x: Array) -> Array:
        """Return y of shape (N, C, height, width), or channels last."""
        x = as_input(self, x)
        grid = self.windows.grid(self, x.shape)
        x = self.windows.channels_last(x)
        self.saved = len(x), x.shape[-1], x.dtype, grid
        y = kernels.avg_pool(x, self.windows.kernel, grid.before, self.windows.stride, grid.output)
        return self.windows.in_layout(y)

    def backward(self, dy: Array) -> Array:
        """Return dx: the dy of each window spread evenly over it, summed where windows overlap."""
        samples, channels, dtype, grid = self.saved
        dy = as_gradient(self, dy, self.windows.shape(samples, channels, grid.output), dtype)
        dy = self.windows.channels_last(dy)
        dx = kernels.avg_pool_backward(dy, grid.image, self.windows.kernel, grid.before, self.windows.stride)
        return self.windows.in_layout(dx)


class Flatten(Module):
    """Reshapes each sample to a row: (N, ...) becomes (N, features).

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.Flatten()(np.ones((2, 3, 4, 4))).shape
    (2, 48)
    """

    def forward(self, x: Array) -> Array:
        """Return x of shape (N, features)."""
        x = real_array(f"{self!r}: x", x)
        if x.ndim == 0:
            raise ValueError(f"{self!r}: x must have an axis of samples, got shape ()")
        self.saved = x.shape
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, dy: Array) -> Array:
        """Return dy in the shape of x."""
        shape = self.saved
        return as_gradient(self, dy, (shape[0], math.prod(shape[1:]))).reshape(shape)
