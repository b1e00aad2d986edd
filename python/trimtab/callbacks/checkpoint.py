"""Saves a training after its epochs, to be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from trimtab import _checks
from trimtab._files import require_replaceable
from trimtab._inputs import path_text
from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.monitor import Monitor
from trimtab.callbacks.protocol import TrainerLike
from trimtab.training import checkpoint_file


class Checkpoint(Callback):
    """Saves the whole training after each epoch, or after each epoch that is the best so far.

    The file has the model, the optimizer, the generator, the history and the state of all callbacks (see
    `Trainer.save`). ``trainer.fit(..., resume=path)`` continues from it, with the same bits as a training
    that was never interrupted; ``trainer.load(path)`` restores the trainer.

    Parameters
    ----------
    path : path_like
        File to write, in an existing folder. ``{epoch}`` and the names of metrics in braces are replaced in
        the name of the file, as by `str.format`: ``"run-{epoch:03}-{val_loss:.3f}.safetensors"``.
    monitor : str, optional
        Name of a metric: only epochs in which it is better than ever before are saved; NaN never is. The best
        value is kept from one fit to the next while its file exists. A new `Checkpoint` has no best value,
        whatever files exist.
    mode : {"auto", "min", "max"}
        Whether smaller or larger values are better: see `Monitor`.
    keep : int, optional
        Number of files to keep, at least 1: older files that this callback has written are deleted. By
        default all are kept.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong kind or out of range; before training, if there is no such metric or
        folder, or the path has unknown fields.
    MissingExtra
        Before training, if safetensors is not installed.
    """

    writes = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        keep: int | None = None,
    ) -> None:
        self.path = path_text("Checkpoint: path", path)
        self._monitor = None if monitor is None else Monitor("Checkpoint", monitor, mode)
        self.keep = None if keep is None else _checks.whole("Checkpoint: keep", keep, 1)
        self._files: list[str] = []  # written and kept, oldest first

    @property
    def identity(self) -> str:
        """The name, or the class, the metric with its mode, and the path."""
        kind = "Checkpoint" if self._monitor is None else self._monitor.identity
        return self.name or f"{kind} {self.path}"

    def check_fit(self, trainer: TrainerLike, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error if saving after an epoch would fail."""
        checkpoint_file.require_safetensors()
        if self._monitor is not None:
            self._monitor.require(metric_names)
        try:
            path = self._path(epochs, dict.fromkeys(metric_names, 0.5))
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            fields = ", ".join(["epoch", *metric_names])
            raise ValueError(
                f"Checkpoint: path must have no fields but {fields}, got {self.path!r}: {error}"
            ) from error
        require_replaceable("Checkpoint: path", path)

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Forget the best value if its file is gone."""
        self._reset_without_file()

    def on_checkpoint(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Save, unless the monitored metric is not the best so far."""
        before = self.state_dict()
        if self._monitor is not None and not self._monitor.improves(logs[self._monitor.name]):
            return
        path = str(self._path(epoch, logs))
        files = [*(file for file in self._files if file != path), path]
        surplus = [] if self.keep is None else files[: -self.keep]
        self._files = files[len(surplus) :]  # before saving, since the file includes this state
        try:
            trainer.save(path)
        except BaseException:
            self._restore(before)
            raise
        for file in surplus:
            with suppress(FileNotFoundError):
                os.remove(file)

    def state_dict(self) -> dict[str, Array]:
        """Return the names of the files, and the best value if a metric is monitored."""
        files = np.frombuffer(json.dumps(self._files).encode(), np.uint8)
        best = {} if self._monitor is None else {"best": np.array(self._monitor.best, np.float64)}
        return {"files": files} | best

    def on_resume(self, trainer: TrainerLike, state: Mapping[str, Array]) -> None:
        """Restore the best value if its file exists."""
        self._restore(state)
        self._reset_without_file()

    def _restore(self, state: Mapping[str, Array]) -> None:
        self._files = json.loads(state["files"].tobytes())
        if self._monitor is not None:
            self._monitor.best = float(state["best"])

    def _reset_without_file(self) -> None:
        if self._monitor is not None and not (self._files and os.path.exists(self._files[-1])):
            self._monitor.reset()

    def _path(self, epoch: int, logs: Mapping[str, float]) -> Path:
        folder, name = os.path.split(self.path)
        return Path(folder, name.format(**{**logs, "epoch": epoch}))
