"""The way back from an error: before a fit, and before a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from trimtab._typing import Array
from trimtab.training.position import Position
from trimtab.training.protocol import TrainerState


class LearnedState:
    """A copy of the state of a trainer that learning changes: model, optimizer, generator."""

    def __init__(self, trainer: TrainerState) -> None:
        self._trainer = trainer
        self._model, self._optimizer = trainer.model.state_dict(), trainer.optimizer.state_dict()
        self._rng = trainer.rng.bit_generator.state

    def restore(self) -> None:
        """Copy the state back into the trainer."""
        self._trainer.model.load_state_dict(self._model)
        self._trainer.optimizer.load_state_dict(self._optimizer)
        self._trainer.rng.bit_generator.state = self._rng


class BatchUndo:
    """The state of a training before a batch, except for the weights.

    Attributes
    ----------
    possible : bool
        False once the weights are being updated.
    """

    def __init__(self, buffers: Sequence[Array], rng: np.random.Generator) -> None:
        self._buffers = [(array, array.copy()) for array in buffers]
        self._generator, self._state = rng.bit_generator, rng.bit_generator.state
        self.possible = True

    def restore_buffers(self) -> None:
        """Restore the running statistics of the model."""
        for array, copy in self._buffers:
            array[...] = copy

    def restore_all(self) -> None:
        """Restore the running statistics and the generator."""
        self.restore_buffers()
        self._generator.state = self._state


@contextmanager
def undone_on_error(
    buffers: Sequence[Array], rng: np.random.Generator, position: Position
) -> Iterator[BatchUndo]:
    """After an error in a batch, restore the state before it; if that is impossible, note why not."""
    undo = BatchUndo(buffers, rng)
    position.in_batch = True
    try:
        yield undo
    except BaseException as error:
        if undo.possible or isinstance(error, TypeError | ValueError):  # an optimizer raises these first
            undo.restore_all()
        else:
            position.fault = f"that ended in the middle of an update by a {type(error).__name__}"
        raise
    finally:
        position.in_batch = False
