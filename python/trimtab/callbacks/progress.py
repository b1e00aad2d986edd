"""A progress bar, or lines where a bar cannot be drawn."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from trimtab import extras
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike
from trimtab.terminal import in_notebook


class ProgressBar(Callback):
    """Shows a tqdm bar over all batches of a fit, with the metrics so far.

    In a notebook it is tqdm's bar for notebooks. Where stdout is no terminal, or tqdm is not installed, it
    prints a line with the metrics after each epoch instead.

    Parameters
    ----------
    description : str
        The text before the bar or the lines.
    leave : bool
        Whether the bar stays on the screen after training. If not, no lines are printed, either.
    """

    writes = True

    def __init__(self, description: str = "", leave: bool = True) -> None:
        self.description, self.leave = description, leave
        self._bar: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_bar": None}  # a copy has no bar on the screen

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Open the bar."""
        self._epochs = epochs
        tqdm = _tqdm()
        if tqdm is None:
            return
        self._bar = tqdm(
            total=epochs * batches or None,
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
        elif self.leave:
            start = f"{self.description}: " if self.description else ""
            metrics = ", ".join(f"{name} {value}" for name, value in _shown(logs).items())
            print(f"{start}epoch {epoch}/{self._epochs}: {metrics}", flush=True)

    def on_fit_end(self, trainer: TrainerLike) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, epoch: int, logs: Mapping[str, float]) -> None:
        self._bar.set_postfix({"epoch": f"{epoch}/{self._epochs}"} | _shown(logs), refresh=False)


def _tqdm() -> Any:
    """Return the class of bars that can be drawn here, or None."""
    notebook = in_notebook()
    if not notebook and not sys.stdout.isatty():
        return None
    try:
        return extras.load("tqdm.auto" if notebook else "tqdm").tqdm
    except extras.MissingExtra:
        return None


def _shown(logs: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.4f}" for name, value in logs.items()}
