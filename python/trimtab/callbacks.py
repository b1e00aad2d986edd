"""Callbacks: what a trainer calls while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trimtab import extras

if TYPE_CHECKING:
    from trimtab.trainer import Trainer


class Callback:
    """Hooks around training; override those of interest.

    ``trainer.stop()`` inside a hook ends training. `epoch` counts from 1, `batch` counts from 0 in its epoch.
    ``logs`` maps the names of metrics to values: ``loss`` and the metrics of the loss, and after an epoch the
    same with the prefix ``val_`` if there are validation data.
    """

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Training of `epochs` epochs of `batches` batches begins."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """An epoch begins."""

    def on_batch_begin(self, trainer: Trainer, batch: int) -> None:
        """A batch begins."""

    def on_batch_end(self, trainer: Trainer, batch: int, logs: Mapping[str, float]) -> None:
        """The parameters have been updated; `logs` are of this batch."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """An epoch is complete and in ``trainer.history``."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Training has ended, for whatever reason, errors included."""


class ProgressBar(Callback):
    """A tqdm bar over all batches of a fit, with the latest metrics; nothing where tqdm is not installed.

    Parameters
    ----------
    description : str
        Stands before the bar.
    leave : bool
        Whether the bar stays on the screen after training.
    """

    def __init__(self, description: str = "", leave: bool = True) -> None:
        self.description, self.leave = description, leave
        self._bar: Any = None

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Open the bar."""
        try:
            tqdm = extras.load("tqdm").tqdm
        except extras.MissingExtra:
            return
        self._epochs = epochs
        self._bar = tqdm(
            total=epochs * batches,
            unit="batch",
            leave=self.leave,
            dynamic_ncols=True,
            desc=self.description or None,
        )

    def on_batch_end(self, trainer: Trainer, batch: int, logs: Mapping[str, float]) -> None:
        """Advance by one batch."""
        if self._bar is not None:
            self._bar.update()

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Show the metrics of the epoch."""
        if self._bar is not None:
            shown = {name: f"{value:.4f}" for name, value in logs.items()}
            self._bar.set_postfix({"epoch": f"{epoch}/{self._epochs}"} | shown, refresh=False)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
