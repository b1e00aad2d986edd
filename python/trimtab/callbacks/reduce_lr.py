"""Reduces learning rates when a metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trimtab import _checks
from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.monitor import Monitor
from trimtab.callbacks.protocol import TrainerLike
from trimtab.nn.options import Option

COUNTERS = ("wait", "cooling", "reductions")


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rates of all groups by a factor once a metric has not improved for some epochs.

    An epoch improves if its value is better than every earlier value by more than `min_delta` and by more
    than the share `threshold` of it; NaN never is. After the `patience`-th epoch in a row that does not
    improve, the rates are reduced, and the count starts again.

    It changes rates that are numbers. A group that follows a schedule is refused, because the schedule and
    the callback would contradict each other.

    Parameters
    ----------
    monitor : str
        Name of the metric.
    factor : float
        Factor of the rates, 0 < factor < 1.
    patience : int
        Number of epochs in a row without improvement, >= 0; 0 is the same as 1. It is that of Keras; PyTorch
        reduces after one epoch more.
    mode : {"auto", "min", "max"}
        Whether smaller or larger values are better: see `Monitor`.
    min_delta : float
        The amount by which a value must be better, >= 0.
    threshold : float
        The share of the best value by which a value must be better, >= 0, as PyTorch's ``threshold``; 0 by
        default.
    cooldown : int
        Number of epochs after a reduction that do not count as epochs without improvement, >= 0.
    min_lr : float
        Rates are not reduced below it, >= 0; a rate that is smaller already stays.

    Attributes
    ----------
    best : float
        The best value so far.
    wait, cooling, reductions : int
        Number of epochs without improvement so far, of epochs of the cooldown to come, and of reductions.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong kind or out of range; before training, if there is no such metric or a
        group follows a schedule.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import Trainer, callbacks, losses, nn, optim
    >>> x = np.random.default_rng(0).standard_normal((64, 2), dtype=np.float32)
    >>> model = nn.Linear(2, 2, rng=0)
    >>> callback = callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0)
    >>> trainer = Trainer(model, losses.CrossEntropy(), optim.SGD(model, lr=0.1), [callback], rng=0)
    >>> history = trainer.fit(x, (x[:, 0] > 0).astype(int), epochs=5, progress=False)
    >>> trainer.optimizer.lr
    0.00625
    """

    factor = Option(_checks.number, above=0, below=1)
    patience = Option(_checks.whole, 0)
    cooldown = Option(_checks.whole, 0)
    min_lr = Option(_checks.number, 0)

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        threshold: float = 0.0,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        self._monitor = Monitor("ReduceLROnPlateau", monitor, mode, min_delta, threshold)
        self.factor, self.patience, self.cooldown, self.min_lr = factor, patience, cooldown, min_lr
        self._reset()

    def _reset(self) -> None:
        self._monitor.reset()
        self.wait = self.cooling = self.reductions = 0

    @property
    def best(self) -> float:
        """The best value so far."""
        return self._monitor.best

    @property
    def identity(self) -> str:
        """The name, or the class, the metric and its mode."""
        return self.name or self._monitor.identity

    def check_fit(self, trainer: TrainerLike, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error unless the training has the metric and all rates are numbers."""
        self._monitor.require(metric_names)
        _require_numbers(trainer)

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Reset the best value and the counters."""
        _require_numbers(trainer)  # of a checkpoint, if training resumes
        self._reset()

    def on_epoch_end(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Compare the epoch with the best one; reduce the rates if there was no improvement for too long."""
        improved, cooling = self._monitor.improves(logs[self._monitor.name]), self.cooling > 0
        self.wait = 0 if improved or cooling else self.wait + 1
        self.cooling -= cooling
        if self.wait and self.wait >= self.patience:
            _require_numbers(trainer)
            for group in trainer.optimizer.groups:
                group.lr = min(group.lr, max(group.lr * self.factor, self.min_lr))
            self.wait, self.cooling = 0, self.cooldown
            self.reductions += 1

    def state_dict(self) -> dict[str, Array]:
        """Return the best value and the counters; the rates are those of the optimizer."""
        counters = {name: np.array(getattr(self, name)) for name in COUNTERS}
        return {"best": np.array(self.best, np.float64)} | counters

    def on_resume(self, trainer: TrainerLike, state: Mapping[str, Array]) -> None:
        """Restore the state."""
        self._monitor.best = float(state["best"])
        for name in COUNTERS:
            setattr(self, name, int(state[name]))


def _require_numbers(trainer: TrainerLike) -> None:
    """Raise a ValueError if a group of the optimizer follows a schedule."""
    for group in trainer.optimizer.groups:
        if group.options.constant_lr is None:
            raise ValueError(
                "ReduceLROnPlateau: optimizer must have numbers as learning rates, "
                f"got the schedule {group.lr_text} in group {group.name!r}"
            )
