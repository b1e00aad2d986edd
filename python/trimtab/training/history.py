"""The metrics of a training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trimtab import extras

EPOCH = "epoch"  # what logs call its number: no metric has this name
VALIDATION = "val_"


class History(dict[str, list[float]]):
    """Metrics by name, one value for each complete epoch.

    Examples
    --------
    >>> from trimtab import History
    >>> history = History({"loss": [1.0, 0.5], "val_loss": [1.1, 0.8]})
    >>> history.epochs, min(history["val_loss"])
    (2, 0.8)
    """

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> History:
        """Return the history from the notes of a checkpoint; raise a ValueError if they are damaged."""
        history = cls({name: [float(value) for value in values] for name, values in notes.items()})
        if len(set(map(len, history.values()))) > 1:
            raise ValueError("metrics of different length in the history")
        return history

    @property
    def epochs(self) -> int:
        """Number of complete epochs."""
        return min(map(len, self.values()), default=0)

    def plot(self, axes: Any = None) -> Any:
        """Plot the loss and the other metrics over the epochs, those of validation dashed.

        Parameters
        ----------
        axes : sequence of matplotlib.axes.Axes, optional
            One for each metric; by default those of a new figure.

        Returns
        -------
        list of matplotlib.axes.Axes

        Raises
        ------
        MissingExtra
            If matplotlib is not installed.
        """
        metrics = list(dict.fromkeys(name.removeprefix(VALIDATION) for name in self))
        if axes is None:
            pyplot = extras.load("matplotlib.pyplot")
            _, axes = pyplot.subplots(
                1, len(metrics), figsize=(5 * len(metrics), 3.6), squeeze=False, layout="constrained"
            )
        panels = list(np.ravel(axes))
        for panel, metric in zip(panels, metrics, strict=True):
            for name, label, style in ((metric, "training", "-"), (VALIDATION + metric, "validation", "--")):
                if name in self:
                    panel.plot(range(1, len(self[name]) + 1), self[name], style, label=label)
            panel.set(xlabel="epoch", ylabel=metric)
            panel.grid(alpha=0.3)
            panel.legend()
        return panels
