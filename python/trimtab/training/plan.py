"""The plan of a fit: everything that could make it fail is checked before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._typing import Array
from trimtab.callbacks import ProgressBar
from trimtab.callbacks.dispatch import CallbackList
from trimtab.losses import Loss
from trimtab.nn.passes import evaluation
from trimtab.training.batches import Data, augmented, batch_slices, hold_out, read_pair
from trimtab.training.evaluation import dtype_of
from trimtab.training.history import VALIDATION
from trimtab.training.parts import require_parts
from trimtab.training.protocol import TrainerState
from trimtab.training.saving import SavedTraining

Augment: TypeAlias = Callable[..., ArrayLike]
Nan: TypeAlias = Literal["stop", "skip", "ignore"]


class Plan(NamedTuple):
    """The arguments of a fit, read and checked."""

    data: Data
    validation: Data | None
    batches: list[slice]
    epochs: int
    augment: Augment | None
    shuffle: bool
    nan: Nan
    metric_names: tuple[str, ...]
    callbacks: CallbackList
    saved: SavedTraining | None

    @property
    def settings(self) -> dict[str, Any]:
        """What the batches depend on, besides the generator."""
        return {"samples": len(self.data.x), "batch_size": self.batches[0].stop, "shuffle": self.shuffle}

    @property
    def callback_states(self) -> Mapping[str, Mapping[str, Array]]:
        """The saved states of the callbacks by label."""
        return {} if self.saved is None else self.saved.callback_states


def plan_fit(
    trainer: TrainerState,
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
    """Return the plan of a `Trainer.fit` with these arguments, or raise its errors."""
    epochs = _checks.whole("fit: epochs", epochs, 1)
    batch_size = _checks.whole("fit: batch_size", batch_size, 1)
    shuffle, progress = _checks.flag("fit: shuffle", shuffle), _checks.flag("fit: progress", progress)
    _checks.one_of("fit: nan", nan, get_args(Nan))
    if augment is not None and not callable(augment):
        raise TypeError(f"fit: augment must be callable, got {_checks.shown(augment)}")
    data, validation = _read_data(x, y, validation_data, validation_split)
    require_parts("fit", trainer)
    callbacks = CallbackList([*trainer.callbacks, *([ProgressBar()] if progress else [])], trainer)
    metric_names = _metric_names(trainer.loss, validation is not None)
    plan = Plan(
        data=data,
        validation=validation,
        batches=batch_slices(len(data.x), batch_size),
        epochs=epochs,
        augment=augment,
        shuffle=shuffle,
        nan=nan,
        metric_names=metric_names + tuple(callbacks.measure(metric_names)),
        callbacks=callbacks,
        saved=None if resume is None else SavedTraining("fit", resume, trainer),
    )
    callbacks.check_fit(plan.metric_names, epochs, len(plan.batches))
    trainer.optimizer.require_rates()
    _require_targets(trainer, data, "", augment)
    if validation is not None:
        _require_targets(trainer, validation, " of validation_data")
    if plan.saved is not None:
        plan.saved.require_resumable(plan.metric_names, plan.settings)
    return plan


def _read_data(x: ArrayLike, y: ArrayLike, given: Any, split: float) -> tuple[Data, Data | None]:
    """Return the training data and the validation data, if any."""
    data = read_pair("fit", x, y)
    split = _checks.number("fit: validation_split", split)
    if given is None:
        return hold_out(data, split) if split else (data, None)
    if split:
        raise ValueError(f"fit: validation_split must be 0 with validation_data, got {split:g}")
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"fit: validation_data must be samples and targets, got {type(given).__name__}")
    return data, read_pair("fit", given[0], given[1], " of validation_data")


def _metric_names(loss: Loss, has_validation: bool) -> tuple[str, ...]:
    """Return the names of the metrics that each epoch will have."""
    names = ("loss", *loss.metrics)
    if names.count("loss") > 1 or any(name.startswith(VALIDATION) for name in names):
        raise ValueError(
            f"fit: metrics must not be named 'loss' or begin with 'val_', got {', '.join(names[1:])}"
        )
    for name, metric in loss.metrics.items():
        if not callable(metric):
            raise TypeError(f"fit: metric {name!r} must be a function, got {_checks.shown(metric)}")
    return names + tuple(VALIDATION + name for name in names) if has_validation else names


def _require_targets(trainer: TrainerState, data: Data, of: str, augment: Augment | None = None) -> None:
    """Raise an error unless the model accepts the first sample, and the loss all targets."""
    sample = data.x[:1].astype(dtype_of(trainer.model))
    with evaluation(trainer.model, strict=True):
        try:
            output = trainer.model.forward(sample)
        except ValueError:
            if augment is None:
                raise
            # The model may expect the shape that augmentation gives
            output = trainer.model.forward(augmented(sample, augment, deepcopy(trainer.rng)))
    trainer.loss.check_targets(f"fit: y{of}", data.y, output)
