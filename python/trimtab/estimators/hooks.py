"""The hooks of callbacks in a fit: of our own, and of scikit-learn's, which 1.9 and later releases have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any

from trimtab._typing import Array
from trimtab.callbacks import Callback
from trimtab.callbacks.dispatch import CallbackList, validating
from trimtab.training.history import History
from trimtab.training.parts import require_callbacks
from trimtab.training.position import Position

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for the class that gives an estimator `set_callbacks`."""


class Rate:
    """What callbacks see in place of an optimizer and its only group: rate and number of steps.

    `schedule` is the name of the rule that sets the rate after each epoch, whatever callbacks did, or "".
    """

    name = "all"

    def __init__(self, solver: Any, schedule: str) -> None:
        self._solver, self.lr_text = solver, schedule

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        rate: float = self._solver.lr
        return rate

    @lr.setter
    def lr(self, rate: float) -> None:
        self._solver.lr = float(rate)

    @property
    def steps(self) -> int:
        """The number of steps done."""
        steps: int = self._solver.steps
        return steps

    def lr_at(self, step: int) -> float:
        """Return the learning rate."""
        return self.lr

    @property
    def groups(self) -> list[Rate]:
        """The only group."""
        return [self]

    @property
    def options(self) -> Rate:
        """The options of the group."""
        return self

    @property
    def constant_lr(self) -> float | None:
        """The learning rate, or None if it follows a schedule."""
        return None if self.lr_text else self.lr


class Trainer:
    """What callbacks see in place of a `trimtab.Trainer`.

    Attributes
    ----------
    model : trimtab.nn.Sequential
    optimizer : Rate
        Its ``lr`` is the learning rate of the next step.
    loss : Objective
    rng : numpy.random.RandomState
    history : History
        The complete epochs of this fit.
    metric_names : tuple of str
        "loss", "learning_rate", and "validation_score" with early stopping.
    """

    def __init__(self, estimator: Any, callbacks: Sequence[Callback], rng: Any) -> None:
        self._callbacks = callbacks
        falls = estimator.solver == "sgd" and estimator.learning_rate == "invscaling"
        self.model = estimator.network_
        self.optimizer = Rate(estimator._solver, estimator.learning_rate if falls else "")
        self.loss, self.rng = estimator._objective, rng
        self.history = History()
        self.metric_names: tuple[str, ...] = ("loss", "learning_rate")
        if estimator.early_stopping:
            self.metric_names += ("validation_score",)
        self.position, self.skipped, self.stopping = Position(), 0, False
        self.running_metrics: dict[str, float] = {}

    def validating(self) -> AbstractContextManager[None]:
        """Let callbacks replace the weights meanwhile, as averages of them do for validation."""
        return validating(self._callbacks, self)  # type: ignore[arg-type]

    def validated_state(self) -> dict[str, Array]:
        """Return the weights that validation uses."""
        with self.validating():
            state: dict[str, Array] = self.model.state_dict()
        return state

    def stop(self) -> None:
        """End the fit after the current epoch."""
        self.stopping = True

    def save(self, path: str | os.PathLike[str]) -> None:
        """Raise an error: estimators are pickled."""
        raise TypeError(f"callbacks: an estimator is saved by pickle or joblib, not to a checkpoint, {path}")


class Hooks:
    """Calls the hooks of the callbacks of an estimator, which are checked at once.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    epochs, batches : int
        The largest number of epochs, and that of batches in each.
    rng : numpy.random.RandomState
    task : mapping
        ``X``, ``y`` and ``metadata`` of the fit, for callbacks of scikit-learn.
    """

    def __init__(self, estimator: Any, epochs: int, batches: int, rng: Any, task: Mapping[str, Any]) -> None:
        self._estimator, self._epochs, self._batches, self._task = estimator, epochs, batches, task
        self._own = list(estimator.callbacks or ())
        require_callbacks(type(estimator).__name__, self._own)
        self.trainer = Trainer(estimator, self._own, rng)
        self._list = CallbackList(self._own, self.trainer)  # type: ignore[arg-type]
        self.trainer.metric_names += tuple(self._list.measure(self.trainer.metric_names))
        self._list.check_fit(self.trainer.metric_names, self._epochs, self._batches)
        self._foreign = bool(getattr(estimator, "_skl_callbacks", ()))
        self._task_of_epoch: Any = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call the hooks of the begin and the end of the fit."""
        root = self._estimator._init_callback_context(max_subtasks=self._epochs) if self._foreign else None
        self._root = root
        if root is not None:
            root.call_on_fit_task_begin(**self._arguments())
        with self._list.running(self._epochs, self._batches):
            try:
                yield
            finally:
                if self._own:  # so that a callback sees whether one before it has replaced the weights
                    self.trainer.position.end_training(self.trainer.model)
        if root is not None:
            root.call_on_fit_task_end(**self._arguments())

    def _arguments(self) -> dict[str, Any]:
        def fitted() -> dict[str, Any]:
            return {"network_": deepcopy(self._estimator.network_)}

        return {"estimator": self._estimator, "reconstruction_attributes": fitted, **self._task}

    def begin_epoch(self, epoch: int) -> None:
        """Call the hooks of the begin of an epoch, which counts from 1."""
        if self._own:
            self.trainer.running_metrics = {}
            self._list.notify("on_epoch_begin", epoch)
        if self._root is not None:
            self._task_of_epoch = self._root.subcontext(task_name="epoch")
            self._task_of_epoch.call_on_fit_task_begin(**self._arguments())

    def batch(self, number: int, train: Callable[[], float]) -> float:
        """Train on a batch, between the hooks of its begin and its end; return the loss."""
        if not self._own:
            return train()
        self._list.notify("on_batch_begin", number)
        loss = train()
        self.trainer.running_metrics = {"loss": loss}
        self._list.notify("on_batch_end", number, self.trainer.running_metrics)
        return loss

    def end_epoch(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Call the hooks of the end of an epoch; return whether a callback asks to end the fit."""
        if self._own:
            logs = {**logs, **self._list.measure(logs)}
            for name, value in logs.items():
                self.trainer.history.setdefault(name, []).append(value)
            self._list.notify("on_epoch_end", epoch, logs)
            self._list.notify("on_checkpoint", epoch, logs)
        if self._task_of_epoch is not None and self._task_of_epoch.call_on_fit_task_end(**self._arguments()):
            self.trainer.stop()
        return self.trainer.stopping
