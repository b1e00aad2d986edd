"""The history of a training as a table in a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab._inputs import path_text, require_writable
from trimtab.callbacks.base import Callback

if TYPE_CHECKING:
    from trimtab.trainer import Trainer


class CSVLogger(Callback):
    """Writes the metrics of each epoch to a comma-separated file, readable at any time.

    The columns are ``epoch`` and the metrics, their digits enough to give the same float64 back. A resumed
    training writes the epochs it has behind it first, so that the file is always its whole history.

    Parameters
    ----------
    path : path_like
        File to write, in an existing folder; overwritten when the first epoch begins.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        Before training, if the file could not be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path_text("CSVLogger: path", path))
        self._columns: list[str] = []
        self._written = -1  # epochs in the file; -1: it is still that of an earlier training

    def check_fit(self, trainer: Trainer, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Find out whether the file can be written."""
        require_writable("CSVLogger: path", self.path)

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Take the names of the columns; the file is left alone as long as another callback may fail."""
        self._columns = list(trainer.metric_names)
        self._written = -1

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Write the header and the epochs done, if that has not been."""
        self._begin(trainer)

    def on_batch_begin(self, trainer: Trainer, batch: int) -> None:
        """Do so where training goes on in the middle of an epoch."""
        self._begin(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Append the epoch."""
        self._begin(trainer)
        if epoch > self._written:
            self._write("a", [[epoch, *(logs[name] for name in self._columns)]])
            self._written = epoch

    def _begin(self, trainer: Trainer) -> None:
        if self._written >= 0:
            return
        done = [*zip(*(trainer.history.get(name, []) for name in self._columns), strict=True)]
        self._write("w", [["epoch", *self._columns], *([epoch, *row] for epoch, row in enumerate(done, 1))])
        self._written = len(done)

    def _write(self, mode: str, rows: list[list[object]]) -> None:
        with open(self.path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
