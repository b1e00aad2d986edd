"""Sums of many arrays over the ranks, in few messages."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trimtab._typing import Array
from trimtab.distributed.ranks import Alone

LARGE = 1 << 16  # bytes: copying such an array takes longer than the latency of a message


class Buckets:
    """Arrays that are summed over the ranks in place.

    Large arrays go by themselves, small ones of the same dtype together, and those of 16 bits as float32.
    """

    def __init__(self, ranks: Alone, arrays: Iterable[Array]) -> None:
        self._ranks = ranks
        self._large: list[Array] = []
        small: dict[np.dtype, list[Array]] = {}
        for array in arrays:
            if array.nbytes >= LARGE and array.itemsize > 2:
                self._large.append(array)
            else:
                small.setdefault(np.promote_types(np.float32, array.dtype), []).append(array)
        self._small = [
            (np.empty(sum(array.size for array in members), dtype), members)
            for dtype, members in small.items()
        ]

    def add(self) -> None:
        """Replace the arrays by their sums."""
        for array in self._large:
            self._ranks.add(array)
        for bucket, members in self._small:
            places = np.split(bucket, np.cumsum([array.size for array in members])[:-1])
            for place, array in zip(places, members, strict=True):
                place[...] = array.reshape(-1)
            self._ranks.add(bucket)
            for place, array in zip(places, members, strict=True):
                array[...] = place.reshape(array.shape)
