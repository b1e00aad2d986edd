"""The loop over epochs and batches."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan

from trimtab._batches import Data
from trimtab.callbacks.dispatch import validating
from trimtab.metrics import Mean, Means
from trimtab.training.accumulation import GradientMean
from trimtab.training.evaluation import BATCH_SIZE, evaluate
from trimtab.training.gradients import Gradients
from trimtab.training.history import VALIDATION
from trimtab.training.modes import Modes
from trimtab.training.plan import Plan
from trimtab.training.protocol import TrainerState
from trimtab.training.sharded_gradients import ShardedGradients
from trimtab.training.shared_gradients import SharedGradients
from trimtab.training.source import Steps
from trimtab.training.undo import BatchUndo, undone_on_error


class Loop:
    """Trains from the position of a trainer to the last epoch of a plan, or until the trainer stops."""

    def __init__(self, trainer: TrainerState, plan: Plan, modes: Modes) -> None:
        self._trainer, self._plan, self._modes = trainer, plan, modes
        self._position, self._callbacks = trainer.position, plan.callbacks
        self._buffers = [*trainer.model.buffers().values()]
        self._gradients = _gradients_of(trainer, plan)
        self._mean = GradientMean(trainer.optimizer.parameters) if plan.accumulate > 1 else None

    def run(self) -> None:
        """Finish the hook that the training was saved in, if any, and train."""
        batch_has_begun = self._finish_pending_hook() == "on_batch_begin"
        for epoch in range(self._trainer.history.epochs + 1, self._plan.epochs + 1):
            if self._stops() or not self._train_batches(epoch, batch_has_begun):
                break
            batch_has_begun = False
            self._end_epoch(epoch)

    def _stops(self) -> bool:
        """Whether training ends here: on all ranks, if it was stopped on one of them."""
        trainer = self._trainer
        trainer.stopping = trainer.ranks.any(trainer.stopping)
        return trainer.stopping

    def _finish_pending_hook(self) -> str:
        """Call the hook that the training was saved in, for the callbacks that had not seen it; return it."""
        hook, arguments, labels = self._position.pending or ("", (), [])
        if hook:
            self._callbacks.notify(hook, *arguments, only=labels)
        if hook == "on_epoch_end":
            self._callbacks.notify("on_checkpoint", *arguments)
        return hook

    def _train_batches(self, epoch: int, batch_has_begun: bool) -> bool:
        """Train on the batches that are left of an epoch; return whether it is complete.

        `batch_has_begun` says whether the callbacks have already seen `on_batch_begin` of the first of them.
        """
        for batches in self._begin_epoch(epoch):
            number = self._position.batch
            if self._stops():
                return False
            if not batch_has_begun:
                self._callbacks.notify("on_batch_begin", number)
            batch_has_begun = False
            self._modes.restore_if_changed()
            logs = self._train_step(batches, f"epoch {epoch}, batch {number}")
            self._callbacks.notify("on_batch_end", number, logs)
        return True

    def _begin_epoch(self, epoch: int) -> Steps:
        """Return the steps of an epoch that begins, or continues after a resume."""
        position, rng = self._position, self._trainer.rng
        begins = position.epoch_rng is None
        if begins:
            position.begin_epoch(rng.bit_generator.state)
        steps = self._plan.source.epoch(position, rng, begins=begins)
        if begins:
            self._callbacks.notify("on_epoch_begin", epoch)
        self._gradients.begin_epoch()
        return steps

    def _end_epoch(self, epoch: int) -> None:
        """Evaluate the validation data, record the epoch and tell the callbacks."""
        trainer = self._trainer
        logs = self._position.means.values()
        if self._plan.validation is not None:
            with validating(trainer.callbacks, trainer):
                batches = self._plan.validation.batches(BATCH_SIZE, trainer.ranks.rank, trainer.ranks.size)
                validation = evaluate(trainer.model, trainer.loss, batches, trainer.ranks)
            logs |= {VALIDATION + name: value for name, value in validation.items()}
        logs |= self._callbacks.measure(logs)
        self._position.end_epoch()
        for name, value in logs.items():
            trainer.history.setdefault(name, []).append(value)
        self._callbacks.notify("on_epoch_end", epoch, logs)
        self._callbacks.notify("on_checkpoint", epoch, logs)

    def _train_step(self, batches: Iterable[Data], place: str) -> dict[str, float]:
        """Make one step with the gradients of all batches; return the metrics. Errors name the `place`."""
        trainer, position = self._trainer, self._position
        with undone_on_error(self._buffers, trainer.rng, position) as undo:
            results, fault = self._differentiate(batches, place)
            if self._update(fault, undo):
                for values in results:
                    position.means.add(values)
            else:
                undo.restore_buffers()
                trainer.skipped += 1
                position.means.add(dict.fromkeys(results[0], Mean(nan, 0)))
            position.batch += 1
        return _logs(results)

    def _differentiate(self, batches: Iterable[Data], place: str) -> tuple[list[dict[str, Mean]], str]:
        """Set the gradients to those of the mean over the batches, up to one that has a fault.

        Return the metrics of each batch, and the fault or "".
        """
        mean = self._mean
        results: list[dict[str, Mean]] = []
        fault = ""
        if mean is not None:
            mean.clear()
        for batch in batches:
            values, fault = self._gradients.of(batch, place)
            results.append(values)
            if fault:
                break
            if mean is not None:
                mean.add(values["loss"].weight)
        if mean is not None and not fault:
            mean.write()
        return results, fault

    def _update(self, fault: str, undo: BatchUndo) -> bool:
        """Step the optimizer unless the batch has a fault; return whether the weights have been updated."""
        optimizer = self._trainer.optimizer
        if fault:
            if optimizer.skip_nonfinite:
                optimizer.skipped += 1
            return False
        skipped = optimizer.skipped
        undo.possible = False
        optimizer.step()
        return optimizer.skipped == skipped


def _gradients_of(trainer: TrainerState, plan: Plan) -> Gradients:
    """Return what differentiates the batches of a fit."""
    if trainer.shards is not None:
        return ShardedGradients(trainer, plan)
    return Gradients(trainer, plan) if trainer.ranks.size == 1 else SharedGradients(trainer, plan)


def _logs(results: list[dict[str, Mean]]) -> dict[str, float]:
    """Return the means of the metrics over the batches of a step."""
    if len(results) == 1:
        return {name: float(value) for name, value in results[0].items()}
    means = Means()
    for values in results:
        means.add(values)
    return means.values()
