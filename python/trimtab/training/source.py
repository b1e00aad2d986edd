"""Where a fit takes its batches from: arrays, or an iterable of batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Protocol

import numpy as np

from trimtab._batches import Batch, Data, batch_slices
from trimtab._stream import PairStream
from trimtab.losses import Loss
from trimtab.training.position import Position

Steps = Iterator[Iterator[Batch]]  # the batches of each step of the optimizer


class Source(Protocol):
    """The batches of a fit.

    Attributes
    ----------
    steps : int
        Number of steps in an epoch, 0 if it is not known.
    settings : dict
        What the batches depend on, besides the generator.
    """

    steps: int
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
        return ((data.take(order[chosen]) for chosen in group) for group in self._groups[position.batch :])


class StreamSource:
    """Batches of an iterable."""

    def __init__(self, stream: PairStream, accumulate: int) -> None:
        self._stream, self._accumulate = stream, accumulate
        self.steps = -(-stream.length // accumulate)
        self.settings: dict[str, Any] = {"x": "an iterable of batches", "accumulate": accumulate}

    def fit_loss(self, loss: Loss) -> None:
        """Leave the loss as it is: the targets are not known yet."""

    def epoch(self, position: Position, rng: np.random.Generator, *, begins: bool) -> Steps:
        """Return the steps of an epoch that begins, or those after the position."""
        batches = self._stream.batches()
        for _ in islice(batches, position.batch * self._accumulate):
            pass  # trained on before
        for first in batches:
            others = islice(batches, self._accumulate - 1)
            yield chain([first], others)
            for _ in others:
                pass  # of a step that was given up
