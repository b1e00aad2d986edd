"""Ending training when it has stopped to help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trimtab import _checks
from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.monitor import Monitor
from trimtab.nn.options import Option, optional

if TYPE_CHECKING:
    from trimtab.trainer import Trainer

COUNTERS = ("wait", "best_epoch", "stopped_epoch")
WEIGHTS = "weights."


class EarlyStopping(Callback):
    """Ends training once a metric has not become better for some epochs (Prechelt 1998).

    An epoch improves if its value is better than every value before it by more than `min_delta`; NaN never
    is. Training ends after an epoch that does not improve, the `patience`-th since the last that did.

    Parameters
    ----------
    monitor : str
        Name of the metric.
    min_delta : float
        What a value must be better by to count as an improvement, >= 0.
    patience : float
        Number of epochs in a row without improvement that end training. 0 is as 1: the first one does.
    mode : {"auto", "min", "max"}
        Which values are better: see `Monitor`.
    baseline : float, optional
        A value to beat, by more than `min_delta`: until then epochs that improve count as waiting, too,
        though training never ends at one.
    restore_best_weights : bool
        Whether the model gets the parameters and buffers of the best epoch back when training ends, however
        it ends: by this callback, after the last epoch, by Ctrl-C or an error. Where no epoch has been an
        improvement, it keeps those of the end.
    start_from_epoch : float
        Number of first epochs that are ignored.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch, stopped_epoch : int
        When it was reached, and when training was ended; 0 where that has not happened.
    wait : int
        Number of epochs without improvement up to now.

    Raises
    ------
    ValueError
        If an option is out of range; when training begins, if there is no such metric.
    """

    patience = Option(_checks.number, 0)
    baseline = Option(optional, _checks.number)
    restore_best_weights = Option(_checks.flag)
    start_from_epoch = Option(_checks.number, 0)

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: float = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: float = 0,
    ) -> None:
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience, self.baseline = patience, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self._begin()

    def _begin(self) -> None:
        self._monitor.reset()
        self.wait = self.best_epoch = self.stopped_epoch = 0
        self._weights: dict[str, Array] = {}

    @property
    def monitor(self) -> str:
        """Name of the metric."""
        return self._monitor.name

    @property
    def mode(self) -> str:
        """Which values are better, "min" or "max"."""
        return self._monitor.mode

    @property
    def min_delta(self) -> float:
        """What a value must be better by."""
        return self._monitor.min_delta

    @min_delta.setter
    def min_delta(self, min_delta: float) -> None:
        self._monitor.min_delta = _checks.number("EarlyStopping: min_delta", min_delta, 0)

    @property
    def best(self) -> float:
        """The best value so far."""
        return self._monitor.best

    @property
    def identity(self) -> str:
        """The name, or the kind, the metric and its mode."""
        return self.name or self._monitor.identity

    def check_fit(self, trainer: Trainer, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Refuse a metric that there is not going to be."""
        self._monitor.require(metric_names)

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Begin anew."""
        self._begin()

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Compare the epoch with the best one, and end training if that was too long ago."""
        if epoch <= self.start_from_epoch:
            return
        value = logs[self._monitor.name]
        improved = self._monitor.improves(value)
        if improved:
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._weights = trainer.model.state_dict()
        restarts = improved and (self.baseline is None or self._monitor.beats(value, self.baseline))
        self.wait = 0 if restarts else self.wait + 1
        if not improved and self.wait >= self.patience:
            self.stopped_epoch = epoch
            trainer.stop()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Give the model the best weights."""
        if self._weights:
            trainer.model.load_state_dict(self._weights)
            self._weights = {}

    def state_dict(self) -> dict[str, Array]:
        """Return the best value and weights and the counters."""
        counters = {name: np.array(getattr(self, name)) for name in COUNTERS}
        weights = {WEIGHTS + name: array for name, array in self._weights.items()}
        return {"best": np.array(self.best, np.float64)} | counters | weights

    def on_resume(self, trainer: Trainer, state: Mapping[str, Array]) -> None:
        """Go on waiting; a training that had been ended stays so."""
        self._monitor.best = float(state["best"])
        for name in COUNTERS:
            setattr(self, name, int(state[name]))
        self._weights = {
            name.removeprefix(WEIGHTS): np.array(array)
            for name, array in state.items()
            if name.startswith(WEIGHTS)
        }
        if self.stopped_epoch:
            trainer.stop()
