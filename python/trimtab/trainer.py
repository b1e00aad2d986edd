"""The training loop: `Trainer`, and what it shows of the folder ``training``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._inputs import as_generator
from trimtab._typing import Array, Seed
from trimtab.callbacks import Callback
from trimtab.losses import Loss
from trimtab.metrics import Means, measured
from trimtab.nn.module import Module, evaluation
from trimtab.optim import SGD
from trimtab.training.batches import Data, batch_slices, read_pair, read_samples
from trimtab.training.history import History
from trimtab.training.loop import Loop
from trimtab.training.plan import Augment, Nan, Plan, parameters_left_out, plan_fit, require_callbacks
from trimtab.training.position import Position
from trimtab.training.saving import Saved, save
from trimtab.training.surroundings import ends_on_interrupt, in_fit, mode_of_training, without_dx

__all__ = ["History", "Trainer", "batch_slices"]

EVALUATION_BATCH = 256


class Trainer:
    """Trains, evaluates and applies a model.

    Parameters
    ----------
    model : Module
    loss : Loss
        It brings the metrics that are reported (``loss.metrics``).
    optimizer : SGD
        Made of parameters of `model`. Those that it does not hold stay as they are.
    callbacks : sequence of Callback
        Called in order at every hook.
    rng : int, numpy.random.Generator, numpy.random.RandomState or None
        The one source of chance: the order of samples, augmentation, and every layer that draws.

    Attributes
    ----------
    history : History
        Of the current or last `fit`.
    metric_names : tuple of str
        The metrics of each epoch of that `fit`, in order.
    position : Position
        Where that `fit` stands.
    skipped : int
        Number of batches that it has left out because of NaN or Inf.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import Trainer, losses, nn, optim
    >>> x = np.random.default_rng(0).standard_normal((256, 2), dtype=np.float32)
    >>> labels = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = nn.Sequential(nn.Linear(2, 32, rng=0), nn.BatchNorm(32), nn.ReLU(), nn.Linear(32, 2, rng=1))
    >>> trainer = Trainer(model, losses.CrossEntropy(), optim.SGD(model, lr=0.1, momentum=0.9), rng=0)
    >>> history = trainer.fit(x, labels, epochs=20, progress=False)
    >>> trainer.evaluate(x, labels)["accuracy"] > 0.9
    True
    """

    def __init__(
        self, model: Module, loss: Loss, optimizer: SGD, callbacks: Sequence[Callback] = (), rng: Seed = None
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be a Module, got {_checks.shown(model)}")
        if not isinstance(loss, Loss):
            raise TypeError(f"Trainer: loss must be a Loss, got {_checks.shown(loss)}")
        if isinstance(optimizer, type) or not hasattr(optimizer, "parameters"):
            raise TypeError(f"Trainer: optimizer must be an optimizer, got {_checks.shown(optimizer)}")
        require_callbacks("Trainer", callbacks)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.callbacks = list(callbacks)
        self.rng = as_generator("Trainer: rng", rng)
        self.history = History()
        self.metric_names: tuple[str, ...] = ()
        self.position = Position()
        self.skipped = 0
        self.stopping = False
        # Parameters that are not trained on purpose, and by whom: a layer that comes later is no such
        self.fixed = optimizer, parameters_left_out("Trainer", model, optimizer)

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        validation_split: float = 0.0,
        epochs: int = 1,
        batch_size: int = 32,
        augment: Augment | None = None,
        shuffle: bool = True,
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
        nan: Nan = "stop",
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x, y : array_like
            Samples and targets, paired along axis 0. Samples are converted to the dtype of the parameters,
            batch by batch: a memory map is never in memory as a whole.
        validation_data : tuple of array_like, optional
            Samples and targets that are evaluated after each epoch.
        validation_split : float
            Share of x and y, taken from their end, that is held out as validation data; 0 <= share < 1.
        epochs, batch_size : int
            At least 1. The last batch of an epoch may be shorter; a single sample left over joins the batch
            before it, so that batch statistics are always defined.
        augment : callable, optional
            ``augment(batch, rng=generator) -> batch``, applied to every training batch (`trimtab.augment`).
            Batches are of the dtype of the parameters; what it returns is converted to that again.
        shuffle : bool
            Whether each epoch draws a new order.
        progress : bool
            Whether to show a progress bar (if tqdm is installed).
        resume : path_like, optional
            A file that `save`, or the callback `Checkpoint`, wrote in a training with these arguments: go on
            where it was saved, in the middle of an epoch, too, up to `epochs` in all. The result has the bits
            of a training that was never interrupted.
        nan : {"stop", "skip", "ignore"}
            What becomes of a batch whose loss or gradients have a NaN or Inf: training stops with a
            FloatingPointError; the batch is left out, of weights, running statistics and metrics, and counted
            in ``skipped``; or it is trained on like any other. With the optimizer's ``skip_nonfinite``
            batches are left out instead of stopping.

        Returns
        -------
        History
            Mean metrics of each complete epoch, whatever the size of the batches: of the batches as they were
            trained, and of the validation data; NaN where nothing counted. Ctrl-C, or a callback, ends
            training after the batch; an epoch that is cut short is not recorded. A second Ctrl-C interrupts
            at once.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind or out of range, x and y have different lengths or none,
            targets do not go with the loss and the output of the model, the optimizer holds parameters that
            are not those of the model, a callback cannot do its work, or `resume` is no checkpoint of such a
            training; nothing has been changed then.
        FloatingPointError
            If a loss or gradient is not finite, unless `nan` says otherwise; the weights are those before the
            batch.

        Notes
        -----
        Layers train, unless they have been put into evaluation one by one in a model that trains: these stay
        so, as frozen batch norms do. A model in evaluation trains as a whole. Afterwards it has the modes it
        had before.
        """
        plan = plan_fit(
            self,
            x,
            y,
            validation_data=validation_data,
            validation_split=validation_split,
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
            shuffle=shuffle,
            progress=progress,
            resume=resume,
            nan=nan,
        )
        with in_fit(self):
            return self._run(plan)

    def _run(self, plan: Plan) -> History:
        before = self.history, self.metric_names, self.position, self.skipped
        if plan.saved is None:
            loaded, states = None, {}
            self.history, self.position = History(), Position()
        else:
            loaded, states = plan.saved.load_into(self), plan.saved.states
        self.position.settings = plan.settings
        self.metric_names, self.skipped, self.stopping = plan.metric_names, 0, False
        begun = False
        try:
            with (
                ends_on_interrupt(self),
                without_dx(self.model),
                mode_of_training(self.model) as modes,
                plan.callbacks.running(plan.epochs, len(plan.batches)),
            ):
                plan.callbacks.resume(states)
                begun = True
                self.model.use_rng(self.rng)
                try:
                    Loop(self, plan, modes).run()
                finally:
                    self.position.leave(self.model)
        except BaseException:
            if not begun:
                self.history, self.metric_names, self.position, self.skipped = before
                if loaded is not None:
                    loaded.undo()
            raise
        finally:
            self.position.settle(self.model)
        return self.history

    def stop(self) -> None:
        """End the running `fit` after the current batch."""
        self.stopping = True

    @property
    def running_metrics(self) -> dict[str, float]:
        """Means over the batches of the current epoch so far."""
        return self.position.means.values()

    def evaluate(self, x: ArrayLike, y: ArrayLike, batch_size: int = EVALUATION_BATCH) -> dict[str, float]:
        """Return the loss and its metrics on samples x with targets y, the model in evaluation.

        They are those of all samples at once, whatever `batch_size`. A model that trains evaluates as after
        `Module.eval`; one in evaluation keeps the modes of its layers, such as those of
        ``eval(dropout=True)``. Nothing is kept and no mode is switched: several threads may evaluate at once.
        """
        size = _checks.whole("evaluate: batch_size", batch_size, 1)
        return self.measure(read_pair("evaluate", x, y), size)

    def predict(self, x: ArrayLike, batch_size: int = EVALUATION_BATCH) -> Array:
        """Return the model's output for samples x, the model in evaluation, as for `evaluate`.

        No samples give the empty output of the model.
        """
        size = _checks.whole("predict: batch_size", batch_size, 1)
        samples, dtype = read_samples("predict: x", x), self.dtype
        parts = batch_slices(len(samples), size) or [slice(0, 0)]
        with evaluation(self.model):
            return np.concatenate(
                [self.model.forward(samples[part].astype(dtype, copy=False)) for part in parts]
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, optimizer, generator, history and the state of the callbacks to a safetensors file.

        Arrays are stored as ``model/<name>``, ``optimizer/<name>`` and so on, the rest as JSON in the
        metadata. The file appears whole or not at all. A training may be saved in any hook of a callback,
        after Ctrl-C, and after an error, and goes on from just there.

        Parameters
        ----------
        path : path_like
            File to write; replaced if there is one.

        Raises
        ------
        RuntimeError
            In the middle of a batch, from another thread or a signal handler.
        OSError
            If the file cannot be written; the old one is left alone.
        MissingExtra
            If safetensors is not installed.
        """
        save(self, path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take back model, optimizer, generator and history from a file that `save` wrote.

        Parameters
        ----------
        path : path_like

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is damaged, or of another model, optimizer or kind of generator; nothing has been changed.
        RuntimeError
            In a hook of a callback: the `fit` that goes on would not know of it.
        MissingExtra
            If safetensors is not installed.
        """
        with in_fit(self, "load"):
            Saved("load", path, self).load_into(self)

    def measure(self, data: Data, batch_size: int = EVALUATION_BATCH) -> dict[str, float]:
        """Do as `evaluate`, on data that has been read."""
        means, dtype = Means(), self.dtype
        with evaluation(self.model):
            for part in batch_slices(len(data.x), batch_size):
                output = self.model.forward(data.x[part].astype(dtype, copy=False))
                means.add(measured("evaluate", self.loss, output, data.y[part])[0])
        return means.values()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the samples that the model takes: that of its first parameter."""
        dtype: np.dtype[Any] = self.model.parameters()[0].value.dtype
        return dtype
