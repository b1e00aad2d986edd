"""The affine layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array, Seed
from trimtab.nn.init import Init, initial_weight
from trimtab.nn.module import Module, Parameter, as_float_dtype, as_gradient, as_input
from trimtab.nn.options import LARGEST_SIZE
from trimtab.nn.widths import no_narrower, sum_into

# Multiply-adds of a product that OpenBLAS shares among threads although there is little to do: awake, they
# compete for the cores with those of the kernels before and after it.
FEWEST_SHARED, FEW = 4 * 65_536, 4_000_000
ONCE, NONE = (1, 1), (0, 0)


def _product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Return a @ b + bias in the dtype of a.

    Few multiply-adds, and 16 bits, which BLAS lacks, are left to a kernel of the library: this is the
    convolution of len(a) images of one pixel.
    """
    if a.itemsize == 2 or (FEWEST_SHARED < a.size * b.shape[1] <= FEW and a.dtype == b.dtype):
        weight = no_narrower(b, a)[None, None, None]
        shift = None if bias is None else no_narrower(bias, a)
        images = kernels.convolve(a[:, None, None], weight, shift, NONE, ONCE, ONCE, ONCE)
        return images.reshape(len(a), b.shape[1])
    product: Array = a @ b
    if bias is not None:
        product += bias
    return product if product.dtype == a.dtype else product.astype(a.dtype)


def _outer_product(dy: Array, x: Array) -> Array:
    """Return dy.T @ x, of 16 bits in float32."""
    if dy.itemsize > 2:
        return _product(dy.T, x)
    sums = kernels.convolve_weights(dy[:, None, None], x[:, None, None], 1, ONCE, NONE, ONCE)
    return sums.reshape(x.shape[1], dy.shape[1]).T


class Linear(Module):
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    The bias starts at 0 and is not decayed. Of 16-bit arrays the sums are taken in float32 and rounded once.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the last axis of x and y; ``weight`` is (outputs, inputs), ``bias`` is (outputs,).
    bias : bool
        Whether there is a bias. Before a batch norm it is redundant.
    init : str
        How the weight starts: "he", "xavier", "orthogonal" or "normal", as the table of `trimtab.nn.init`
        says.
    gain : float, optional
        Its scale: for "he" the standard deviation is ``gain / sqrt(inputs)``, by default with sqrt(2), which
        keeps the scale of activations through layers of ReLU.
    rng : int, numpy.random.Generator or None
        What the initial weight is drawn from.
    dtype : dtype_like
        float32, float64, float16 or bfloat16.
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
        inputs, outputs = _checks.whole("Linear: inputs", inputs), _checks.whole("Linear: outputs", outputs)
        if not (1 <= inputs <= LARGEST_SIZE and 1 <= outputs <= LARGEST_SIZE):
            raise ValueError(f"Linear: inputs and outputs must be positive, got {inputs} and {outputs}")
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
        self.weight.grad[...] = _outer_product(rows, inputs)
        if self.bias is not None:
            sum_into(self.bias.grad, rows, 0)
        return _product(rows, self.weight.value).reshape(x.shape) if self.wants_dx else None

    def __repr__(self) -> str:
        return f"Linear({self.inputs}, {self.outputs})"
