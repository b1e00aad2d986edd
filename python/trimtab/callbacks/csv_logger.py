"""Writes the history of a training to a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from trimtab._inputs import path_text, require_writable
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike


class CSVLogger(Callback):
    """Writes the metrics of each epoch to a comma-separated file, complete after every epoch.

    The columns are ``epoch`` and the metrics, with enough digits to restore the same float64. A resumed
    training writes its earlier epochs first: the file always has the whole history.

    Parameters
    ----------
    path : path_like
        File to write, in an existing folder; replaced when the first epoch begins.

    Raises
    ------
    TypeError
        If `path` is not a path.
    ValueError
        Before training, if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path_text("CSVLogger: path", path))
        self._columns: list[str] = []
        self._written = -1  # number of epochs in the file; -1 if it is not yet the file of this training

    def check_fit(self, trainer: TrainerLike, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error unless the file can be written."""
        require_writable("CSVLogger: path", self.path)

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Note the columns. The file stays as it is, since another callback may still fail."""
        self._columns = list(trainer.metric_names)
        self._written = -1

    def on_epoch_begin(self, trainer: TrainerLike, epoch: int) -> None:
        """Write the header and the earlier epochs, if this has not been done."""
        self._write_header_once(trainer)

    def on_batch_begin(self, trainer: TrainerLike, batch: int) -> None:
        """Do the same if training resumes in the middle of an epoch."""
        self._write_header_once(trainer)

    def on_epoch_end(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Append the epoch."""
        self._write_header_once(trainer)
        if epoch > self._written:
            self._write("a", [[epoch, *(logs[name] for name in self._columns)]])
            self._written = epoch

    def _write_header_once(self, trainer: TrainerLike) -> None:
        if self._written >= 0:
            return
        done = [*zip(*(trainer.history.get(name, []) for name in self._columns), strict=True)]
        self._write("w", [["epoch", *self._columns], *([epoch, *row] for epoch, row in enumerate(done, 1))])
        self._written = len(done)

    def _write(self, mode: str, rows: list[list[object]]) -> None:
        with open(self.path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
