"""Ends training when a metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trimtab import _checks
from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.monitor import Monitor
from trimtab.callbacks.protocol import TrainerLike
from trimtab.nn.options import Option, optional

COUNTERS = ("wait", "best_epoch", "stopped_epoch")
WEIGHTS = "weights."


class EarlyStopping(Callback):
    """Ends training once a metric has not improved for some epochs (Prechelt 1998).

    An epoch improves if its value is better than every earlier value by more than `min_delta`; NaN never is.
    Training ends after the `patience`-th epoch in a row that does not improve. The theory of when to stop is
    in `trimtab.early_stopping_theory`.

    Parameters
    ----------
    monitor : str
        Name of the metric.
    min_delta : float
        The amount by which a value must be better to count as an improvement, >= 0.
    patience : float
        Number of epochs in a row without improvement that end training. 0 is the same as 1.
    mode : {"auto", "min", "max"}
        Whether smaller or larger values are better: see `Monitor`.
    baseline : float, optional
        A value to beat by more than `min_delta`. Until it is beaten, epochs that improve also count as
        epochs without improvement, but training does not end at one of them.
    restore_best_weights : bool
        Whether the model gets the parameters and buffers of the best epoch when training ends: by this
        callback, after the last epoch, by Ctrl-C or by an error. If no epoch has improved, it keeps the last
        ones.
    start_from_epoch : float
        Number of epochs to ignore at the start.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch, stopped_epoch : int
        The epoch of the best value, and the epoch after which this callback ended training; 0 if there is
        none.
    wait : int
        Number of epochs without improvement so far.

    Raises
    ------
    ValueError
        If an option is out of range; before training, if there is no such metric.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import Trainer, callbacks, losses, nn, optim
    >>> x = np.random.default_rng(0).standard_normal((64, 2), dtype=np.float32)
    >>> model = nn.Linear(2, 2, rng=0)
    >>> callback = callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    >>> trainer = Trainer(model, losses.CrossEntropy(), optim.SGD(model, lr=0.1), [callback], rng=0)
    >>> history = trainer.fit(x, (x[:, 0] > 0).astype(int), validation_split=0.25, epochs=50, progress=False)
    >>> history.epochs <= 50 and callback.best == min(history["val_loss"])
    True
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
        self._reset()

    def _reset(self) -> None:
        self._monitor.reset()
        self.wait = self.best_epoch = self.stopped_epoch = 0
        self._weights: dict[str, Array] = {}

    @property
    def monitor(self) -> str:
        """Name of the metric."""
        return self._monitor.name

    @property
    def mode(self) -> str:
        """Whether smaller or larger values are better: "min" or "max"."""
        return self._monitor.mode

    @property
    def min_delta(self) -> float:
        """The amount by which a value must be better."""
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
        """The name, or the class, the metric and its mode."""
        return self.name or self._monitor.identity

    def check_fit(self, trainer: TrainerLike, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error unless the training has the metric."""
        self._monitor.require(metric_names)

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Reset the best value and the counters."""
        self._reset()

    def on_epoch_end(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Compare the epoch with the best one; end training if there was no improvement for too long."""
        if epoch <= self.start_from_epoch:
            return
        value = logs[self._monitor.name]
        improved = self._monitor.improves(value)
        if improved:
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._weights = trainer.validated_state()
        restarts = improved and (self.baseline is None or self._monitor.beats(value, self.baseline))
        self.wait = 0 if restarts else self.wait + 1
        if not improved and self.wait >= self.patience:
            self.stopped_epoch = epoch
            trainer.stop()

    def on_fit_end(self, trainer: TrainerLike) -> None:
        """Restore the best weights."""
        if self._weights:
            trainer.model.load_state_dict(self._weights)
            self._weights = {}

    def state_dict(self) -> dict[str, Array]:
        """Return the best value, the best weights and the counters."""
        counters = {name: np.array(getattr(self, name)) for name in COUNTERS}
        weights = {WEIGHTS + name: array for name, array in self._weights.items()}
        return {"best": np.array(self.best, np.float64)} | counters | weights

    def on_resume(self, trainer: TrainerLike, state: Mapping[str, Array]) -> None:
        """Restore the state; a training that this callback had ended stays ended."""
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
