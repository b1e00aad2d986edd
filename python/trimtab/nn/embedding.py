"""`Embedding`: a learned vector for each id."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trimtab import _checks
from trimtab._inputs import as_array, as_generator
from trimtab._typing import Array, Seed
from trimtab.nn.arguments import as_gradient
from trimtab.nn.dtypes import as_float_dtype
from trimtab.nn.module import Module
from trimtab.nn.options import require_addressable, size
from trimtab.nn.parameter import Parameter


class Embedding(Module):
    """A learned vector for each id: ``y = weight[x]``.

    Parameters
    ----------
    num : int
        Number of ids: they are 0 to ``num - 1``.
    dim : int
        Length of the vectors.
    padding_index : int, optional
        The id whose vector stays as it is, 0 at first: its gradient is 0. Negative ones count from the end.
    rng : int, numpy.random.Generator or None
        Of the initial weights, which are normally distributed with variance 1.
    dtype : dtype_like
        Of the weights and of y.

    Notes
    -----
    A model with an embedding takes integer samples as they are; `Trainer` does not convert them to floats.
    There is no gradient with respect to ids: ``backward`` returns None.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> layer = nn.Embedding(10, 3, rng=0)
    >>> layer(np.array([[1, 4], [1, 9]])).shape
    (2, 2, 3)
    """

    takes_ids = True

    def __init__(
        self,
        num: int,
        dim: int,
        *,
        padding_index: int | None = None,
        rng: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.num, self.dim = size("Embedding: num", num), size("Embedding: dim", dim)
        require_addressable("Embedding", (self.num, self.dim))
        self.padding_index = None if padding_index is None else _index(padding_index, self.num)
        dtype = as_float_dtype(dtype, "Embedding")
        weight = as_generator("Embedding: rng", rng).standard_normal((self.num, self.dim))
        if self.padding_index is not None:
            weight[self.padding_index] = 0
        self.weight = Parameter(weight.astype(dtype))

    def forward(self, x: ArrayLike) -> Array:
        """Return the vectors, of shape (*x.shape, dim), of ids of any integer dtype and shape."""
        ids = as_array(f"{self!r}: x", x)
        if ids.dtype.kind not in "iu":
            raise TypeError(f"{self!r}: x must be integer ids, got dtype {ids.dtype}")
        wrong = (ids < 0) | (ids >= self.num)
        if wrong.any():
            raise ValueError(f"{self!r}: x must be ids from 0 to {self.num - 1}, got {ids[wrong][0]}")
        self.saved = ids
        return self.weight.value[ids]

    def backward(self, dy: Array) -> None:
        """Add up the rows of dy for each id, in float64 and in their order, and round once."""
        ids = self.saved
        rows = as_gradient(self, dy, (*ids.shape, self.dim)).reshape(-1, self.dim)
        ids = ids.ravel()
        grad = self.weight.grad
        grad.fill(0)
        if ids.size:
            order = np.argsort(ids, kind="stable")
            present, begins = np.unique(ids[order], return_index=True)
            grad[present] = np.add.reduceat(rows[order].astype(np.float64), begins, axis=0)
        if self.padding_index is not None:
            grad[self.padding_index] = 0

    def __repr__(self) -> str:
        return f"Embedding({self.num}, {self.dim})"


def _index(given: int, num: int) -> int:
    index = _checks.whole("Embedding: padding_index", given)
    if not -num <= index < num:
        raise ValueError(f"Embedding: padding_index must be an id from {-num} to {num - 1}, got {index}")
    return index % num
