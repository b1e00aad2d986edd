"""Writes metrics for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab import _checks, extras
from trimtab._inputs import path_text
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike
from trimtab.nn.options import Option, optional

EXTRA = "tensorboard"
VALIDATION = "val_"


class TensorBoard(Callback):
    """Writes the metrics of each epoch for TensorBoard, with tensorboardX.

    A metric is written as ``<metric>/training`` and ``<metric>/validation`` at each epoch, both in one group
    of plots. A resumed training replaces what was written after the point at which it resumes.

    Parameters
    ----------
    folder : path_like
        Where the event files of this training are written; made if it does not exist.
    every_batches : int, optional
        Also write the metrics of every so many batches, >= 1, as ``<metric>/batch`` at the number of updates.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong kind or out of range; before training, if the folder cannot be written.
    MissingExtra
        Before training, if tensorboardX is not installed.
    """

    writes = True

    every_batches = Option(optional, _checks.whole, 1)

    def __init__(self, folder: str | os.PathLike[str], every_batches: int | None = None) -> None:
        self.folder = path_text("TensorBoard: folder", folder)
        self.every_batches = every_batches
        self._writer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_writer": None}  # a copy writes files of its own

    def check_fit(self, trainer: TrainerLike, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error unless event files can be written."""
        extras.load("tensorboardX", EXTRA)
        existing = os.path.abspath(self.folder)
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
            raise ValueError(f"TensorBoard: folder must be writable, got {self.folder!r}")

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Open the files."""
        done = trainer.history.epochs
        purge = {"purge_step": done + 1} if done else {}
        self._writer = extras.load("tensorboardX", EXTRA).SummaryWriter(self.folder, **purge)

    def on_batch_end(self, trainer: TrainerLike, batch: int, logs: Mapping[str, float]) -> None:
        """Write the metrics of the batch if it is its turn."""
        if self.every_batches is not None and (batch + 1) % self.every_batches == 0:
            for name, value in logs.items():
                self._writer.add_scalar(f"{name}/batch", value, trainer.optimizer.steps)

    def on_epoch_end(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Write the metrics of the epoch."""
        for name, value in logs.items():
            part = "validation" if name.startswith(VALIDATION) else "training"
            self._writer.add_scalar(f"{name.removeprefix(VALIDATION)}/{part}", value, epoch)
        self._writer.flush()

    def on_fit_end(self, trainer: TrainerLike) -> None:
        """Close the files."""
        writer, self._writer = self._writer, None
        writer.close()
