"""Saving a training, and going on with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from trimtab import checkpoint
from trimtab._inputs import path_text
from trimtab.callbacks.dispatch import labeled
from trimtab.training.history import History
from trimtab.training.position import Position

if TYPE_CHECKING:
    from trimtab.trainer import Trainer

CALLBACK = "callback."  # and the number of the callback in the notes: the group of its state


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Do as `Trainer.save`."""
    if trainer.position.in_batch:
        raise RuntimeError("save: training must be between two batches, got a call in the middle of one")
    pairs = labeled(trainer.callbacks)
    states = {f"{CALLBACK}{number}": callback.state_dict() for number, (_, callback) in enumerate(pairs)}
    own = {"model": trainer.model.state_dict(), "optimizer": trainer.optimizer.state_dict()}
    notes = {
        "rng": trainer.rng.bit_generator.state,
        "history": trainer.history,
        "callbacks": [label for label, _ in pairs],
        "position": trainer.position.notes(trainer.model),
    }
    checkpoint.write(path_text("save: path", path), own | states, notes)


class Saved:
    """A file that `save` wrote, read and found to be of such a trainer.

    Attributes
    ----------
    states : dict
        Of the callbacks, by label.
    """

    def __init__(self, function: str, path: str | os.PathLike[str], trainer: Trainer) -> None:
        self._function, self._path = function, path_text(f"{function}: path", path)
        self._groups, notes = checkpoint.read(self._path)
        try:
            self._rng, self._history = notes["rng"], History.from_notes(notes["history"])
            self.states = {
                label: self._groups.get(f"{CALLBACK}{number}", {})
                for number, label in enumerate(notes.get("callbacks", []))
            }
            self._position = Position.from_notes(notes["position"]) if "position" in notes else Position()
            kind = self._rng["bit_generator"]
            generator = trainer.rng.bit_generator
            if type(generator).__name__ == kind:
                for state in (self._rng, self._position.epoch_rng):
                    if state is not None:
                        type(generator)(0).state = state  # raises where it is none
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{function}: {self._path} must have whole notes, got {error!r}") from error
        if type(generator).__name__ != kind:
            raise ValueError(f"{function}: rng must be a {kind} as in {self._path}, got {generator}")

    def require(self, names: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Raise a ValueError unless a training with these metrics and settings can go on from here."""
        if self._history and set(self._history) != set(names):
            wanted, found = ", ".join(names), ", ".join(self._history)
            raise ValueError(f"{self._function}: {self._path} must have the metrics {wanted}, got {found}")
        self._position.require_settings(self._path, settings)

    def load_into(self, trainer: Trainer) -> Before:
        """Do as `Trainer.load`; return the way back."""
        before = Before(trainer)
        try:
            trainer.model.load_state_dict(self._groups.get("model", {}))
            trainer.optimizer.load_state_dict(self._groups.get("optimizer", {}))
            trainer.rng.bit_generator.state = self._rng
        except BaseException:
            before.undo()
            raise
        trainer.history, trainer.position = self._history, deepcopy(self._position)
        return before


class Before:
    """The state of a trainer at some time."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._model, self._optimizer = trainer.model.state_dict(), trainer.optimizer.state_dict()
        self._rng = trainer.rng.bit_generator.state

    def undo(self) -> None:
        """Give it back."""
        self._trainer.model.load_state_dict(self._model)
        self._trainer.optimizer.load_state_dict(self._optimizer)
        self._trainer.rng.bit_generator.state = self._rng
