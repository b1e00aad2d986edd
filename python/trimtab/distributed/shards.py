"""Several parts of a batch in one process: each behaves like a process of its own.

A shard runs until it wants to gather arrays of all shards. When all shards of this rank are there, one
collective operation fetches those of the other ranks, and they go on. They are coroutines (greenlets), so
that layers need not know of each other; a switch takes less than a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TypeVar

import numpy as np

from trimtab import extras
from trimtab._typing import Array
from trimtab.distributed.part import Rows
from trimtab.distributed.ranks import EXTRA, Alone

Result = TypeVar("Result")


class Shard:
    """A part that runs within `run`."""

    rows: Rows | None = None

    def __init__(self, updates: bool) -> None:
        self.updates = updates

    def gather(self, array: Array) -> Array:
        """Return the arrays of all shards, stacked."""
        whole: Array = extras.load("greenlet", EXTRA).getcurrent().parent.switch(array)
        return whole


def run(tasks: Sequence[Callable[[], Result]], ranks: Alone) -> list[Result]:
    """Return the results of the shards of this rank. All shards, also elsewhere, gather equally often."""
    greenlet = extras.load("greenlet", EXTRA).greenlet
    workers = [greenlet(task) for task in tasks]
    for worker in workers:
        worker.gr_context = copy_context()
    found = [worker.switch() for worker in workers]
    while not all(worker.dead for worker in workers):
        own = np.stack(found)
        whole = ranks.gather(own)
        whole = whole.reshape(-1, *own.shape[1:])
        found = [worker.switch(whole) for worker in workers]
    return found
