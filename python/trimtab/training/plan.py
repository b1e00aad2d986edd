"""The plan of a fit: everything that could make it fail is checked before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._batches import Batch, Data, read_data
from trimtab._stream import PairStream, described, is_array_like, is_list_of_pairs, read_pairs
from trimtab._typing import Array
from trimtab._weights import ClassWeight
from trimtab.callbacks import ProgressBar
from trimtab.callbacks.dispatch import CallbackList
from trimtab.losses import ClassLabels, Loss
from trimtab.metrics import Score
from trimtab.nn.activation import Sigmoid, Softmax
from trimtab.nn.arguments import as_samples
from trimtab.nn.module import Module
from trimtab.nn.passes import evaluation, forward_hook
from trimtab.training.augmentation import augmented
from trimtab.training.class_weights import class_factors, weight_by_class
from trimtab.training.evaluation import require_metrics, require_weighted
from trimtab.training.history import VALIDATION
from trimtab.training.parts import require_parts
from trimtab.training.position import fingerprint
from trimtab.training.protocol import TrainerState
from trimtab.training.saving import SavedTraining
from trimtab.training.source import ArraySource, Source, StreamSource
from trimtab.training.split import hold_out

Augment: TypeAlias = Callable[..., ArrayLike]
Nan: TypeAlias = Literal["stop", "skip", "ignore"]


@dataclass(frozen=True)
class Request:
    """The arguments of `Trainer.fit`."""

    x: Any
    y: ArrayLike | None
    validation_data: Any
    validation_split: float
    epochs: int
    batch_size: int
    augment: Augment | None
    shuffle: bool
    progress: bool
    resume: str | os.PathLike[str] | None
    nan: Nan
    sample_weight: ArrayLike | None
    class_weight: ClassWeight | None
    accumulate: int
    stratify: bool

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            object.__setattr__(self, name, _checks.whole(f"fit: {name}", getattr(self, name), 1))
        for name in ("shuffle", "progress", "stratify"):
            object.__setattr__(self, name, _checks.flag(f"fit: {name}", getattr(self, name)))
        split = _checks.number("fit: validation_split", self.validation_split)
        object.__setattr__(self, "validation_split", split)
        _checks.one_of("fit: nan", self.nan, get_args(Nan))
        if self.augment is not None and not callable(self.augment):
            raise TypeError(f"fit: augment must be callable, got {_checks.shown(self.augment)}")
        if self.validation_data is not None and split:
            raise ValueError(f"fit: validation_split must be 0 with validation_data, got {split:g}")
        if self.stratify and not split:
            raise ValueError("fit: stratify must be False without validation_split, got True")
        if self.y is None and not is_array_like(self.x):
            self._require_stream()

    @property
    def splits_at_random(self) -> bool:
        """Whether validation data are chosen at random."""
        return self.shuffle and self.validation_split > 0

    def _require_stream(self) -> None:
        """Raise an error if an option needs all samples, which an iterable of batches does not show."""
        if self.class_weight is not None:
            raise ValueError(
                "fit: class_weight must be None with an iterable of batches, "
                f"got {_checks.shown(self.class_weight)}"
            )
        if self.validation_split:
            raise ValueError(
                f"fit: validation_split must be 0 with an iterable of batches, got {self.validation_split:g}"
            )


class Plan(NamedTuple):
    """What a fit will do, checked."""

    source: Source
    validation: Data | PairStream | None
    epochs: int
    accumulate: int
    augment: Augment | None
    nan: Nan
    metric_names: tuple[str, ...]
    callbacks: CallbackList
    saved: SavedTraining | None
    split_seed: int | None

    @property
    def callback_states(self) -> Mapping[str, Mapping[str, Array]]:
        """The saved states of the callbacks by label."""
        return {} if self.saved is None else self.saved.callback_states


def plan_fit(trainer: TrainerState, request: Request) -> Plan:
    """Return the plan of a fit, or raise its errors."""
    require_parts("fit", trainer)
    saved = None if request.resume is None else SavedTraining("fit", request.resume, trainer)
    split_seed = _split_seed(trainer, request, saved)
    source, validation = _read(trainer, request, split_seed)
    source.settings["shards"] = trainer.shards
    progress = [ProgressBar()] if request.progress else []
    called = [item for item in (*trainer.callbacks, *progress) if trainer.ranks.rank == 0 or not item.writes]
    callbacks = CallbackList(called, trainer)
    metric_names = _metric_names(trainer.loss, validation is not None)
    metric_names += tuple(callbacks.measure(metric_names))
    callbacks.check_fit(metric_names, request.epochs, source.steps)
    trainer.optimizer.require_rates()
    if saved is not None:
        saved.require_resumable(metric_names, source.settings)
    return Plan(
        source=source,
        validation=validation,
        epochs=request.epochs,
        accumulate=request.accumulate,
        augment=request.augment,
        nan=request.nan,
        metric_names=metric_names,
        callbacks=callbacks,
        saved=saved,
        split_seed=split_seed,
    )


def _split_seed(trainer: TrainerState, request: Request, saved: SavedTraining | None) -> int | None:
    """Return the seed of the split, once it is drawn the same in every fit; the generator stays as it is."""
    position = trainer.position if saved is None else saved.position
    if position.split_seed is None and request.splits_at_random:
        return int(deepcopy(trainer.rng).integers(2**63))
    return position.split_seed


def _read(
    trainer: TrainerState, request: Request, split_seed: int | None
) -> tuple[Source, Data | PairStream | None]:
    """Return the batches to train on and the validation data, if any."""
    validation = _read_validation(trainer, request)
    data = read_pairs("fit", request.x, request.y, request.sample_weight, passes=request.epochs)
    if isinstance(data, PairStream):
        _require_targets(trainer, data.first, " of batch 0", request.augment)
        return StreamSource(data, request.accumulate, trainer.ranks), validation
    output = _require_targets(trainer, data, "", request.augment)
    labels = _class_labels(trainer.loss, request, data, output)
    settings: dict[str, Any] = {
        "stratify": request.stratify,
        "sample_weight": fingerprint(data.weight),
        "class_weight": None,
    }
    if request.validation_split:
        classes = labels.ids if labels is not None and request.stratify else None
        seed = split_seed if request.splits_at_random else None
        data, validation = hold_out(data, request.validation_split, seed, classes)
        _require_weight("sample_weight", validation, "held out")
        _require_weight("sample_weight", data, "to train on")
    if request.class_weight is not None and labels is not None:
        require_weighted("fit", trainer.loss)
        used = labels if data.rows is None else labels._replace(ids=labels.ids[data.rows])
        factors = class_factors(request.class_weight, used)
        settings["class_weight"] = factors.tolist()
        data = data._replace(weight=weight_by_class(data.weight, factors, labels))
        _require_weight("sample_weight times class_weight", data, "to train on")
    source = ArraySource(data, output.shape[-1], request.batch_size, request.shuffle, request.accumulate)
    source.settings |= settings
    return source, validation


def _require_weight(name: str, data: Data, purpose: str) -> None:
    """Raise an error unless one of the samples counts."""
    if data.weight is None:
        return
    weight = data.weight if data.rows is None else data.weight[data.rows]
    if not weight.any():
        raise ValueError(f"fit: {name} must not be 0 for all samples {purpose}, got {len(weight)} zeros")


def _read_validation(trainer: TrainerState, request: Request) -> Data | PairStream | None:
    """Return the validation data that are given."""
    given, of = request.validation_data, " of validation_data"
    if given is None:
        return None
    if is_list_of_pairs(given) or not (isinstance(given, tuple | list) or is_array_like(given)):
        stream = PairStream("fit", given, of, request.epochs)
        _require_targets(trainer, stream.first, of)
        return stream
    if is_array_like(given) or len(given) not in (2, 3):
        raise TypeError(
            "fit: validation_data must be samples and targets, (x, y) or (x, y, sample_weight), or an "
            f"iterable of such batches, got {described(given)}"
        )
    data = read_data("fit", *given, of=of)
    _require_targets(trainer, data, of)
    return data


def _class_labels(loss: Loss, request: Request, data: Data, output: Array) -> ClassLabels | None:
    """Return the classes of all samples if an option needs them."""
    options = {"class_weight": request.class_weight is not None, "stratify": request.stratify}
    wanted = [name for name, is_wanted in options.items() if is_wanted]
    if not wanted:
        return None
    labels = loss.class_labels(data.targets, output)
    if labels is None:
        raise ValueError(
            f"fit: {wanted[0]} must go with a loss and targets that have classes, "
            f"got {type(loss).__name__} and targets of shape {data.y.shape}"
        )
    return labels


def _metric_names(loss: Loss, has_validation: bool) -> tuple[str, ...]:
    """Return the names of the metrics that each epoch will have."""
    require_metrics("fit", loss)
    names = ("loss", *loss.metrics)
    of_training = tuple(name for name in names if not isinstance(loss.metrics.get(name), Score))
    return of_training + tuple(VALIDATION + name for name in names) if has_validation else of_training


def _require_targets(
    trainer: TrainerState, data: Data | Batch, of: str, augment: Augment | None = None
) -> Array:
    """Return the output of the model for the first sample.

    Raise an error unless the model accepts it, and the loss this output, all targets and their weights.
    """
    sample = as_samples(trainer.model, data.x[:1])
    results: list[tuple[Module, Any]] = []

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        results.append((module, output))

    with evaluation(trainer.model, strict=True), forward_hook(trainer.model, note):
        try:
            output = trainer.model.forward(sample)
        except ValueError:
            if augment is None:
                raise
            # The model may expect the shape that augmentation gives
            output = trainer.model.forward(augmented(sample, augment, deepcopy(trainer.rng)))
    for module, result in results:
        if trainer.loss.takes_logits and result is output and isinstance(module, Softmax | Sigmoid):
            raise ValueError(
                f"fit: model must return logits for {type(trainer.loss).__name__}, which takes the softmax "
                f"or sigmoid itself, got the output of {module!r}"
            )
    trainer.loss.check_targets(f"fit: y{of}", data.y, output)
    if data.weight is not None:
        require_weighted("fit", trainer.loss)
    return output
