"""Reads the data of a training, and cuts it into batches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trimtab._inputs import as_array, real_array
from trimtab._typing import Array


class Data(NamedTuple):
    """Samples and targets as the caller gave them; samples are converted batch by batch."""

    x: Array
    y: Array


def read_samples(name: str, x: ArrayLike) -> Array:
    """Return samples along axis 0, of any real dtype; a memory map is not loaded."""
    samples = real_array(name, x)
    if samples.ndim == 0:
        raise ValueError(f"{name} must have an axis of samples, got shape ()")
    return samples


def read_pair(function: str, x: ArrayLike, y: ArrayLike, of: str = "") -> Data:
    """Return paired samples and targets, at least one; `of` ends the names of the arguments in errors."""
    samples = read_samples(f"{function}: x{of}", x)
    if len(samples) == 0:
        raise ValueError(f"{function}: x{of} must hold at least one sample, got shape {samples.shape}")
    targets = as_array(f"{function}: y{of}", y)
    if targets.shape[:1] != samples.shape[:1]:
        raise ValueError(
            f"{function}: y{of} must have {len(samples)} entries as x, got shape {targets.shape}"
        )
    return Data(samples, targets)


def hold_out(data: Data, share: float) -> tuple[Data, Data]:
    """Split the data into the first samples and the last share of them."""
    x, y = data
    kept = round(len(x) * (1 - share)) if 0 < share < 1 else 0
    if not 0 < kept < len(x):
        raise ValueError(f"fit: validation_split must leave samples on both sides, got {share}")
    return Data(x[:kept], y[:kept]), Data(x[kept:], y[kept:])


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
