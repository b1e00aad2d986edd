"""The history of a training as a table in a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

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
        File to write; overwritten when training begins.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Write the header and the epochs done."""
        self._columns = list(trainer.metric_names)
        done = zip(*(trainer.history.get(name, []) for name in self._columns), strict=True)
        self._write("w", [["epoch", *self._columns], *([epoch, *row] for epoch, row in enumerate(done, 1))])

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Append the epoch."""
        self._write("a", [[epoch, *(logs[name] for name in self._columns)]])

    def _write(self, mode: str, rows: list[list[object]]) -> None:
        with open(self.path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
