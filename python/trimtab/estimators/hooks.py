"""The hooks of callbacks in a fit: of our own, and of scikit-learn's, which 1.9 and later releases have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from trimtab.callbacks.dispatch import CallbackList
from trimtab.training.history import History
from trimtab.training.parts import require_callbacks
from trimtab.training.position import Position

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for the class that gives an estimator `set_callbacks`."""


class Trainer:
    """What callbacks see in place of a `trimtab.Trainer`.

    Attributes
    ----------
    model : trimtab.nn.Sequential
    optimizer : Solver
        Its ``lr`` is the learning rate of the next step.
    loss : Objective
    rng : numpy.random.RandomState
    history : History
        The complete epochs of this fit.
    metric_names : tuple of str
        "loss", "learning_rate", and "validation_score" with early stopping.
    """

    def __init__(self, estimator: Any, rng: Any) -> None:
        self.model, self.optimizer = estimator.network_, estimator._solver
        self.loss, self.rng = estimator._objective, rng
        self.history = History()
        self.metric_names: tuple[str, ...] = ("loss", "learning_rate")
        if estimator.early_stopping:
            self.metric_names += ("validation_score",)
        self.position, self.skipped, self.stopping = Position(), 0, False
        self.running_metrics: dict[str, float] = {}

    def stop(self) -> None:
        """End the fit after the current epoch."""
        self.stopping = True

    def save(self, path: str | os.PathLike[str]) -> None:
        """Raise an error: estimators are pickled."""
        raise TypeError(f"callbacks: an estimator is saved by pickle or joblib, not to a checkpoint, {path}")


class Hooks:
    """Calls the hooks of the callbacks of an estimator.

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
        self.trainer = Trainer(estimator, rng)
        self._list = CallbackList(self._own, self.trainer)  # type: ignore[arg-type]
        self._foreign = bool(getattr(estimator, "_skl_callbacks", ()))
        self._task_of_epoch: Any = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call the hooks of the begin and the end of the fit."""
        self._list.check_fit(self.trainer.metric_names, self._epochs, self._batches)
        root = self._estimator._init_callback_context(max_subtasks=self._epochs) if self._foreign else None
        self._root = root
        if root is not None:
            root.call_on_fit_task_begin(**self._arguments())
        with self._list.running(self._epochs, self._batches):
            yield
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
            for name, value in logs.items():
                self.trainer.history.setdefault(name, []).append(value)
            self._list.notify("on_epoch_end", epoch, logs)
            self._list.notify("on_checkpoint", epoch, logs)
        if self._task_of_epoch is not None and self._task_of_epoch.call_on_fit_task_end(**self._arguments()):
            self.trainer.stop()
        return self.trainer.stopping
