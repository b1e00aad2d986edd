"""The split into samples to train on and samples to hold out."""

from __future__ import annotations

import numpy as np

from trimtab._batches import Data
from trimtab._typing import Array


def hold_out(data: Data, share: float, seed: int | None, classes: Array | None) -> tuple[Data, Data]:
    """Split the data into samples to train on and a share of them to hold out.

    Parameters
    ----------
    data : Data
    share : float
    seed : int or None
        Of the random choice; None: the last samples are held out.
    classes : numpy.ndarray or None
        The class of each sample, if the share is to be the same in each class, up to rounding.
    """
    held = data.samples - round(data.samples * (1 - share)) if 0 < share < 1 else 0
    if not 0 < held < data.samples:
        raise ValueError(f"fit: validation_split must leave samples on both sides, got {share}")
    order = np.arange(data.samples) if seed is None else np.random.default_rng(seed).permutation(data.samples)
    chosen = order[-held:] if classes is None else _last_of_each_class(order, held, classes)
    is_held = np.zeros(data.samples, bool)
    is_held[chosen] = True
    return data._replace(rows=np.flatnonzero(~is_held)), data._replace(rows=np.flatnonzero(is_held))


def _last_of_each_class(order: Array, held: int, classes: Array) -> Array:
    """Return the last samples in the order of each class, `held` in all, in proportion to the classes."""
    names, members, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        alone = names[np.argmin(counts)]
        raise ValueError(f"fit: stratify must have two samples of each class, got one of class {alone}")
    shares = held * counts / len(classes)
    numbers = np.floor(shares).astype(int)
    largest_remainders = np.argsort(numbers - shares, kind="stable")
    numbers[largest_remainders[: held - numbers.sum()]] += 1
    by_class = order[np.argsort(members[order], kind="stable")]
    ends = np.cumsum(counts)
    return np.concatenate([by_class[end - number : end] for end, number in zip(ends, numbers, strict=True)])
