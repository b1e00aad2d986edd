"""Writes the history of a training to a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trimtab import _checks
from trimtab._files import replaced, require_replaceable
from trimtab._inputs import path_text
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike
from trimtab.nn.options import Option


class CSVLogger(Callback):
    """Writes the metrics of each epoch to a comma-separated file, complete after every epoch.

    The columns are ``epoch`` and the metrics, with enough digits to restore the same float64. A resumed
    training writes its earlier epochs first: the file always has the whole history. It is replaced as a
    whole, so that a crash at that moment leaves the old file.

    Parameters
    ----------
    path : path_like
        File to write, in an existing folder; replaced when the first epoch begins.
    append : bool
        Whether to keep the rows of earlier trainings in the file and write below them. Each training begins
        with epoch 1; a resumed one goes on in its own rows.

    Raises
    ------
    TypeError
        If `path` is not a path.
    ValueError
        Before training, if the file cannot be written, or `append` finds other columns in it.

    Examples
    --------
    >>> import numpy as np
    >>> import pathlib, tempfile
    >>> from trimtab import Trainer, callbacks, losses, nn, optim
    >>> x = np.random.default_rng(0).standard_normal((64, 2), dtype=np.float32)
    >>> model = nn.Linear(2, 2, rng=0)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> log = callbacks.CSVLogger(path)
    >>> trainer = Trainer(model, losses.CrossEntropy(), optim.SGD(model, lr=0.1), [log], rng=0)
    >>> history = trainer.fit(x, (x[:, 0] > 0).astype(int), epochs=5, progress=False)
    >>> path.read_text().splitlines()[0]
    'epoch,loss,accuracy'
    """

    writes = True

    append = Option(_checks.flag)

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = Path(path_text("CSVLogger: path", path))
        self.append = append
        self._columns: list[str] = []
        self._written = -1  # number of epochs in the file; -1 if it is not yet the file of this training

    def check_fit(self, trainer: TrainerLike, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error unless the file can be written, with these columns if it is continued."""
        require_replaceable("CSVLogger: path", self.path)
        if rows := self._read_rows():
            columns = ["epoch", *metric_names]
            if rows[0] != columns:
                raise ValueError(
                    f"CSVLogger: path must have the columns {', '.join(columns)}, "
                    f"got {', '.join(rows[0])} in {os.fspath(self.path)!r}"
                )

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
            _write(self.path, "a", [[epoch, *(logs[name] for name in self._columns)]])
            self._written = epoch

    def _write_header_once(self, trainer: TrainerLike) -> None:
        if self._written >= 0:
            return
        done = [*zip(*(trainer.history.get(name, []) for name in self._columns), strict=True)]
        own = [[str(cell) for cell in (epoch, *row)] for epoch, row in enumerate(done, 1)]
        earlier = self._read_rows() or [["epoch", *self._columns]]
        with replaced(self.path) as path:
            _write(path, "w", [*_without_own(earlier, own), *own])
        self._written = len(done)

    def _read_rows(self) -> list[list[str]]:
        """Return the rows to keep, the header first; none if the file is to be replaced or empty."""
        if not self.append or not self.path.exists():
            return []
        try:
            with open(self.path, newline="", encoding="utf-8-sig") as file:  # spreadsheets add a mark
                return list(csv.reader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"CSVLogger: path must be a CSV file, got {os.fspath(self.path)!r}: {error}"
            ) from error


def _write(path: Path, mode: str, rows: Iterable[Sequence[object]]) -> None:
    with open(path, mode, newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _without_own(rows: list[list[str]], own: list[list[str]]) -> list[list[str]]:
    """Return the rows without those of the training that resumes after its epochs `own`.

    They are the last rows, from epoch 1 on, if they agree with `own`.
    """
    begins = [number for number, row in enumerate(rows) if row[:1] == ["1"]]
    if not own or not begins:
        return rows
    last = rows[begins[-1] :]
    return rows[: begins[-1]] if last[: len(own)] == own[: len(last)] else rows
