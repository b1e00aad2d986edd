"""The hooks that a trainer calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from trimtab._typing import Array
from trimtab.callbacks.protocol import TrainerLike

FOREIGN_HOOKS = {  # names in other libraries
    "on_train_begin": "on_fit_begin",
    "on_train_start": "on_fit_begin",
    "on_fit_start": "on_fit_begin",
    "on_train_end": "on_fit_end",
    "on_epoch_start": "on_epoch_begin",
    "on_train_epoch_start": "on_epoch_begin",
    "on_train_epoch_end": "on_epoch_end",
    "on_validation_end": "on_epoch_end",
    "on_validation_epoch_end": "on_epoch_end",
    "on_test_end": "on_epoch_end",
    "on_batch_start": "on_batch_begin",
    "on_train_batch_begin": "on_batch_begin",
    "on_train_batch_start": "on_batch_begin",
    "on_train_batch_end": "on_batch_end",
    "on_save_checkpoint": "state_dict",
    "on_load_checkpoint": "on_resume",
}


class Callback:
    """The base class of callbacks; override the hooks of interest.

    Hooks are called by position. ``trainer.stop()`` in a hook ends training. `epoch` counts from 1, `batch`
    from 0 in its epoch. ``logs`` maps the names of metrics to values: ``loss`` and the metrics of the loss;
    after an epoch with validation data, also the same with the prefix ``val_``. ``trainer.metric_names``
    lists the metrics of an epoch from the start.

    A callback with state resets it in `on_fit_begin`, returns it from `state_dict` and restores it in
    `on_resume`. Then a resumed training equals one that was never interrupted. A state goes to the callback
    with the same `identity`: other callbacks may be added, removed or reordered, and a callback without a
    state starts afresh.

    Hooks with the names of other libraries, such as ``on_train_begin``, would never be called: they are an
    error when the class is defined. Those without the parameter ``trainer`` are one when training begins.

    A fit that would fail does so before it changes anything: `check_fit` of every callback comes before all
    other hooks. Every callback whose `on_fit_begin` has returned gets its `on_fit_end`, whatever other
    callbacks raise. The first error is raised; later ones are notes to it.

    Attributes
    ----------
    name : str or None
        Set it to tell two callbacks of the same kind and options apart in a checkpoint.
    writes : bool
        True in a class that only writes files or to the screen: where several ranks train together, the first
        one alone calls its hooks. They call all hooks of the others, which must do the same on each rank.

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
    writes: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, hook in FOREIGN_HOOKS.items():
            if name in vars(cls):
                raise TypeError(f"{cls.__name__}: {name} is not a hook here: write {hook}")

    @property
    def identity(self) -> str:
        """The key of the saved state: the name, or else the class and the options the state depends on."""
        return self.name or type(self).__name__

    def measure(self, trainer: TrainerLike) -> Mapping[str, float]:
        """Return values by name that each epoch gets beside its metrics, in history and logs.

        It is called after each epoch, before `on_epoch_end`, and once before the fit, for the names alone.
        """
        return {}

    def check_fit(self, trainer: TrainerLike, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Raise an error if a training with these metrics in each epoch would fail; change nothing.

        ``trainer`` is as it was before the fit.
        """

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Called when training up to epoch `epochs`, each of `batches` batches, begins.

        If the number of batches is not known, as for some iterables, it is 0. The batches of one step of the
        optimizer count as one (``accumulate``).

        ``trainer.history`` has the epochs before the point at which training resumes.
        """

    def on_resume(self, trainer: TrainerLike, state: Mapping[str, Array]) -> None:
        """Called after `on_fit_begin` if training resumes from a checkpoint with a `state` of this callback.

        In the middle of an epoch, the next hook is the first one that it had not seen when it was saved.
        """

    def on_epoch_begin(self, trainer: TrainerLike, epoch: int) -> None:
        """Called before the first batch of an epoch."""

    def on_batch_begin(self, trainer: TrainerLike, batch: int) -> None:
        """Called before each batch."""

    def on_batch_end(self, trainer: TrainerLike, batch: int, logs: Mapping[str, float]) -> None:
        """Called after each batch, with its metrics.

        The parameters have been updated, unless the batch was skipped because of a NaN: see `Trainer.fit`.
        """

    @contextmanager
    def validating(self, trainer: TrainerLike) -> Iterator[None]:
        """Enclose the evaluation of the validation data after an epoch.

        A callback may let the model have other weights meanwhile, as `WeightAverage` does.
        """
        yield

    def on_epoch_end(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Called after each epoch, which is in ``trainer.history`` already."""

    def on_checkpoint(self, trainer: TrainerLike, epoch: int, logs: Mapping[str, float]) -> None:
        """Called after `on_epoch_end` of all callbacks: ``trainer.save`` now writes the state of them all."""

    def on_fit_end(self, trainer: TrainerLike) -> None:
        """Called when training has ended, for whatever reason, errors included."""

    def state_dict(self) -> dict[str, Array]:
        """Return the state to be saved in a checkpoint, as arrays by name."""
        return {}
