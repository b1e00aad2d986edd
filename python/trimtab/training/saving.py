"""Saves a training to a file, and reads it back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from trimtab._inputs import path_text
from trimtab.callbacks.dispatch import labeled
from trimtab.training import checkpoint_file
from trimtab.training.history import History
from trimtab.training.position import Position
from trimtab.training.protocol import TrainerState
from trimtab.training.undo import LearnedState

CALLBACK = "callback."  # followed by the number of the callback in the notes: the group of its state


def save(trainer: TrainerState, path: str | os.PathLike[str]) -> None:
    """Write the file of `Trainer.save`."""
    if trainer.position.in_batch:
        raise RuntimeError("save: training must be between two batches, got a call in the middle of one")
    pairs = labeled(trainer.callbacks)
    states = {f"{CALLBACK}{number}": callback.state_dict() for number, (_, callback) in enumerate(pairs)}
    learned = {"model": trainer.model.state_dict(), "optimizer": trainer.optimizer.state_dict()}
    notes = {
        "rng": trainer.rng.bit_generator.state,
        "history": trainer.history,
        "callbacks": [label for label, _ in pairs],
        "position": trainer.position.notes(trainer.model),
    }
    checkpoint_file.write(path_text("save: path", path), learned | states, notes)


class SavedTraining:
    """A training that `save` wrote, read from its file and checked against a trainer.

    Attributes
    ----------
    callback_states : dict
        The states of the callbacks by label.
    position : Position
    """

    def __init__(self, function: str, path: str | os.PathLike[str], trainer: TrainerState) -> None:
        self._function, self._path = function, path_text(f"{function}: path", path)
        self._groups, notes = checkpoint_file.read(self._path)
        generator = trainer.rng.bit_generator
        try:
            self._read_notes(notes)
            kind = self._rng["bit_generator"]
            if type(generator).__name__ == kind:
                _require_states(generator, self._rng, self.position.epoch_rng)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{function}: {self._path} must have whole notes, got {error!r}") from error
        if type(generator).__name__ != kind:
            raise ValueError(f"{function}: rng must be a {kind} as in {self._path}, got {generator}")

    def _read_notes(self, notes: Mapping[str, Any]) -> None:
        """Read the notes that `save` wrote; older files have no callbacks and no position."""
        self._rng, self._history = notes["rng"], History.from_notes(notes["history"])
        self.callback_states = {
            label: self._groups.get(f"{CALLBACK}{number}", {})
            for number, label in enumerate(notes.get("callbacks", []))
        }
        self.position = Position.from_notes(notes["position"]) if "position" in notes else Position()

    def require_resumable(self, metric_names: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Raise a ValueError unless a training with these metrics and settings can resume from the file."""
        if self._history and set(self._history) != set(metric_names):
            wanted, found = ", ".join(metric_names), ", ".join(self._history)
            raise ValueError(f"{self._function}: {self._path} must have the metrics {wanted}, got {found}")
        self.position.require_settings(self._path, settings)

    def load_into(self, trainer: TrainerState) -> LearnedState:
        """Restore the training as `Trainer.load` does; return what the trainer had learned before."""
        before = LearnedState(trainer)
        try:
            trainer.model.load_state_dict(self._groups.get("model", {}))
            trainer.optimizer.load_state_dict(self._groups.get("optimizer", {}))
            trainer.rng.bit_generator.state = self._rng
        except BaseException:
            before.restore()
            raise
        trainer.history, trainer.position = self._history, deepcopy(self.position)
        return before


def _require_states(generator: np.random.BitGenerator, *states: Any) -> None:
    """Raise an error unless each is None or a state of such a generator, by setting it in a new one."""
    for state in states:
        if state is not None:
            type(generator)(0).state = state
