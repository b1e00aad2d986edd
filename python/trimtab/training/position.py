"""Where a training stands."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trimtab import _checks
from trimtab._typing import Array
from trimtab.metrics import Means
from trimtab.nn.module import Module


@dataclass
class Position:
    """A point between two batches.

    Attributes
    ----------
    batch : int
        Number of batches done in the epoch that is under way.
    epoch_rng : mapping or None
        State of the generator before it drew the order of that epoch; None between epochs.
    means : Means
        Of the metrics of that epoch so far, or of the last one.
    pending : tuple or None
        The hook that is being called, its arguments, and the labels of the callbacks that have not yet seen
        it: it ended in an error, or the training is saved from inside of it.
    settings : dict
        Arguments of `fit` without which the rest of the epochs would be others.
    fault : str
        Why no training can go on from here; empty where one can.
    in_batch : bool
        Whether a batch is under way.
    """

    batch: int = 0
    epoch_rng: Mapping[str, Any] | None = None
    means: Means = field(default_factory=Means)
    pending: tuple[str, tuple[Any, ...], list[str]] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    in_batch: bool = False
    left: int | None = None  # checksum of the weights when training ended, until every callback has, too

    def begin_epoch(self, rng: Mapping[str, Any]) -> None:
        """An epoch begins, with the generator in a state."""
        self.batch, self.epoch_rng, self.means = 0, rng, Means()

    def end_epoch(self) -> None:
        """The epoch is complete."""
        self.batch, self.epoch_rng = 0, None

    def order(self, samples: int, rng: np.random.Generator, *, first: bool) -> Array:
        """Draw the order of the epoch under way, or repeat what was drawn, and leave the generator alone."""
        generator, now = rng.bit_generator, rng.bit_generator.state
        if not first and self.epoch_rng is not None:
            generator.state = self.epoch_rng
        order: Array = rng.permutation(samples)
        if not first:
            generator.state = now
        return order

    def leave(self, model: Module) -> None:
        """Training has ended; callbacks may yet change the weights, as `EarlyStopping` does."""
        self.left = checksum(model)

    def settle(self, model: Module) -> None:
        """Every callback has ended."""
        self.fault, self.left = self.fault_of(model), None

    def fault_of(self, model: Module) -> str:
        """Why no training can go on from here with the model as it is."""
        if self.left is not None and self.left != checksum(model):
            return "whose weights a callback has replaced at its end, such as by the best ones"
        return self.fault

    def require_settings(self, path: str, settings: Mapping[str, Any]) -> None:
        """Raise a ValueError unless a training with these settings can go on from here."""
        if self.fault:
            raise ValueError(f"fit: {path} must be of a training that can go on, got one {self.fault}")
        for name, value in settings.items():
            saved = self.settings.get(name, value)
            if saved != value:
                raise ValueError(f"fit: {name} must be {saved} as in {path}, got {value}")

    def notes(self, model: Module) -> dict[str, Any]:
        """Return it as JSON can state it."""
        return {
            "batch": self.batch,
            "epoch_rng": self.epoch_rng,
            "means": self.means.sums,
            "pending": self.pending,
            "settings": self.settings,
            "fault": self.fault_of(model),
        }

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> Position:
        """Return the position that these are the notes of."""
        _checks.whole("batch", notes["batch"], 0)
        pending = notes["pending"]
        if pending is not None:
            hook, arguments, waiting = pending
            pending = hook, tuple(arguments), waiting
        return cls(**{**notes, "means": Means(notes["means"]), "pending": pending})


def checksum(model: Module) -> int:
    """Return a number that another state of the model hardly has, too."""
    total = 0
    for array in model.state_dict().values():
        total = zlib.crc32(array.tobytes(), total)
    return total
