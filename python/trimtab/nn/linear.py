"""The affine layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

import trimtab._core as kernels
from trimtab._typing import Array, Seed
from trimtab.nn.init import Init, initial_weight
from trimtab.nn.module import Module, Parameter, as_float_dtype, require_shape

# Multiply-adds of a product that OpenBLAS shares among threads although there is little to do: awake, they
# compete for the cores with those of the kernels before and after it.
FEWEST_SHARED, FEW = 4 * 65_536, 4_000_000


def _product(a: Array, b: Array) -> Array:
    """Return a @ b, which is also the convolution of len(a) images of one pixel."""
    few = FEWEST_SHARED < a.size * b.shape[1] <= FEW
    if not few or a.dtype != b.dtype or a.dtype.char not in "efd":
        product: Array = a @ b
        return product
    once = (1, 1)
    images = kernels.convolve(a[:, None, None], b[None, None, None], None, (0, 0), once, once, once)
    return images.reshape(len(a), b.shape[1])


class Linear(Module):
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    The bias starts at 0 and is not decayed.

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
        A floating type.
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
        if inputs < 1 or outputs < 1:
            raise ValueError(f"Linear: inputs and outputs must be positive, got {inputs} and {outputs}")
        dtype = as_float_dtype(dtype)
        self.inputs, self.outputs = inputs, outputs
        self.weight = Parameter(initial_weight("Linear", (outputs, inputs), init, gain, rng, dtype))
        self.bias = Parameter(np.zeros(outputs, dtype), decay=False) if bias else None

    def forward(self, x: Array) -> Array:
        """Return y of shape (..., outputs) for x of shape (..., inputs)."""
        require_shape(self, "x", x, (*x.shape[:-1], self.inputs))
        self.saved = x
        y = _product(x.reshape(-1, self.inputs), self.weight.value.T).reshape(*x.shape[:-1], self.outputs)
        if self.bias is not None:
            y += self.bias.value
        return y

    def backward(self, dy: Array) -> Array | None:
        """Return ``dx = dy @ weight``; ``dweight = dy.T @ x`` and ``dbias = sum(dy)`` over all rows."""
        x = self.saved
        require_shape(self, "dy", dy, (*x.shape[:-1], self.outputs))
        rows = dy.reshape(-1, self.outputs)
        self.weight.grad[...] = _product(rows.T, x.reshape(-1, self.inputs))
        if self.bias is not None:
            np.sum(rows, axis=0, out=self.bias.grad)
        return _product(rows, self.weight.value).reshape(x.shape) if self.wants_dx else None

    def __repr__(self) -> str:
        return f"Linear({self.inputs}, {self.outputs})"
