"""Convolution of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array, Seed
from trimtab.nn.arguments import as_gradient, as_input
from trimtab.nn.dtypes import as_float_dtype, at_least_as_wide, sum_into
from trimtab.nn.init import Init, initial_weight
from trimtab.nn.module import Module
from trimtab.nn.options import size
from trimtab.nn.parameter import Parameter
from trimtab.nn.windows import Padding, Size, Windows


class Conv2d(Module):
    """Convolution of images (N, C, H, W), or (N, H, W, C) with ``axis=-1`` (without the flip: correlation).

    ``y[n, o, i, j] = bias[o] + sum of weight[o, c, a, b] * x[n, c, i * stride + a, j * stride + b]`` over
    c, a and b, on the padded x. It is computed with the channels last; images (N, C, H, W) are copied to that
    layout and back. The bits depend neither on the number of threads nor on the instruction set. The bias
    starts at 0 and is not decayed.

    Parameters
    ----------
    inputs, outputs : int
        Channels of x and y.
    kernel_size, stride : int or sequence of two int
        Height and width.
    padding : int, sequence of two int, or "same"
        Zeros on each side. With "same" the output has the size of x divided by the stride, rounded up.
    groups : int
        A divisor of `inputs` and `outputs`: each group of outputs depends on its own group of inputs only.
        The weight is (outputs, inputs / groups, height, width) in either layout.
    bias : bool
        Whether there is a bias. Before a batch norm it is redundant.
    axis : {1, -1}
        The channel axis.
    init, gain
        Distribution of the initial weight and its scale, as for `Linear`: see `trimtab.nn.init`.
    rng : int, numpy.random.Generator or None
        Source of the initial weight.
    dtype : dtype_like
        float32, float64, float16 or bfloat16.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> layer = nn.Conv2d(3, 8, 3, padding="same", rng=0)
    >>> layer(np.ones((2, 3, 6, 6), np.float32)).shape
    (2, 8, 6, 6)
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
        inputs, outputs = size("Conv2d: inputs", inputs), size("Conv2d: outputs", outputs)
        groups = _checks.whole("Conv2d: groups", groups)
        if groups < 1 or inputs % groups or outputs % groups:
            raise ValueError(f"Conv2d: groups must divide {inputs} and {outputs} channels, got {groups}")
        has_bias, dtype = _checks.flag("Conv2d: bias", bias), as_float_dtype(dtype, "Conv2d")
        self.inputs, self.outputs, self.groups = inputs, outputs, groups
        self.windows = Windows("Conv2d", kernel_size, stride, padding, axis)
        shape = outputs, inputs // groups, *self.windows.kernel
        self.weight = Parameter(initial_weight("Conv2d", shape, init, gain, rng, dtype))
        self.bias = Parameter(np.zeros(outputs, dtype), decay=False) if has_bias else None

    def forward(self, x: Array) -> Array:
        """Return y of shape (N, outputs, height, width), or channels last."""
        x = as_input(self, x)
        grid = self.windows.grid(self, x.shape, self.inputs)
        x = self.windows.channels_last(x)
        self.saved = x, grid
        weight = self._grouped(at_least_as_wide(self.weight.value, x)).transpose(0, 3, 4, 2, 1)
        bias = None if self.bias is None else at_least_as_wide(self.bias.value, x)
        y = kernels.convolve(x, weight, bias, grid.before, self.windows.stride, (1, 1), grid.output)
        return self.windows.in_layout(y)

    def backward(self, dy: Array) -> Array | None:
        """Return dx; the gradients of weight and bias are sums over samples and positions."""
        x, grid = self.saved
        dy = as_gradient(self, dy, self.windows.shape(len(x), self.outputs, grid.output), x.dtype)
        dy = self.windows.channels_last(dy)
        if self.bias is not None:
            sum_into(self.bias.grad, dy, (0, 1, 2))
        dweight = kernels.convolve_weights(
            dy, x, self.groups, self.windows.kernel, grid.before, self.windows.stride
        )
        self._grouped(self.weight.grad)[...] = dweight.transpose(0, 4, 3, 1, 2)
        if not self.wants_dx:
            return None
        # dx is a convolution, with the flipped kernel, of dy dilated by the stride
        weight = self._grouped(at_least_as_wide(self.weight.value, dy))[..., ::-1, ::-1]
        rows, columns = (
            size - 1 - before for size, before in zip(self.windows.kernel, grid.before, strict=True)
        )
        weight = weight.transpose(0, 3, 4, 1, 2)
        dx = kernels.convolve(dy, weight, None, (rows, columns), (1, 1), self.windows.stride, grid.image)
        return self.windows.in_layout(dx)

    def _grouped(self, weight: Array) -> Array:
        """A view (groups, outputs, inputs, height, width)."""
        return weight.reshape(self.groups, -1, *weight.shape[1:])

    def __repr__(self) -> str:
        kernel = "x".join(map(str, self.windows.kernel))
        return f"Conv2d({self.inputs}, {self.outputs}, {kernel}, axis={self.windows.axis})"
