"""The position of a training, from which it can be resumed."""

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
        Number of batches done in the current epoch.
    epoch_rng : mapping or None
        State of the generator before it drew the order of that epoch; None between epochs.
    means : Means
        Means of the metrics over that epoch so far, or over the last one.
    pending : tuple or None
        The hook that is being called, its arguments, and the labels of the callbacks that have not yet seen
        it: either it raised an error, or the training is saved inside it.
    settings : dict
        The arguments of `fit` that a resumed training must share.
    fault : str
        Why training cannot be resumed from here; empty if it can.
    in_batch : bool
        Whether a batch is being trained on.
    trained_checksum : int or None
        Checksum of the model when training ended, until all callbacks have ended, too.
    split_seed : int or None
        The seed of the random choice of validation data, the same in every fit of a trainer.
    """

    batch: int = 0
    epoch_rng: Mapping[str, Any] | None = None
    means: Means = field(default_factory=Means)
    pending: tuple[str, tuple[Any, ...], list[str]] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    in_batch: bool = False
    trained_checksum: int | None = None
    split_seed: int | None = None

    @property
    def untrained(self) -> bool:
        """Whether no step of the current epoch has been done or begun to change the weights."""
        return self.batch == 0 and not self.fault

    def begin_epoch(self, rng: Mapping[str, Any]) -> None:
        """Note that an epoch begins, and the state of the generator."""
        self.batch, self.epoch_rng, self.means = 0, rng, Means()

    def end_epoch(self) -> None:
        """Note that the epoch is complete."""
        self.batch, self.epoch_rng = 0, None

    def order(self, samples: int, rng: np.random.Generator, *, first: bool) -> Array:
        """Draw the order of the samples in the current epoch.

        If it is not the `first` time, repeat the draw and leave the generator as it is.
        """
        generator, now = rng.bit_generator, rng.bit_generator.state
        if not first and self.epoch_rng is not None:
            generator.state = self.epoch_rng
        order: Array = rng.permutation(samples)
        if not first:
            generator.state = now
        return order

    def end_training(self, model: Module) -> None:
        """Note that training has ended. Callbacks may still replace the weights, as `EarlyStopping` does."""
        self.trained_checksum = checksum(model)

    def end_fit(self, model: Module) -> None:
        """Note that all callbacks have ended."""
        self.fault, self.trained_checksum = self.fault_of(model), None

    def weights_replaced(self, model: Module) -> bool:
        """Whether a callback has replaced the weights after training ended."""
        return self.trained_checksum is not None and self.trained_checksum != checksum(model)

    def fault_of(self, model: Module) -> str:
        """Return why training cannot be resumed from here with the current weights; empty if it can."""
        if self.weights_replaced(model):
            return "whose weights a callback has replaced at its end, such as by the best ones"
        return self.fault

    def require_settings(self, path: str, settings: Mapping[str, Any]) -> None:
        """Raise a ValueError unless a training with these settings can resume from here."""
        if self.fault:
            raise ValueError(f"fit: {path} must be of a training that can be resumed, got one {self.fault}")
        for name, value in settings.items():
            saved = self.settings.get(name, value)
            if saved != value:
                raise ValueError(f"fit: {name} must be {saved} as in {path}, got {value}")

    def notes(self, model: Module) -> dict[str, Any]:
        """Return the position as values for JSON."""
        return {
            "batch": self.batch,
            "epoch_rng": self.epoch_rng,
            "means": self.means.sums,
            "pending": self.pending,
            "settings": self.settings,
            "fault": self.fault_of(model),
            "split_seed": self.split_seed,
        }

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> Position:
        """Return the position from its `notes`."""
        _checks.whole("batch", notes["batch"], 0)
        pending = notes["pending"]
        if pending is not None:
            hook, arguments, waiting = pending
            pending = hook, tuple(arguments), waiting
        return cls(**{**notes, "means": Means(notes["means"]), "pending": pending})


def checksum(model: Module) -> int:
    """Return the CRC-32 of the parameters and buffers of a model."""
    total = 0
    for array in model.state_dict().values():
        total = zlib.crc32(array.tobytes(), total)
    return total


def fingerprint(weight: Array | None) -> str | None:
    """Return a text that changes with the weights of samples, None if there are none."""
    if weight is None:
        return None
    return f"{len(weight)} weights with the CRC-32 {zlib.crc32((weight + 0.0).tobytes()):08x}"  # 0.0 is -0.0
