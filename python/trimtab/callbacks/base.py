"""The hooks around training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    A callback that remembers something from one hook to another begins anew in `on_fit_begin`, returns what
    it remembers from `state_dict`, and takes it back in `on_resume`; then a resumed training is the same as
    one that was never interrupted. A state goes to the callback of the same `identity`: others may be added,
    left out or reordered, and one without a state begins anew.

    A fit that is going to fail fails before it changes anything: `check_fit` of every callback comes before
    any other hook. Each callback whose `on_fit_begin` has returned sees `on_fit_end`, whatever others raise;
    the first error is the one that is raised, and later ones are notes to it.

    Attributes
    ----------
    name : str or None
        To be set where two callbacks of the same kind and options are to be told apart in a checkpoint.

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

    name: str | None = None

    @property
    def identity(self) -> str:
        """What a saved state is matched by: the name, or else the kind and what makes the state its own."""
        return self.name or type(self).__name__

    def check_fit(self, trainer: Trainer, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error if training, with these metrics in each epoch, would fail; change nothing.

        ``trainer`` is as it was before the fit.
        """

    def on_fit_begin(self, trainer: Trainer, epochs: int, batches: int) -> None:
        """Training up to epoch `epochs`, of `batches` batches each, begins.

        ``trainer.history`` has the epochs that a resumed training has behind it.
        """

    def on_resume(self, trainer: Trainer, state: Mapping[str, Array]) -> None:
        """Training goes on from a checkpoint, which has `state` of this callback; after `on_fit_begin`.

        In the middle of an epoch it goes on with the next hook that this callback has not yet seen.
        """

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """An epoch begins."""

    def on_batch_begin(self, trainer: Trainer, batch: int) -> None:
        """A batch begins."""

    def on_batch_end(self, trainer: Trainer, batch: int, logs: Mapping[str, float]) -> None:
        """The parameters have been updated; `logs` are of this batch.

        So they are where the batch was left out because it has a NaN: see `Trainer.fit`.
        """

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """An epoch is complete and in ``trainer.history``."""

    def on_checkpoint(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Every callback has seen the end of the epoch: what ``trainer.save`` writes now is consistent."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Training has ended, for whatever reason, errors included."""

    def state_dict(self) -> dict[str, Array]:
        """Return what has to be remembered in a checkpoint, as arrays."""
        return {}
