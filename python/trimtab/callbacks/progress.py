"""A progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab import extras
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike


class ProgressBar(Callback):
    """Shows a tqdm bar over all batches of a fit, with the metrics so far. Without tqdm it shows nothing.

    Parameters
    ----------
    description : str
        The text before the bar.
    leave : bool
        Whether the bar stays on the screen after training.
    """

    def __init__(self, description: str = "", leave: bool = True) -> None:
        self.description, self.leave = description, leave
        self._bar: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_bar": None}  # a copy has no bar on the screen

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Open the bar."""
        try:
            tqdm = extras.load("tqdm").tqdm
        except extras.MissingExtra:
            return
        self._epochs = epochs
        self._bar = tqdm(
            total=epochs * batches,
            initial=trainer.history.epochs * batches + trainer.position.batch,
            unit="batch",
            leave=self.leave,
            dynamic_ncols=True,
            desc=self.description or None,
        )

    def on_batch_end(self, trainer: TrainerLike, batch: int, logs: Mapping[str, float]) -> None:
        """Advance by one batch; whenever the bar is redrawn, show the means of the epoch so far."""
        if self._bar is not None and self._bar.update():
            self._show(trainer.history.epochs + 1, trainer.running_metrics)

    def on_epoch_end(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Show the metrics of the epoch."""
        if self._bar is not None:
            self._show(epoch, logs)

    def on_fit_end(self, trainer: TrainerLike) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, epoch: int, logs: Mapping[str, float]) -> None:
        shown = {name: f"{value:.4f}" for name, value in logs.items()}
        self._bar.set_postfix({"epoch": f"{epoch}/{self._epochs}"} | shown, refresh=False)
