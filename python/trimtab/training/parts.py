"""Checks that the parts of a trainer go together: model, optimizer, callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimtab import _checks
from trimtab.callbacks import Callback
from trimtab.nn.module import Module
from trimtab.nn.parameter import Parameter
from trimtab.optim import Optimizer
from trimtab.training.protocol import TrainerState


def require_parts(function: str, trainer: TrainerState) -> None:
    """Raise an error unless the model, the optimizer and the callbacks of a trainer go together."""
    untrained = untrained_parameters(function, trainer.model, trainer.optimizer)
    optimizer, on_purpose = trainer.untrained
    if optimizer is not trainer.optimizer:
        trainer.untrained = trainer.optimizer, untrained
        on_purpose = untrained
    known = set(map(id, on_purpose))
    for parameter in untrained:
        if id(parameter) not in known:
            raise ValueError(
                f"{function}: optimizer must hold {parameter!r}, which the model got after it was made: "
                "make another optimizer"
            )
    require_callbacks(function, trainer.callbacks)


def require_callbacks(function: str, callbacks: Sequence[Any]) -> None:
    """Raise a TypeError unless all are callbacks."""
    if not isinstance(callbacks, Sequence) or not all(isinstance(item, Callback) for item in callbacks):
        raise TypeError(
            f"{function}: callbacks must be a sequence of Callback, got {_checks.shown(callbacks)}"
        )


def untrained_parameters(function: str, model: Module, optimizer: Optimizer) -> list[Parameter]:
    """Return the parameters of a model that an optimizer does not train.

    Raises
    ------
    ValueError
        If it trains others: those of another model, or of a layer that has been replaced.
    """
    parameters = model.parameters()
    in_model, in_optimizer = set(map(id, parameters)), set(map(id, optimizer.parameters))
    for parameter in optimizer.parameters:
        if id(parameter) not in in_model:
            raise ValueError(
                f"{function}: optimizer must hold parameters of the model, got {parameter!r} of another: "
                "after replacing a layer, make another optimizer"
            )
    return [parameter for parameter in parameters if id(parameter) not in in_optimizer]
