"""Saving a training so that it can go on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trimtab import checkpoint
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
        File to write, in an existing folder. ``{epoch}`` in it is replaced, as by `str.format`:
        ``"run-{epoch:03}.safetensors"`` keeps a file for each epoch.
    monitor : str, optional
        Name of a metric: only epochs in which it is better than ever before are saved.
    mode : {"auto", "min", "max"}
        Which values are better: see `Monitor`.

    Raises
    ------
    ValueError
        If `mode` is none of these; when training begins, if there is no such metric or folder.
    MissingExtra
        When training begins, if safetensors is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], monitor: str | None = None, mode: str = "auto") -> None:
        self.path = os.fspath(path)
        self._monitor = None if monitor is None else Monitor("Checkpoint", monitor, mode)

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Find out now rather than after an epoch what would fail."""
        checkpoint.require_safetensors()
        folder = self._path(epochs).parent
        if not folder.is_dir():
            raise ValueError(f"Checkpoint: path must be in an existing folder, got {self.path!r}")
        if self._monitor is not None:
            self._monitor.require(trainer.metric_names)
            self._monitor.reset()

    def on_checkpoint(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Save."""
        if self._monitor is None or self._monitor.improves(logs[self._monitor.name]):
            trainer.save(self._path(epoch))

    def state_dict(self) -> dict[str, Array]:
        """Return the best value, if one is monitored."""
        return {} if self._monitor is None else {"best": np.array(self._monitor.best, np.float64)}

    def on_resume(self, trainer: Trainer, state: Mapping[str, Array]) -> None:
        """Go on from the best value."""
        if self._monitor is not None and "best" in state:
            self._monitor.best = float(state["best"])

    def _path(self, epoch: int) -> Path:
        return Path(self.path.format(epoch=epoch))
