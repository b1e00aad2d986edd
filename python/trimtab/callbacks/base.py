"""The hooks around training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimtab._typing import Array

if TYPE_CHECKING:
    from trimtab.trainer import Trainer


class Callback:
    """Hooks around training; override those of interest.

    ``trainer.stop()`` inside a hook ends training. `epoch` counts from 1, `batch` counts from 0 in its epoch.
    ``logs`` maps the names of metrics to values: ``loss`` and the metrics of the loss, and after an epoch the
    same with the prefix ``val_`` if there are validation data; ``trainer.metric_names`` lists those of an
    epoch from the beginning.

    A callback that remembers something from epoch to epoch begins anew in `on_fit_begin`, returns what it
    remembers from `state_dict`, and takes it back in `on_resume`; then a resumed training is the same as one
    that was never interrupted.

    Examples
    --------
    >>> from trimtab import callbacks
    >>> class StopAtAccuracy(callbacks.Callback):
    ...     def __init__(self, goal):
    ...         self.goal = goal
    ...
    ...     def on_epoch_end(self, trainer, epoch, logs):
    ...         if logs["val_accuracy"] >= self.goal:
    ...             trainer.stop()
    """

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Training up to epoch `epochs`, of `batches` batches each, begins.

        ``trainer.history`` has the epochs that a resumed training has behind it.
        """

    def on_resume(self, trainer: Trainer, state: Mapping[str, Array]) -> None:
        """Training goes on from a checkpoint, which has `state` of this callback; after `on_fit_begin`."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """An epoch begins."""

    def on_batch_begin(self, trainer: Trainer, batch: int) -> None:
        """A batch begins."""

    def on_batch_end(self, trainer: Trainer, batch: int, logs: Mapping[str, float]) -> None:
        """The parameters have been updated; `logs` are of this batch."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """An epoch is complete and in ``trainer.history``."""

    def on_checkpoint(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Every callback has seen the end of the epoch: what ``trainer.save`` writes now is consistent."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Training has ended, for whatever reason, errors included."""

    def state_dict(self) -> dict[str, Array]:
        """Return what has to be remembered in a checkpoint, as arrays."""
        return {}
