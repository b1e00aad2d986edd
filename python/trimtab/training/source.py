"""Where a fit takes its batches from: arrays, or an iterable of batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Protocol

import numpy as np

from trimtab._batches import Batch, Data, batch_slices
from trimtab._stream import PairStream
from trimtab.distributed.ranks import Alone
from trimtab.losses import Loss
from trimtab.training.position import Position

Steps = Iterator[Iterator[Data]]  # the batches of each step of the optimizer, gathered when they are taken


class Source(Protocol):
    """The batches of a fit.

    Attributes
    ----------
    steps : int
        Number of steps in an epoch, 0 if it is not known.
    settings : dict
        What the batches depend on, besides the generator.
    is_own_part : bool
        Whether batches are the parts that this rank alone has, and not those of all ranks.
    """

    steps: int
    is_own_part: bool
    settings: dict[str, Any]

    def fit_loss(self, loss: Loss) -> None:
        """Let the loss see the targets of all samples, as far as they are known."""
        ...

    def epoch(self, position: Position, rng: np.random.Generator, *, begins: bool) -> Steps:
        """Return the steps of an epoch that begins, or those after the position.

        The order of an epoch is drawn before this returns, the batches are read when they are needed.
        """
        ...


class ArraySource:
    """Batches of arrays, in an order that is drawn for each epoch.

    `classes` is the length of the last axis of the model's output.
    """

    is_own_part = False

    def __init__(self, data: Data, classes: int, batch_size: int, shuffle: bool, accumulate: int) -> None:
        slices = batch_slices(data.samples, batch_size)
        self._data, self._classes, self._shuffle = data, classes, shuffle
        self._groups = [slices[begin : begin + accumulate] for begin in range(0, len(slices), accumulate)]
        self.steps = len(self._groups)
        self.settings: dict[str, Any] = {
            "x": "an array",
            "samples": data.samples,
            "batch_size": slices[0].stop,
            "shuffle": shuffle,
            "accumulate": accumulate,
        }

    def fit_loss(self, loss: Loss) -> None:
        """Let the loss see the targets of all samples."""
        if type(loss).fit is not Loss.fit:  # so that targets of a memory map are not gathered for nothing
            loss.fit(self._data.targets, self._classes)

    def epoch(self, position: Position, rng: np.random.Generator, *, begins: bool) -> Steps:
        """Return the steps of an epoch that begins, or those after the position."""
        data = self._data
        order = position.order(data.samples, rng, first=begins) if self._shuffle else np.arange(data.samples)
        rows = order if data.rows is None else data.rows[order]
        return (
            (data._replace(rows=rows[chosen]) for chosen in group) for group in self._groups[position.batch :]
        )


class StreamSource:
    """Batches of an iterable; each rank has its own, with as many batches."""

    is_own_part = True

    def __init__(self, stream: PairStream, accumulate: int, ranks: Alone) -> None:
        self._stream, self._accumulate, self._ranks = stream, accumulate, ranks
        self.steps = -(-stream.length // accumulate)
        self.settings: dict[str, Any] = {"x": "an iterable of batches", "accumulate": accumulate}

    def fit_loss(self, loss: Loss) -> None:
        """Leave the loss as it is: the targets are not known yet."""

    def epoch(self, position: Position, rng: np.random.Generator, *, begins: bool) -> Steps:
        """Return the steps of an epoch that begins, or those after the position."""
        batches = self._in_step(self._stream.batches())
        for _ in islice(batches, position.batch * self._accumulate):
            pass  # trained on before
        for first in batches:
            others = islice(batches, self._accumulate - 1)
            yield chain([first], others)
            for _ in others:
                pass  # of a step that was given up

    def _in_step(self, batches: Iterator[Batch]) -> Iterator[Data]:
        """Yield the batches while all ranks have one."""
        while True:
            batch = next(batches, None)
            has_ended = self._ranks.gather(np.array(batch is None))
            if has_ended.all():
                return
            if batch is None or has_ended.any():
                raise ValueError(
                    "fit: x must yield as many batches on all ranks, "
                    f"got fewer on rank {np.argmax(has_ended)}"
                )
            yield Data(*batch)
