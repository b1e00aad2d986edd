"""What surrounds training: modes, interrupts, and the way back from an error."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from trimtab._typing import Array
from trimtab.nn.module import Module
from trimtab.nn.passes import forget
from trimtab.training.position import Position

if TYPE_CHECKING:
    from trimtab.trainer import Trainer


_busy: WeakSet[Trainer] = WeakSet()


@contextmanager
def in_fit(trainer: Trainer, function: str = "fit") -> Iterator[None]:
    """Let one function at a time change a trainer; raise a RuntimeError within another."""
    if trainer in _busy:
        raise RuntimeError(f"{function}: trainer must not be in another fit, got a call within one")
    _busy.add(trainer)
    try:
        yield
    finally:
        _busy.discard(trainer)


class Modes:
    """The modes of a model's modules at some time."""

    def __init__(self, model: Module) -> None:
        self._model, self.trains = model, model.training
        self._modes = [(module, module.training) for _, module in model.modules()]

    def restore(self) -> None:
        """Give every module the mode it had."""
        for module, mode in self._modes:
            module.training = mode

    def ensure(self) -> None:
        """Do so if the model is in another mode, because a callback has left it there."""
        if self._model.training != self.trains:
            self.restore()


@contextmanager
def mode_of_training(model: Module) -> Iterator[Modes]:
    """Let a model train; yield the modes, and give it back those that it had, without what it saved."""
    before = Modes(model)
    if not model.training:
        model.train()
    try:
        yield Modes(model)
    finally:
        before.ensure()
        forget(model)


@contextmanager
def without_dx(model: Module) -> Iterator[None]:
    """Spare the first layer its dx, which training does not read."""
    wanted = model.wants_dx
    model.wants_dx = False
    try:
        yield
    finally:
        model.wants_dx = wanted


@contextmanager
def ends_on_interrupt(trainer: Trainer) -> Iterator[None]:
    """Turn the first Ctrl-C into ``trainer.stop()``. Python delivers signals to the main thread only."""
    previous = signal.getsignal(signal.SIGINT)
    # Who ignores interrupts, as nohup does, or handles them outside of Python goes on doing so
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, previous)
        trainer.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class Undo:
    """The state of a training before a batch, but for the weights.

    Attributes
    ----------
    possible : bool
        False once the weights are being updated.
    """

    def __init__(self, buffers: Sequence[Array], rng: np.random.Generator) -> None:
        self._buffers = [(array, array.copy()) for array in buffers]
        self._generator, self._state = rng.bit_generator, rng.bit_generator.state
        self.possible = True

    def buffers(self) -> None:
        """Give the model back its running statistics."""
        for array, copy in self._buffers:
            array[...] = copy

    def all(self) -> None:
        """Give it back the state of the generator, too."""
        self.buffers()
        self._generator.state = self._state


@contextmanager
def restored_on_error(
    buffers: Sequence[Array], rng: np.random.Generator, position: Position
) -> Iterator[Undo]:
    """Be as before the batch after an error in it, or say that this cannot be."""
    undo = Undo(buffers, rng)
    position.in_batch = True
    try:
        yield undo
    except BaseException as error:
        if undo.possible or isinstance(error, TypeError | ValueError):  # an optimizer raises these before
            undo.all()
        else:
            position.fault = f"that ended in the middle of an update by a {type(error).__name__}"
        raise
    finally:
        position.in_batch = False
