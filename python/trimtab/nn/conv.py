"""Convolution of images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from trimtab._typing import Array, Seed
from trimtab.nn.init import Init, initial_weight
from trimtab.nn.module import Module, Parameter, as_float_dtype, require_shape
from trimtab.nn.windows import Grid, Padding, Size, Windows

# Of the columns that are made at a time: they are still in the cache when they are multiplied.
COLUMN_BYTES = 2 << 20

# How windows (samples, groups, channels, height, width, kernel height, kernel width) lie in memory, by
# channel axis: what is contiguous in the image stays so, and one reshape makes matrices of them.
_ORDERS = {1: (0, 1, 2, 5, 6, 3, 4), -1: (1, 0, 3, 4, 5, 6, 2)}


class Conv2d(Module):
    """Convolution of images (N, C, H, W), or (N, H, W, C) with ``axis=-1`` (without the flip: correlation).

    ``y[n, o, i, j] = bias[o] + sum of weight[o, c, a, b] * x[n, c, i * stride + a, j * stride + b]`` over
    c, a and b, on the padded x. The windows under the kernel become the columns of a matrix, which the weight
    multiplies. The bias starts at 0 and is not decayed.

    Parameters
    ----------
    inputs, outputs : int
        Channels of x and y.
    kernel_size, stride : int or tuple of two int
        Height and width.
    padding : int, tuple of two int, or "same"
        Zeros on each side; "same" makes the output of the size of x divided by the stride, rounded up.
    groups : int
        A divisor of `inputs` and `outputs`: each group of outputs sees its own group of inputs only. The
        weight is (outputs, inputs / groups, height, width) in either layout.
    bias : bool
        Whether there is a bias. Before a batch norm it is redundant.
    axis : {1, -1}
        The channel axis.
    init, gain
        How the weight starts, as for `Linear`: see `trimtab.nn.init`.
    rng : int, numpy.random.Generator or None
        What the initial weight is drawn from.
    dtype : dtype_like
        A floating type.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        *,
        groups: int = 1,
        bias: bool = True,
        axis: int = 1,
        init: Init = "he",
        gain: float | None = None,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if inputs < 1 or outputs < 1:
            raise ValueError(f"Conv2d: inputs and outputs must be positive, got {inputs} and {outputs}")
        if groups < 1 or inputs % groups or outputs % groups:
            raise ValueError(f"Conv2d: groups must divide {inputs} and {outputs} channels, got {groups}")
        dtype = as_float_dtype(dtype)
        self.inputs, self.outputs, self.groups = inputs, outputs, groups
        self.windows = Windows("Conv2d", kernel_size, stride, padding, axis)
        shape = outputs, inputs // groups, *self.windows.kernel
        self.weight = Parameter(initial_weight("Conv2d", shape, init, gain, rng, dtype))
        self.bias = Parameter(np.zeros(outputs, dtype), decay=False) if bias else None

    def forward(self, x: Array) -> Array:
        """Return y of shape (N, outputs, height, width), or channels last."""
        grid = self.windows.grid(self, x.shape, self.inputs)
        padded = self.windows.pad(x, grid)
        self.saved = padded, grid
        weight = self._matrix(self.weight.value)
        y = np.empty(self.windows.shape(len(x), self.outputs, grid.output), np.result_type(x, weight))
        for part, columns in self._columns(padded, grid):
            np.matmul(weight, self._flat(columns), out=self._outputs(y[part]))
        if self.bias is not None:
            self.windows.channels_first(y)[...] += self.bias.value[:, None, None]
        return y

    def backward(self, dy: Array) -> Array | None:
        """Return dx; the gradients of weight and bias are sums over samples and places."""
        padded, grid = self.saved
        require_shape(self, "dy", dy, self.windows.shape(len(padded), self.outputs, grid.output))
        dy = np.ascontiguousarray(dy)
        if self.bias is not None:
            np.sum(self.windows.channels_first(dy), axis=(0, 2, 3), out=self.bias.grad)
        weight = self._matrix(self.weight.value)
        dweight = np.zeros(weight.shape, weight.dtype)
        dpadded = self.windows.padded(padded, grid) if self.wants_dx else None
        for part, columns in self._columns(padded, grid):
            outputs, flat = self._outputs(dy[part]), self._flat(columns)
            dweight += np.matmul(outputs, flat.mT).reshape(-1, *weight.shape).sum(axis=0)
            if dpadded is not None:
                np.matmul(weight.mT, outputs, out=flat)
                self._add_columns(columns, dpadded[part], grid)
        self.weight.grad[...] = self._from_matrix(dweight)
        if dpadded is None:
            return None
        return np.moveaxis(self.windows.inside(dpadded, grid), 1, self.windows.axis)

    # For each group: weight (outputs, elements) @ columns (elements, places) = y (outputs, places), with the
    # samples before the groups (channels first) or among the places (channels last).

    def _columns(self, padded: Array, grid: Grid) -> Iterator[tuple[slice, Array]]:
        """Yield slices of the samples and copies of their windows, which all lie in the same memory."""
        windows = self.windows.views(padded)
        windows = windows.reshape(len(windows), self.groups, -1, *windows.shape[2:])
        step = max(1, COLUMN_BYTES // max(1, windows[:1].size * windows.itemsize))
        order = _ORDERS[self.windows.axis]
        memory = np.empty([windows[:step].shape[axis] for axis in order], windows.dtype)
        buffer = memory.transpose(np.argsort(order))
        for first in range(0, len(windows), step):
            part = slice(first, min(first + step, len(windows)))
            columns = buffer[: part.stop - first]
            np.copyto(columns, windows[part])
            yield part, columns

    def _add_columns(self, columns: Array, dpadded: Array, grid: Grid) -> None:
        """Add each window to the place it was copied from."""
        for offset in self.windows.offsets():
            values = columns[..., *offset]
            target = self.windows.under(dpadded, offset, grid)
            target += values.reshape(target.shape)

    def _flat(self, columns: Array) -> Array:
        """Windows as a matrix, in the same memory."""
        ordered = columns.transpose(_ORDERS[self.windows.axis])
        if self.windows.axis == 1:
            return ordered.reshape(*ordered.shape[:2], -1, ordered.shape[-2] * ordered.shape[-1])
        return ordered.reshape(self.groups, -1, int(np.prod(ordered.shape[-3:]))).mT

    def _outputs(self, y: Array) -> Array:
        """y or dy as a matrix, in the same memory."""
        if self.windows.axis == 1:
            return y.reshape(len(y), self.groups, self.outputs // self.groups, -1)
        return y.reshape(-1, self.groups, self.outputs // self.groups).transpose(1, 2, 0)

    def _matrix(self, weight: Array) -> Array:
        """The weight as a matrix, its elements in the order of windows."""
        if self.windows.axis == -1:
            weight = weight.transpose(0, 2, 3, 1)
        return weight.reshape(self.groups, self.outputs // self.groups, -1)

    def _from_matrix(self, matrix: Array) -> Array:
        """The inverse of `_matrix`."""
        outputs, inputs, height, width = self.weight.value.shape
        if self.windows.axis == 1:
            return matrix.reshape(outputs, inputs, height, width)
        return matrix.reshape(outputs, height, width, inputs).transpose(0, 3, 1, 2)

    def __repr__(self) -> str:
        kernel = "x".join(map(str, self.windows.kernel))
        return f"Conv2d({self.inputs}, {self.outputs}, {kernel}, axis={self.windows.axis})"
