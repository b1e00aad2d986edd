"""`Trainer`: trains, evaluates and applies a model. Its parts are in the folder ``training``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._batches import batch_slices
from trimtab._inputs import as_generator
from trimtab._stream import PairStream, located_errors, read_pairs, read_unpaired
from trimtab._typing import Array, Seed
from trimtab._weights import ClassWeight
from trimtab.callbacks import Callback
from trimtab.callbacks.dispatch import validating
from trimtab.distributed.agreement import require_equal
from trimtab.distributed.ranks import Alone, ranks_of
from trimtab.distributed.threads import limited_threads
from trimtab.losses import Loss
from trimtab.nn.module import Module
from trimtab.optim import Optimizer
from trimtab.training.agreement import facts_of, require_shareable
from trimtab.training.evaluation import BATCH_SIZE, dtype_of, evaluate, require_metrics, require_weighted
from trimtab.training.history import History
from trimtab.training.interrupts import interrupt_calls
from trimtab.training.loop import Loop
from trimtab.training.modes import mode_of_training, without_dx
from trimtab.training.parts import require_callbacks, untrained_parameters
from trimtab.training.plan import Augment, Nan, Plan, Request, plan_fit
from trimtab.training.position import Position
from trimtab.training.prediction import Prediction, predict, predict_sampling
from trimtab.training.saving import SavedTraining, save
from trimtab.training.start import exclusive, started

__all__ = ["History", "Prediction", "Trainer", "batch_slices"]


class Trainer:
    """Trains, evaluates and applies a model.

    Parameters
    ----------
    model : Module
    loss : Loss
        Its ``metrics`` are reported, too.
    optimizer : Optimizer
        Holds parameters of `model`; the other parameters are not trained.
    callbacks : sequence of Callback
        Their hooks are called in this order.
    rng : int, numpy.random.Generator, numpy.random.RandomState or None
        The only source of randomness: the order of samples, augmentation, and every layer that draws.
    comm : mpi4py.MPI.Intracomm, optional
        The processes that train together, such as ``MPI.COMM_WORLD``: each makes the same trainer and calls
        the same methods with the same arguments, of which iterables alone may be others. Every rank computes
        its part of each batch; batch norms take their statistics over all ranks; `evaluate` and `predict` are
        shared, too. The result is that of one process, up to rounding. The first rank writes files and shows
        the progress. Needs the extra ``mpi``; `docs/distributed.md` has the details.
    shards : int, optional
        Cut every batch into so many parts, whatever the number of ranks, of which it is a multiple. Each part
        is computed with the same shapes and draws of its own, and sums are taken in a fixed order: the result
        has the same bits on any number of ranks. Without `comm` one process computes all shards.

    Attributes
    ----------
    history : History
        The metrics of the current or last `fit`.
    metric_names : tuple of str
        The metrics of each epoch of that `fit`, in order.
    position : Position
        Where that `fit` stands.
    skipped : int
        Number of batches that it has skipped because of NaN or Inf.

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
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        callbacks: Sequence[Callback] = (),
        rng: Seed = None,
        comm: Any = None,
        shards: int | None = None,
    ) -> None:
        self.model = _checks.instance("Trainer: model", model, Module, "be a Module")
        self.loss = _checks.instance("Trainer: loss", loss, Loss, "be a Loss")
        if isinstance(optimizer, type) or not hasattr(optimizer, "parameters"):
            raise TypeError(f"Trainer: optimizer must be an optimizer, got {_checks.shown(optimizer)}")
        require_callbacks("Trainer", callbacks)
        self.optimizer = optimizer
        self.callbacks = list(callbacks)
        self.ranks = Alone() if comm is None else ranks_of("Trainer: comm", comm)
        self.shards = None if shards is None else _checks.whole("Trainer: shards", shards, 1)
        if self.shards is not None and self.shards % self.ranks.size:
            raise ValueError(
                f"Trainer: shards must be a multiple of the number of ranks, {self.ranks.size}, got {shards}"
            )
        self.rng = as_generator("Trainer: rng", self.ranks.same_seed() if rng is None else rng)
        self.history = History()
        self.metric_names: tuple[str, ...] = ()
        self.position = Position()
        self.skipped = 0
        self.stopping = False
        self.untrained = optimizer, untrained_parameters("Trainer", model, optimizer)

    def fit(
        self,
        x: ArrayLike | Iterable[Any],
        y: ArrayLike | None = None,
        validation_data: Sequence[ArrayLike] | Iterable[Any] | None = None,
        validation_split: float = 0.0,
        epochs: int = 1,
        batch_size: int = 32,
        augment: Augment | None = None,
        shuffle: bool = True,
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
        nan: Nan = "stop",
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
        accumulate: int = 1,
        stratify: bool = False,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x, y : array_like
            Samples and targets, paired along axis 0. Samples are converted to the dtype of the parameters
            batch by batch: a memory map is never loaded as a whole.

            Without y, x is an iterable of batches ``(x, y)`` or ``(x, y, sample_weight)``, such as a list or
            a loader of another library. It is iterated over once for each epoch, in its own order and batch
            sizes; an iterator, which is used up after one epoch, needs ``epochs=1``. One batch is read to
            check it, the others when they are needed.
        validation_data : tuple or iterable, optional
            Samples and targets to evaluate after each epoch, ``(x, y)`` or ``(x, y, sample_weight)``, or an
            iterable of such batches. A list is one if all of its items are tuples, a tuple never.
        validation_split : float
            Share of the samples to hold out as validation data; 0 <= share < 1. They are chosen at random, by
            the generator, and are the same ones in later fits and after a resume. Without `shuffle` they are
            the last ones.
        epochs, batch_size : int
            At least 1. The last batch of an epoch may be shorter. A single sample left over joins the batch
            before it, so that batch statistics are always defined.
        augment : callable, optional
            ``augment(batch, rng=generator) -> batch``, applied to every training batch (`trimtab.augment`).
            Batches have the dtype of the parameters; the result is converted back to it.
        shuffle : bool
            Whether each epoch draws a new order of the samples.
        progress : bool
            Whether to show a progress bar, or a line after each epoch: see `ProgressBar`.
        resume : path_like, optional
            A file written by `save` or by the callback `Checkpoint` in a training with these arguments.
            Training continues where it was saved, also in the middle of an epoch, up to `epochs` in all. The
            result has the same bits as a training that was never interrupted.
        nan : {"stop", "skip", "ignore"}
            What to do with a batch whose loss or gradients have a NaN or Inf: "stop" ends training with a
            FloatingPointError; "skip" leaves the batch out of weights, running statistics and metrics, and
            counts it in ``skipped``; "ignore" trains on it. If the optimizer has ``skip_nonfinite``, such
            batches are skipped instead of stopping.
        sample_weight : array_like, optional
            The weight of each sample, (N,), finite and >= 0, not 0 everywhere. The loss of a batch is
            ``sum(weight * loss) / sum(weight)``, as is that of an epoch. The loss must take the parameter
            ``sample_weight``, as those of `trimtab.losses` do. Metrics are not weighted.
        class_weight : "balanced", mapping or array_like, optional
            The factor of each class by which the weights of its samples are multiplied, >= 0: a mapping from
            classes to factors, 1 for the others; an array with a factor for each class; or "balanced", for
            ``samples / (classes * samples of the class)`` of the classes that occur in the samples to train
            on. For losses of classes. Of probabilities the largest is the class. Validation data are not
            weighted.
        accumulate : int
            Number of batches, at least 1, whose gradients make one step of the optimizer: that of the mean
            over all their samples, as of one batch of `accumulate` times the size (batch norm still sees the
            batches one by one). The last step of an epoch may have fewer. To callbacks, `skipped` and `nan`,
            the batches of a step are one batch.
        stratify : bool
            Whether `validation_split` takes the same share of each class, up to rounding.

        Returns
        -------
        History
            The mean metrics of each complete epoch, independent of the batch size: over the batches as they
            were trained on, and over the validation data; NaN if nothing counted. Ctrl-C, or a callback, ends
            training after the current batch; an incomplete epoch is not recorded. A second Ctrl-C interrupts
            at once.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind or out of range, x and y have different lengths or none,
            targets do not match the loss and the output of the model, the optimizer holds parameters that
            are not in the model, a callback cannot do its work, or `resume` is not a checkpoint of such a
            training; nothing has been changed then.
        FloatingPointError
            If a loss or gradient is not finite, depending on `nan`; the weights are those before the batch.

        Notes
        -----
        If the model is in training mode, its layers keep their modes: layers that were put into evaluation
        one by one stay there, as frozen batch norms do. A model in evaluation is trained as a whole. After
        the fit all modes are as before.
        """
        request = Request(
            x=x,
            y=y,
            validation_data=validation_data,
            validation_split=validation_split,
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
            shuffle=shuffle,
            progress=progress,
            resume=resume,
            nan=nan,
            sample_weight=sample_weight,
            class_weight=class_weight,
            accumulate=accumulate,
            stratify=stratify,
        )
        with self._together():
            return self._fit(request)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Let an error on one rank end all, and share the CPUs; with one thread of BLAS for equal bits."""
        if self.ranks.size == 1 and self.shards is None:
            yield
            return
        of_blas = None if self.shards is None else 1
        with self.ranks.ending_together(), limited_threads(self.ranks, of_blas=of_blas):
            yield

    def _fit(self, request: Request) -> History:
        self.ranks.wait()  # the first rank may be writing a checkpoint
        plan = self.ranks.together(lambda: self._plan(request))
        if self.ranks.size > 1:
            require_equal(self.ranks, "fit", facts_of(self, request, plan))
        with (
            exclusive(self, "fit"),
            started(self, plan) as start,
            interrupt_calls(self.stop),
            without_dx(self.model),
            mode_of_training(self.model) as modes,
            plan.callbacks.running(plan.epochs, plan.source.steps),
        ):
            plan.callbacks.resume(plan.callback_states)
            start.begun = True  # from here on, an error leaves the trainer as it is
            self.model.use_rng(self.rng)
            try:
                Loop(self, plan, modes).run()
            finally:
                self.position.end_training(self.model)
        return self.history

    def _plan(self, request: Request) -> Plan:
        plan = plan_fit(self, request)
        require_shareable(self, plan)
        return plan

    def stop(self) -> None:
        """End the running `fit` after the current batch."""
        self.stopping = True

    @property
    def running_metrics(self) -> dict[str, float]:
        """Means over the batches of the current epoch so far."""
        return self.position.means.values()

    def evaluate(
        self,
        x: ArrayLike | Iterable[Any],
        y: ArrayLike | None = None,
        batch_size: int = BATCH_SIZE,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Return the loss and its metrics on samples x with targets y, with the model in evaluation.

        A model in training mode evaluates as after `Module.eval`; a model in evaluation keeps the modes of
        its layers, such as those of ``eval(dropout=True)``. Nothing is saved and no mode is changed, so
        several threads may evaluate at the same time.

        Parameters
        ----------
        x, y : array_like
            As for `fit`: without y, x is an iterable of batches ``(x, y)`` or ``(x, y, sample_weight)``, and
            one batch at a time is in memory, with all outputs only if the loss has a `metrics.Score`.
        batch_size : int
            At least 1; an iterable has batches of its own.
        sample_weight : array_like, optional
            The weight of each sample, (N,), finite and >= 0, in the mean of the loss.

        Returns
        -------
        dict of str to float
            The means over all samples, independent of the size of the batches.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind or out of range, x yields no batches or none with targets, or
            they do not match the model and the loss.
        """
        batch_size = _checks.whole("evaluate: batch_size", batch_size, 1)
        require_metrics("evaluate", self.loss)
        data = read_pairs("evaluate", x, y, sample_weight)
        first = data.first if isinstance(data, PairStream) else data
        if first.weight is not None:
            require_weighted("evaluate", self.loss)
        ranks = self.ranks
        with located_errors(data), self._together():
            return evaluate(self.model, self.loss, data.batches(batch_size, ranks.rank, ranks.size), ranks)

    @overload
    def predict(
        self,
        x: ArrayLike | Iterable[Any],
        batch_size: int = BATCH_SIZE,
        samples: Literal[0] = 0,
        rng: Seed = None,
    ) -> Array: ...
    @overload
    def predict(
        self, x: ArrayLike | Iterable[Any], batch_size: int = BATCH_SIZE, samples: int = 0, rng: Seed = None
    ) -> Array | Prediction: ...
    def predict(
        self, x: ArrayLike | Iterable[Any], batch_size: int = BATCH_SIZE, samples: int = 0, rng: Seed = None
    ) -> Array | Prediction:
        """Return the output of the model, in evaluation as for `evaluate`, for samples x.

        Parameters
        ----------
        x : array_like
            A memory map is read batch by batch. For no samples, the result is the empty output of the model.

            Or an iterable of batches, as for `fit`: arrays x, or tuples such as ``(x, y)`` whose first item
            counts. A list of such pairs is an iterable of batches; a list of arrays is an array_like.
        batch_size : int
            At least 1; an iterable has batches of its own.
        samples : int
            0, or the number of passes of Monte-Carlo dropout (Gal and Ghahramani 2016): in each pass dropout
            and other layers that draw do so, everything else evaluates. No mode is changed, and memory does
            not grow with the number of passes.
        rng : int, numpy.random.Generator, numpy.random.RandomState or None
            What the passes draw from; None: the generator of the trainer. The same seed gives the same bits
            for the same `batch_size`.

        Returns
        -------
        numpy.ndarray or Prediction
            With `samples`, the fields ``mean`` and ``std`` over the passes; ``std`` is that of `numpy.std`,
            with ``ddof=0``. They are computed in float64 and have the dtype of the output.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind or out of range, x yields no batches, the outputs of some have
            another shape or no entry for each sample, or no layer draws though there are `samples`.
        """
        batch_size = _checks.whole("predict: batch_size", batch_size, 1)
        passes = _checks.whole("predict: samples", samples, 0)
        generator = self.rng if rng is None else as_generator("predict: rng", rng)
        if passes and not any(module.draws for _, module in self.model.modules()):
            raise ValueError(f"predict: samples must be 0 without a layer that draws, got {passes}")
        data = read_unpaired("predict", x)
        ranks = self.ranks
        with located_errors(data), self._together():
            if passes:
                return predict_sampling(self.model, data.batches(batch_size), passes, generator)
            return predict(self.model, data.batches(batch_size, ranks.rank, ranks.size), ranks)

    def validated_state(self) -> dict[str, Array]:
        """Return the weights that validation uses: a callback may replace those of the model meanwhile."""
        with validating(self.callbacks, self):
            state: dict[str, Array] = self.model.state_dict()
        return state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, optimizer, generator, history, position and callbacks to a safetensors file.

        Arrays are stored as ``model/<name>``, ``optimizer/<name>`` and so on, everything else as JSON in the
        metadata. The file appears whole or not at all. A training may be saved in any hook of a callback,
        after Ctrl-C and after an error, and resumes exactly there.

        Parameters
        ----------
        path : path_like
            File to write; an existing file is replaced.

        Raises
        ------
        RuntimeError
            If it is called in the middle of a batch, by another thread or a signal handler.
        OSError
            If the file cannot be written; an existing file is unchanged.
        MissingExtra
            If safetensors is not installed.
        """
        if self.ranks.rank == 0:
            save(self, path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Restore model, optimizer, generator, history and position from a file written by `save`.

        Parameters
        ----------
        path : path_like

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is damaged, or of another model, optimizer or kind of generator; nothing has been changed
            then.
        RuntimeError
            While a `fit` of this trainer runs, such as in a hook of a callback.
        MissingExtra
            If safetensors is not installed.
        """
        self.ranks.wait()  # the first rank may be writing the file
        with exclusive(self, "load"):
            SavedTraining("load", path, self).load_into(self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the samples that the model takes: that of its first parameter."""
        return dtype_of(self.model)
