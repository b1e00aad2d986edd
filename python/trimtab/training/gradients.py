"""The gradients of a batch."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import trimtab._core as kernels
from trimtab._batches import Batch, Data
from trimtab._inputs import is_real
from trimtab._typing import Array
from trimtab.distributed.part import Part
from trimtab.metrics import Mean, Means
from trimtab.nn.arguments import as_samples
from trimtab.nn.dtypes import compute_dtype
from trimtab.nn.module import Module
from trimtab.nn.parameter import Parameter
from trimtab.optim import Optimizer
from trimtab.training.augmentation import augmented
from trimtab.training.evaluation import evaluate_part
from trimtab.training.protocol import TrainerState

if TYPE_CHECKING:
    from trimtab.training.plan import Plan

EVERYTHING = slice(None)


class Outcome(NamedTuple):
    """The metrics of a batch, and the fault that leaves it without gradients, or ""."""

    values: dict[str, Mean]
    fault: str


class Gradients:
    """Sets the gradients of a trainer's parameters to those of a batch."""

    def __init__(self, trainer: TrainerState, plan: Plan) -> None:
        self._trainer, self._plan = trainer, plan
        self._dtypes: dict[np.dtype[Any], np.dtype[Any]] = {}

    def begin_epoch(self) -> None:
        """Prepare for the batches of an epoch, after callbacks have seen its beginning."""

    def of(self, data: Data, place: str) -> Outcome:
        """Differentiate the loss of a batch; errors name the `place`."""
        batch = self._prepared(data.take(EVERYTHING), self._trainer.rng)
        return self._checked(self._passed(self._trainer.model, batch, self._trainer.ranks), place, [batch])

    def _prepared(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Return a batch with samples in the dtype of the model, augmented."""
        given = batch.x
        if given.dtype not in self._dtypes:  # looking at all layers takes as long as a small one
            self._dtypes[given.dtype] = as_samples(self._trainer.model, given[:0]).dtype
        samples, augment = given.astype(self._dtypes[given.dtype], copy=False), self._plan.augment
        if augment is not None:
            samples = augmented(samples, augment, rng)
        return batch._replace(x=samples)

    def _passed(self, model: Module, batch: Batch, part: Part) -> Outcome:
        """Let a part of the batch pass forward, and backward unless the loss of the whole has a fault."""
        output = model.forward(batch.x)
        own, gradient = evaluate_part("fit", self._trainer.loss, output, batch)
        values = _combined(own, part)
        fault = self._fault_of_loss(values["loss"])
        if not fault:
            model.backward(_shared(gradient, own["loss"].weight, values["loss"].weight))
        return Outcome(values, fault)

    def _checked(self, outcome: Outcome, place: str, batches: list[Batch]) -> Outcome:
        """Return the outcome with any fault of the gradients; raise it if training is to stop."""
        fault = outcome.fault or self._fault_of_gradients()
        if fault and self._plan.nan == "stop" and not self._trainer.optimizer.skip_nonfinite:
            raise FloatingPointError(self._message(fault, place, batches))
        return outcome._replace(fault=fault)

    def _fault_of_loss(self, loss: float) -> str:
        if self._plan.nan == "ignore" or isfinite(loss):
            return ""
        return f"loss must be finite, got {float(loss)}"

    def _fault_of_gradients(self) -> str:
        optimizer = self._trainer.optimizer
        if self._plan.nan == "ignore" or optimizer.skip_nonfinite or have_finite_gradients(optimizer):
            return ""
        return "gradients must be finite, got NaN or Inf"

    def _message(self, fault: str, place: str, batches: list[Batch]) -> str:
        advice = "try a lower learning rate or max_grad_norm"
        for kind in ("targets", "samples"):
            arrays = [batch.y if kind == "targets" else batch.x for batch in batches]
            if self._trainer.ranks.any(any(map(_has_nonfinite, arrays))):
                advice = f"its {kind} have NaN or Inf"
        return f"fit: {fault} in {place}: {advice}; nan='skip' leaves such batches out"


def have_finite_gradients(optimizer: Optimizer) -> bool:
    """Whether no gradient of the optimizer's parameters has a NaN or Inf."""
    groups = ([item.grad for item in members] for members in by_dtype(optimizer.parameters))
    # With an infinite bound, the norm is computed and nothing is clipped
    return all(isfinite(kernels.clip_grad_norm(gradients, np.inf)) for gradients in groups)


def _combined(own: dict[str, Mean], part: Part) -> dict[str, Mean]:
    """Return the metrics of the batch from those of a part of it, in the order of the parts."""
    parts = part.gather(np.array([(value, value.weight) for value in own.values()]))
    if len(parts) == 1:
        return own
    means = Means()
    for values in parts:
        means.add({name: Mean(*value) for name, value in zip(own, values, strict=True)})
    return {name: Mean(value, means.sums[name][1]) for name, value in means.values().items()}


def _shared(gradient: Array, weight: float, total: float) -> Array:
    """Return the gradient of the mean over a part as its share of that over the batch."""
    if weight == total:
        return gradient
    return np.multiply(gradient, weight / total, dtype=compute_dtype(gradient)).astype(
        gradient.dtype, copy=False
    )


def by_dtype(parameters: list[Parameter]) -> list[list[Parameter]]:
    """Return the parameters in groups of one dtype."""
    groups: dict[Any, list[Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.grad.dtype, []).append(parameter)
    return [*groups.values()]


def _has_nonfinite(array: Array) -> bool:
    return is_real(array.dtype) and not np.isfinite(array).all()
