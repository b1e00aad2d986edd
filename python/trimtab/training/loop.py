"""The loop over epochs and batches."""

from __future__ import annotations

from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.metrics import Mean, measured
from trimtab.training.batches import augmented
from trimtab.training.history import VALIDATION
from trimtab.training.surroundings import Modes, restored_on_error

if TYPE_CHECKING:
    from trimtab.optim import SGD
    from trimtab.trainer import Trainer
    from trimtab.training.plan import Plan


class Loop:
    """Trains from where the position of a trainer is up to the last epoch of a plan, or until it stops."""

    def __init__(self, trainer: Trainer, plan: Plan, modes: Modes) -> None:
        self._trainer, self._plan, self._modes = trainer, plan, modes
        self._position, self._call, self._dtype = trainer.position, plan.callbacks, trainer.dtype
        self._buffers = [*trainer.model.buffers().values()]

    def run(self) -> None:
        """Finish the hook that the training was saved in, and train."""
        hook, arguments, waiting = self._position.pending or ("", (), [])
        if hook:
            self._call(hook, *arguments, waiting=waiting)
        if hook == "on_epoch_end":
            self._call("on_checkpoint", *arguments)
        begun = hook == "on_batch_begin"
        for epoch in range(self._trainer.history.epochs + 1, self._plan.epochs + 1):
            if self._trainer.stopping or not self._train_batches(epoch, begun):
                break
            begun = False
            logs = self._position.means.values()
            if self._plan.validation is not None:
                validation = self._trainer.measure(self._plan.validation)
                logs |= {VALIDATION + name: value for name, value in validation.items()}
            self._position.end_epoch()
            for name, value in logs.items():
                self._trainer.history.setdefault(name, []).append(value)
            self._call("on_epoch_end", epoch, logs)
            self._call("on_checkpoint", epoch, logs)

    def _train_batches(self, epoch: int, begun: bool) -> bool:
        """Train the batches of an epoch that are left; return whether it came to its end.

        The first of them may have `begun`, for the callbacks.
        """
        position, rng, samples = self._position, self._trainer.rng, len(self._plan.data.x)
        first = position.epoch_rng is None
        if first:
            position.begin_epoch(rng.bit_generator.state)
        order = position.order(samples, rng, first=first) if self._plan.shuffle else np.arange(samples)
        if first:
            self._call("on_epoch_begin", epoch)
        for batch in range(position.batch, len(self._plan.batches)):
            if self._trainer.stopping:
                return False
            if not begun:
                self._call("on_batch_begin", batch)
            begun = False
            self._modes.ensure()
            logs = self._train_batch(order[self._plan.batches[batch]], f"epoch {epoch}, batch {batch}")
            self._call("on_batch_end", batch, logs)
        return True

    def _train_batch(self, chosen: Array, place: str) -> dict[str, float]:
        """Train on some samples; return the metrics."""
        trainer, position, plan = self._trainer, self._position, self._plan
        model, optimizer = trainer.model, trainer.optimizer
        with restored_on_error(self._buffers, trainer.rng, position) as undo:
            samples = plan.data.x.take(chosen, axis=0).astype(self._dtype, copy=False)
            if plan.augment is not None:
                samples = augmented(samples, plan.augment, trainer.rng)
            output, targets = model.forward(samples), plan.data.y.take(chosen, axis=0)
            values, gradient = measured("fit", trainer.loss, output, targets)
            fault = self._fault_of_loss(values["loss"])
            if not fault:
                model.backward(gradient)
                fault = self._fault_of_gradients()
            if fault and plan.nan == "stop" and not optimizer.skip_nonfinite:
                raise FloatingPointError(_message(fault, place, samples, targets))
            skipped = optimizer.skipped
            if not fault:
                undo.possible = False
                optimizer.step()
            elif optimizer.skip_nonfinite:
                optimizer.skipped += 1
            if fault or optimizer.skipped > skipped:
                undo.buffers()
                trainer.skipped += 1
                position.means.add(dict.fromkeys(values, Mean(nan, 0)))
            else:
                position.means.add(values)
            position.batch += 1
        return {name: float(value) for name, value in values.items()}

    def _fault_of_loss(self, loss: float) -> str:
        if self._plan.nan == "ignore" or isfinite(loss):
            return ""
        return f"loss must be finite, got {float(loss)}"

    def _fault_of_gradients(self) -> str:
        optimizer = self._trainer.optimizer
        if self._plan.nan == "ignore" or optimizer.skip_nonfinite or have_finite_gradients(optimizer):
            return ""
        return "gradients must be finite, got NaN or Inf"


def have_finite_gradients(optimizer: SGD) -> bool:
    """Whether no gradient of the optimizer's parameters has a NaN or Inf."""
    by_dtype: dict[Any, list[Array]] = {}
    for parameter in optimizer.parameters:
        by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    # No norm is longer than infinity, so nothing is clipped
    return all(isfinite(kernels.clip_grad_norm(gradients, np.inf)) for gradients in by_dtype.values())


def _message(fault: str, place: str, samples: Array, targets: Array) -> str:
    advice = "try a lower learning rate or max_grad_norm"
    for kind, array in (("targets", targets), ("samples", samples)):
        if not np.isfinite(array).all():
            advice = f"its {kind} have NaN or Inf"
    return f"fit: {fault} in {place}: {advice}; nan='skip' leaves such batches out"
