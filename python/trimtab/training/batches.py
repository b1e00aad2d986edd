"""Reads the data of a training, and cuts it into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Return batches of consecutive samples."""
        return map(self.take, batch_slices(self.samples, batch_size))


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


def read_data(
    function: str, x: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None, *, of: str = ""
) -> Data:
    """Return paired samples, targets and weights; `of` ends the names of the arguments in errors."""
    samples = read_samples(f"{function}: x{of}", x)
    if len(samples) == 0:
        raise ValueError(f"{function}: x{of} must hold at least one sample, got shape {samples.shape}")
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


def augmented(samples: Array, augment: Callable[..., ArrayLike], rng: np.random.Generator) -> Array:
    """Return the batch that `augment` makes of a batch, in the same dtype."""
    changed = real_array("fit: result of augment", augment(samples, rng=rng))
    if changed.shape[:1] != samples.shape[:1]:
        raise ValueError(
            f"fit: result of augment must have {len(samples)} samples as the batch, got shape {changed.shape}"
        )
    return changed.astype(samples.dtype, copy=False)
