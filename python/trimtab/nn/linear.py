"""`Linear`: an affine map of the last axis."""

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

# Multiply-adds of a product. Above the first number OpenBLAS uses its threads, which compete for the cores
# with those of the kernels before and after; only above the second is it faster all the same.
BLAS_USES_THREADS, BLAS_IS_FASTER = 4 * 65_536, 4_000_000
ONE_BY_ONE, NO_PADDING = (1, 1), (0, 0)


def _product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Return a @ b + bias in the dtype of a.

    Products of medium size, and of 16-bit arrays, which BLAS lacks, are computed as the convolution of
    len(a) images of one pixel.
    """
    medium = BLAS_USES_THREADS < a.size * b.shape[1] <= BLAS_IS_FASTER
    if a.itemsize == 2 or (medium and a.dtype == b.dtype):
        weight = at_least_as_wide(b, a)[None, None, None]
        shift = None if bias is None else at_least_as_wide(bias, a)
        images = kernels.convolve(
            a[:, None, None], weight, shift, NO_PADDING, ONE_BY_ONE, ONE_BY_ONE, ONE_BY_ONE
        )
        return images.reshape(len(a), b.shape[1])
    product: Array = a @ b
    if bias is not None:
        product += bias
    return product if product.dtype == a.dtype else product.astype(a.dtype)


def _write_outer_product(dy: Array, x: Array, out: Array) -> None:
    """Write dy.T @ x, which is computed in float32 for 16-bit arrays."""
    if dy.size * x.shape[1] > BLAS_IS_FASTER and dy.dtype == x.dtype == out.dtype and dy.itemsize > 2:
        np.matmul(dy.T, x, out=out)  # a copy of a large weight takes as long as a part of the product
    else:
        out[...] = _outer_product(dy, x)


def _outer_product(dy: Array, x: Array) -> Array:
    """Return dy.T @ x; for 16-bit arrays in float32."""
    if dy.itemsize > 2:
        return _product(dy.T, x)
    sums = kernels.convolve_weights(
        dy[:, None, None], x[:, None, None], 1, ONE_BY_ONE, NO_PADDING, ONE_BY_ONE
    )
    return sums.reshape(x.shape[1], dy.shape[1]).T


class Linear(Module):
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    The bias starts at 0 and is not decayed. For 16-bit arrays sums are taken in float32 and rounded once.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the last axis of x and y; ``weight`` is (outputs, inputs), ``bias`` is (outputs,).
    bias : bool
        Whether there is a bias. Before a batch norm it is redundant.
    init : str
        Distribution of the initial weight: "he", "xavier", "orthogonal" or "normal", see the table of
        `trimtab.nn.init`.
    gain : float, optional
        Its scale. For "he" the standard deviation is ``gain / sqrt(inputs)``; the default of sqrt(2) keeps
        the scale of activations through layers of ReLU.
    rng : int, numpy.random.Generator or None
        Source of the initial weight.
    dtype : dtype_like
        float32, float64, float16 or bfloat16.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> layer = nn.Linear(4, 2, rng=0)
    >>> layer(np.ones((3, 4), np.float32)).shape
    (3, 2)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        init: Init = "he",
        gain: float | None = None,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        inputs, outputs = size("Linear: inputs", inputs), size("Linear: outputs", outputs)
        has_bias, dtype = _checks.flag("Linear: bias", bias), as_float_dtype(dtype, "Linear")
        self.inputs, self.outputs = inputs, outputs
        self.weight = Parameter(initial_weight("Linear", (outputs, inputs), init, gain, rng, dtype))
        self.bias = Parameter(np.zeros(outputs, dtype), decay=False) if has_bias else None

    def forward(self, x: Array) -> Array:
        """Return y of shape (..., outputs) for x of shape (..., inputs), in the dtype of x."""
        x = as_input(self, x)
        shape = x.shape
        if shape[-1:] != (self.inputs,):
            wanted = (*shape[:-1], self.inputs)
            raise ValueError(f"{self!r}: x must have shape {wanted}, got {shape}")
        self.saved = x
        rows = x if len(shape) == 2 else x.reshape(-1, self.inputs)
        bias = None if self.bias is None else self.bias.value
        y = _product(rows, self.weight.value.T, bias)
        return y if len(shape) == 2 else y.reshape(*shape[:-1], self.outputs)

    def backward(self, dy: Array) -> Array | None:
        """Return ``dx = dy @ weight``; ``dweight = dy.T @ x`` and ``dbias = sum(dy)`` over all rows."""
        x = self.saved
        dy = as_gradient(self, dy, (*x.shape[:-1], self.outputs), x.dtype)
        rows, inputs = dy.reshape(-1, self.outputs), x.reshape(-1, self.inputs)
        _write_outer_product(rows, inputs, self.weight.grad)
        if self.bias is not None:
            sum_into(self.bias.grad, rows, 0)
        return _product(rows, self.weight.value).reshape(x.shape) if self.wants_dx else None

    def __repr__(self) -> str:
        return f"Linear({self.inputs}, {self.outputs})"
