"""What a fit is going to do: all that could make it fail later is checked here, and nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab.callbacks import Callback, ProgressBar
from trimtab.callbacks.dispatch import CallbackList
from trimtab.nn.module import Module, Parameter, evaluation
from trimtab.training.batches import Data, augmented, batch_slices, hold_out, read_pair
from trimtab.training.history import VALIDATION
from trimtab.training.saving import Saved

if TYPE_CHECKING:
    from trimtab.optim import SGD
    from trimtab.trainer import Trainer

Augment: TypeAlias = Callable[..., ArrayLike]
Nan: TypeAlias = Literal["stop", "skip", "ignore"]


class Plan(NamedTuple):
    """The arguments of a fit, read."""

    data: Data
    validation: Data | None
    batches: list[slice]
    epochs: int
    augment: Augment | None
    shuffle: bool
    nan: Nan
    metric_names: tuple[str, ...]
    callbacks: CallbackList
    saved: Saved | None

    @property
    def settings(self) -> dict[str, Any]:
        """What the batches depend on, beside chance."""
        return {"samples": len(self.data.x), "batch_size": self.batches[0].stop, "shuffle": self.shuffle}


def plan_fit(
    trainer: Trainer,
    x: ArrayLike,
    y: ArrayLike,
    *,
    validation_data: Any,
    validation_split: float,
    epochs: int,
    batch_size: int,
    augment: Augment | None,
    shuffle: bool,
    progress: bool,
    resume: str | os.PathLike[str] | None,
    nan: Nan,
) -> Plan:
    """Return the plan of ``trainer.fit``, or raise what that raises."""
    epochs = _checks.whole("fit: epochs", epochs, 1)
    batch_size = _checks.whole("fit: batch_size", batch_size, 1)
    shuffle, progress = _checks.flag("fit: shuffle", shuffle), _checks.flag("fit: progress", progress)
    _checks.one_of("fit: nan", nan, get_args(Nan))
    if augment is not None and not callable(augment):
        raise TypeError(f"fit: augment must be callable, got {_checks.shown(augment)}")
    data, validation = _read_data(x, y, validation_data, validation_split)
    require_parts("fit", trainer)
    callbacks = CallbackList([*trainer.callbacks, *([ProgressBar()] if progress else [])], trainer)
    plan = Plan(
        data,
        validation,
        batch_slices(len(data.x), batch_size),
        epochs,
        augment,
        shuffle,
        nan,
        _metric_names(trainer, validation is not None),
        callbacks,
        None if resume is None else Saved("fit", resume, trainer),
    )
    callbacks.check_fit(plan.metric_names, epochs, len(plan.batches))
    trainer.optimizer.require_rates()
    _require_targets(trainer, data, "", augment)
    if validation is not None:
        _require_targets(trainer, validation, " of validation_data")
    if plan.saved is not None:
        plan.saved.require(plan.metric_names, plan.settings)
    return plan


def require_parts(function: str, trainer: Trainer) -> None:
    """Raise an error unless model, optimizer and callbacks of a trainer go together."""
    left_out = parameters_left_out(function, trainer.model, trainer.optimizer)
    if trainer.fixed[0] is not trainer.optimizer:
        trainer.fixed = trainer.optimizer, left_out
    fixed = set(map(id, trainer.fixed[1]))
    for parameter in left_out:
        if id(parameter) not in fixed:
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


def parameters_left_out(function: str, model: Module, optimizer: SGD) -> list[Parameter]:
    """Return the parameters of a model that an optimizer does not train.

    Raises
    ------
    ValueError
        If it trains others: those of another model, or of a layer that has been replaced.
    """
    parameters = model.parameters()
    known, held = set(map(id, parameters)), set(map(id, optimizer.parameters))
    for parameter in optimizer.parameters:
        if id(parameter) not in known:
            raise ValueError(
                f"{function}: optimizer must hold parameters of the model, got {parameter!r} of another: "
                "after replacing a layer, make another optimizer"
            )
    return [parameter for parameter in parameters if id(parameter) not in held]


def _read_data(x: ArrayLike, y: ArrayLike, given: Any, split: float) -> tuple[Data, Data | None]:
    """Return the training and the validation data."""
    data = read_pair("fit", x, y)
    split = _checks.number("fit: validation_split", split)
    if given is None:
        return hold_out(data, split) if split else (data, None)
    if split:
        raise ValueError(f"fit: validation_split must be 0 with validation_data, got {split:g}")
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"fit: validation_data must be samples and targets, got {type(given).__name__}")
    return data, read_pair("fit", given[0], given[1], " of validation_data")


def _metric_names(trainer: Trainer, validated: bool) -> tuple[str, ...]:
    own = ("loss", *trainer.loss.metrics)
    if own.count("loss") > 1 or any(name.startswith(VALIDATION) for name in own):
        raise ValueError(
            f"fit: metrics must not be named 'loss' or begin with 'val_', got {', '.join(own[1:])}"
        )
    for name, metric in trainer.loss.metrics.items():
        if not callable(metric):
            raise TypeError(f"fit: metric {name!r} must be a function, got {_checks.shown(metric)}")
    return own + tuple(VALIDATION + name for name in own) if validated else own


def _require_targets(trainer: Trainer, data: Data, of: str, augment: Augment | None = None) -> None:
    """Raise an error unless the model takes such samples, and the loss all of the targets."""
    sample = data.x[:1].astype(trainer.dtype)
    with evaluation(trainer.model, strict=True):
        try:
            output = trainer.model.forward(sample)
        except ValueError:
            if augment is None:
                raise
            # It may be of another shape once it is augmented
            output = trainer.model.forward(augmented(sample, augment, deepcopy(trainer.rng)))
    trainer.loss.check_targets(f"fit: y{of}", data.y, output)
