"""The part of a batch that the current pass computes, while others compute the rest of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol

import numpy as np

from trimtab._typing import Array


def part_edges(samples: int, number: int, parts: int) -> tuple[int, int]:
    """Return where a part of so many samples begins and ends; parts differ by one sample at most."""
    return number * samples // parts, (number + 1) * samples // parts


class Rows(NamedTuple):
    """The samples of a part, from `begin` to `end` of `total` in the batch."""

    begin: int
    end: int
    total: int

    def widened(self, x: Array) -> Array:
        """Return an array of the whole batch that holds the part x, and zeros elsewhere."""
        rows = self._of(x)
        whole: Array = np.zeros((rows.total, *x.shape[1:]), x.dtype)
        whole[rows.begin : rows.end] = x
        return whole

    def narrowed(self, whole: Array, like: Array) -> Array:
        """Return the part of an array of the whole batch, which has the length of `like`."""
        rows = self._of(like)
        return whole[rows.begin : rows.end]

    def _of(self, x: Array) -> Rows:
        """The rows of x, which has one or several for each sample."""
        samples = self.end - self.begin
        each = len(x) // samples if samples else 1
        if each * samples != len(x):
            raise ValueError(
                f"fit: x of a layer that draws must have rows for {samples} samples, got {len(x)}"
            )
        return Rows(each * self.begin, each * self.end, each * self.total)


class Part(Protocol):
    """One of the parts that a batch is cut into.

    Attributes
    ----------
    updates : bool
        Whether this part updates the running statistics: one of the parts with the same model does.
    rows : Rows or None
        Where its samples are in the batch, if layers draw as for the whole batch.
    """

    updates: bool
    rows: Rows | None

    def gather(self, array: Array) -> Array:
        """Return the arrays of all parts, stacked in the order of the parts; all have the same shape."""
        ...


_part: ContextVar[Part | None] = ContextVar("part", default=None)
current = _part.get


@contextmanager
def computing(part: Part) -> Iterator[None]:
    """Let layers know in this context which part they compute."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)
