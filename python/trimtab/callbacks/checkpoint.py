"""Saving a training so that it can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trimtab import _checks, checkpoint
from trimtab._inputs import path_text, require_writable
from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.monitor import Monitor

if TYPE_CHECKING:
    from trimtab.trainer import Trainer


class Checkpoint(Callback):
    """Saves the whole training after each epoch, or after each that is the best so far.

    The file holds the model, the optimizer, the generator, the history and the state of all callbacks (see
    `Trainer.save`). ``trainer.fit(..., resume=path)`` goes on from it, with the bits of a training that was
    never interrupted; ``trainer.load(path)`` just takes it back.

    Parameters
    ----------
    path : path_like
        File to write, in an existing folder. ``{epoch}`` and the names of metrics in braces are replaced in
        the name of the file, as by `str.format`: ``"run-{epoch:03}-{val_loss:.3f}.safetensors"``.
    monitor : str, optional
        Name of a metric: only epochs in which it is better than ever before are saved; NaN never is. The best
        value lasts from one fit to the next, as long as its file is there. A new `Checkpoint` begins anew,
        whatever the file there is.
    mode : {"auto", "min", "max"}
        Which values are better: see `Monitor`.
    keep : int, optional
        Number of files to keep, at least 1: older ones that this callback has written are deleted. All are
        kept by default.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong kind or out of range; before training, if there is no such metric or
        folder, or the path has other fields.
    MissingExtra
        Before training, if safetensors is not installed.
    """

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
        self._files: list[str] = []  # written, in order

    @property
    def identity(self) -> str:
        """The name, or the kind, the metric with its mode, and the path."""
        kind = "Checkpoint" if self._monitor is None else self._monitor.identity
        return self.name or f"{kind} {self.path}"

    def check_fit(self, trainer: Trainer, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Find out what would fail after an epoch."""
        checkpoint.require_safetensors()
        if self._monitor is not None:
            self._monitor.require(metric_names)
        try:
            path = self._path(epochs, dict.fromkeys(metric_names, 0.5))
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            fields = ", ".join(["epoch", *metric_names])
            raise ValueError(
                f"Checkpoint: path must have no fields but {fields}, got {self.path!r}: {error}"
            ) from error
        require_writable("Checkpoint: path", path)

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Forget the best value if its file is gone."""
        self._forget_without_file()

    def on_checkpoint(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Save."""
        before = self.state_dict()
        if self._monitor is not None and not self._monitor.improves(logs[self._monitor.name]):
            return
        path = str(self._path(epoch, logs))
        files = [*(file for file in self._files if file != path), path]
        surplus = [] if self.keep is None else files[: -self.keep]
        self._files = files[len(surplus) :]  # before saving: the file has this state, too
        try:
            trainer.save(path)
        except BaseException:
            self._take(before)
            raise
        for file in surplus:
            with suppress(FileNotFoundError):
                os.remove(file)

    def state_dict(self) -> dict[str, Array]:
        """Return the files, and the best value if one is monitored."""
        files = np.frombuffer(json.dumps(self._files).encode(), np.uint8)
        best = {} if self._monitor is None else {"best": np.array(self._monitor.best, np.float64)}
        return {"files": files} | best

    def on_resume(self, trainer: Trainer, state: Mapping[str, Array]) -> None:
        """Go on from the best value, if its file is there."""
        self._take(state)
        self._forget_without_file()

    def _take(self, state: Mapping[str, Array]) -> None:
        self._files = json.loads(state["files"].tobytes())
        if self._monitor is not None:
            self._monitor.best = float(state["best"])

    def _forget_without_file(self) -> None:
        if self._monitor is not None and not (self._files and os.path.exists(self._files[-1])):
            self._monitor.reset()

    def _path(self, epoch: int, logs: Mapping[str, float]) -> Path:
        folder, name = os.path.split(self.path)
        return Path(folder, name.format(**{**logs, "epoch": epoch}))
