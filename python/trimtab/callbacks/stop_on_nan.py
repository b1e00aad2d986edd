"""Ends training when the loss is not finite."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import numpy as np

from trimtab import _checks
from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike
from trimtab.nn.options import Option


class StopOnNaN(Callback):
    """Ends training, without an error, once the losses of some batches in a row are NaN or infinite.

    It goes with ``fit(..., nan="ignore")`` and ``nan="skip"``, where batches that were skipped count, too.
    By default `Trainer.fit` raises an error at the first such batch, before this callback sees it.

    Parameters
    ----------
    patience : int
        Number of batches in a row that end training, >= 1.

    Attributes
    ----------
    wait : int
        Number of such batches in a row so far.
    stopped_epoch : int
        The epoch in which this callback ended training; 0 if there is none.

    Examples
    --------
    >>> from trimtab import callbacks
    >>> callbacks.StopOnNaN(patience=3).patience
    3
    """

    patience = Option(_checks.whole, 1)

    def __init__(self, patience: int = 1) -> None:
        self.patience = patience
        self.wait = self.stopped_epoch = self._skipped = 0

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Reset the counters."""
        self.wait = self.stopped_epoch = self._skipped = 0

    def on_batch_end(self, trainer: TrainerLike, batch: int, logs: Mapping[str, float]) -> None:
        """End training if there were too many batches in a row whose loss is not finite, or were skipped."""
        skipped, self._skipped = trainer.skipped > self._skipped, trainer.skipped
        self.wait = self.wait + 1 if skipped or not isfinite(logs["loss"]) else 0
        if self.wait >= self.patience:
            self.stopped_epoch = trainer.history.epochs + 1
            trainer.stop()

    def state_dict(self) -> dict[str, Array]:
        """Return the counters."""
        return {"wait": np.array(self.wait), "stopped_epoch": np.array(self.stopped_epoch)}

    def on_resume(self, trainer: TrainerLike, state: Mapping[str, Array]) -> None:
        """Restore the counters; a training that this callback had ended stays ended."""
        self.wait, self.stopped_epoch = int(state["wait"]), int(state["stopped_epoch"])
        if self.stopped_epoch:
            trainer.stop()
