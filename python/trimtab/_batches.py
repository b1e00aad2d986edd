"""Batches of samples, with targets and weights: read as arrays, cut from them, and joined again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab._inputs import as_array, real_array
from trimtab._typing import Array
from trimtab._weights import read_sample_weight


class Batch(NamedTuple):
    """Samples (N, ...), their targets, and the weight of each (N,), or None where all weigh the same."""

    x: Array
    y: Array
    weight: Array | None


class Data(NamedTuple):
    """Samples, targets and weights as the caller gave them, and the rows that are used, or None for all.

    The rows of a batch are gathered when it is needed, so that a memory map is never loaded as a whole.
    """

    x: Array
    y: Array
    weight: Array | None = None
    rows: Array | None = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.x if self.rows is None else self.rows)

    @property
    def targets(self) -> Array:
        """The targets of the samples."""
        return self.y if self.rows is None else _gathered(self.y, self.rows)

    def take(self, chosen: Array | slice) -> Batch:
        """Return the samples at these positions as a batch."""
        rows = chosen if self.rows is None else self.rows[chosen]
        weight = None if self.weight is None else _gathered(self.weight, rows)
        return Batch(_gathered(self.x, rows), _gathered(self.y, rows), weight)

    def batches(self, batch_size: int, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
        """Return batches of consecutive samples: those of a rank that takes turns with others."""
        return map(self.take, batch_slices(self.samples, batch_size)[rank::ranks])


class Samples(NamedTuple):
    """Samples without targets, as the caller gave them."""

    x: Array

    def batches(self, batch_size: int, rank: int = 0, ranks: int = 1) -> Iterator[Array]:
        """Return batches of consecutive samples, as `Data` does; one empty batch if there are none."""
        for chosen in (batch_slices(len(self.x), batch_size) or [slice(0, 0)])[rank::ranks]:
            yield self.x[chosen]


class Joined:
    """Arrays that are joined along axis 0, each copied when it comes.

    Memory is needed for the result, and for up to a quarter of it more while it grows.

    Parameters
    ----------
    name : str
        What the arrays are: errors begin with it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._array: Array | None = None
        self._length = 0

    def add(self, part: Array) -> None:
        """Append a part, of the dtype of those before and, but for axis 0, of their shape."""
        if self._array is None:
            self._array = np.empty_like(part, order="C", subok=False)
        joined = self._array
        if (part.shape[1:], part.dtype) != (joined.shape[1:], joined.dtype):
            raise ValueError(
                f"{self._name} must have one shape and dtype in all batches, "
                f"got {_form(joined)} and then {_form(part)}"
            )
        end = self._length + len(part)
        if end > len(joined):
            joined.resize((max(end, len(joined) * 5 // 4), *part.shape[1:]), refcheck=False)
        joined[self._length : end] = part
        self._length = end

    def whole(self) -> Array:
        """Return all parts together."""
        if self._array is None:
            raise ValueError(f"{self._name} must be of one batch at least, got none")
        self._array.resize((self._length, *self._array.shape[1:]), refcheck=False)
        return self._array


def _form(array: Array) -> str:
    return f"{array.dtype} of shape ({', '.join(['N', *map(str, array.shape[1:])])})"


def _gathered(array: Array, rows: Array | slice) -> Array:
    # `take` is faster than brackets, but copies an array whole unless it is contiguous
    if isinstance(rows, slice) or not (array.flags.c_contiguous and array.flags.aligned):
        return array[rows]
    return array.take(rows, axis=0)


def read_samples(name: str, x: ArrayLike) -> Array:
    """Return samples along axis 0, of any real dtype; a memory map is not loaded."""
    samples = real_array(name, x)
    if samples.ndim == 0:
        raise ValueError(f"{name} must have an axis of samples, got shape ()")
    return samples


def read_some_samples(name: str, x: ArrayLike) -> Array:
    """Return `read_samples`; raise a ValueError if there are none."""
    samples = read_samples(name, x)
    if len(samples) == 0:
        raise ValueError(f"{name} must hold at least one sample, got shape {samples.shape}")
    return samples


def read_data(
    function: str, x: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None, *, of: str = ""
) -> Data:
    """Return paired samples, targets and weights; `of` ends the names of the arguments in errors."""
    samples = read_some_samples(f"{function}: x{of}", x)
    targets = as_array(f"{function}: y{of}", y)
    if targets.shape[:1] != samples.shape[:1]:
        raise ValueError(
            f"{function}: y{of} must have {len(samples)} entries as x, got shape {targets.shape}"
        )
    weights = read_sample_weight(function, weight, len(samples), of)
    if weights is not None and not weights.any():
        raise ValueError(f"{function}: sample_weight{of} must not be 0 everywhere, got {len(weights)} zeros")
    return Data(samples, targets, weights)


def batch_slices(samples: int, batch_size: int) -> list[slice]:
    """Cut range(samples) into slices of `batch_size`; the last may be shorter, or longer by one sample."""
    edges = [*range(0, samples, batch_size), samples]
    if batch_size > 1 and len(edges) > 2 and edges[-1] - edges[-2] == 1:
        del edges[-2]
    return [slice(begin, end) for begin, end in pairwise(edges)]
