"""The modes of a model's layers, training or evaluation, around a fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trimtab.nn.module import Module
from trimtab.nn.passes import forget


class Modes:
    """The modes that the modules of a model have now."""

    def __init__(self, model: Module) -> None:
        self._model, self._training = model, model.training
        self._modes = [(module, module.training) for _, module in model.modules()]

    def restore_if_changed(self) -> None:
        """Give every module its mode back if that of the model is another, as after a callback."""
        if self._model.training != self._training:
            for module, mode in self._modes:
                module.training = mode


@contextmanager
def mode_of_training(model: Module) -> Iterator[Modes]:
    """Let a model train and yield its modes; then restore those before, and drop what layers have saved."""
    before = Modes(model)
    if not model.training:
        model.train()
    try:
        yield Modes(model)
    finally:
        before.restore_if_changed()
        forget(model)


@contextmanager
def without_dx(model: Module) -> Iterator[None]:
    """Let the first layer skip its dx, which training does not read."""
    wanted = model.wants_dx
    model.wants_dx = False
    try:
        yield
    finally:
        model.wants_dx = wanted
