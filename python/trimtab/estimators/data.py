"""The samples of a fit: dense or sparse, with targets and weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from trimtab._typing import Array

ROWS = 4096  # evaluated at a time, which bounds the memory for activations


@dataclass
class Data:
    """Samples (N, features), targets (N,) or (N, K), and weights (N,) or None.

    Sparse samples have the format CSR, whose rows are taken fast, and are made dense batch by batch.
    """

    x: Any
    target: Array
    weight: Array | None = None

    def __post_init__(self) -> None:
        if sparse.issparse(self.x):
            self.x = self.x.tocsr()

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def batch(self, rows: slice | Array) -> tuple[Array, Array, Array | None]:
        """Return the dense samples, targets and weights of some rows."""
        weight = None if self.weight is None else self.weight[rows]
        return dense(self.x[rows]), self.target[rows], weight


def dense(x: Any) -> Array:
    """Return samples as a C-contiguous array."""
    return np.ascontiguousarray(x.toarray() if sparse.issparse(x) else x)


def dense_parts(x: Any) -> Iterator[Array]:
    """Yield all samples, dense, in order and parts of bounded size."""
    x = x.tocsr() if sparse.issparse(x) else x
    for rows in gen_batches(x.shape[0], ROWS):
        yield dense(x[rows])
