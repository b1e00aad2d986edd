"""The training loop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab import checkpoint, extras
from trimtab._typing import Array, Seed
from trimtab.callbacks import Callback, ProgressBar
from trimtab.losses import Loss
from trimtab.nn.module import Module
from trimtab.optim import SGD

VALIDATION = "val_"


class History(dict[str, list[float]]):
    """Metrics by name, one value for each complete epoch."""

    @property
    def epochs(self) -> int:
        """Number of complete epochs."""
        return min(map(len, self.values()), default=0)

    def plot(self, axes: Any = None) -> Any:
        """Draw the curves: the loss, and the other metrics if there are any; validation dashed.

        Parameters
        ----------
        axes : sequence of matplotlib.axes.Axes, optional
            One for each metric; a new figure where absent.

        Returns
        -------
        list of matplotlib.axes.Axes

        Raises
        ------
        MissingExtra
            If matplotlib is not installed.
        """
        metrics = [name for name in self if not name.startswith(VALIDATION)]
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


class Trainer:
    """Trains, evaluates and applies a model.

    Parameters
    ----------
    model : Module
    loss : Loss
        It brings the metrics that are reported (``loss.metrics``).
    optimizer : SGD
        Made of the parameters of `model`.
    callbacks : sequence of Callback
        Called in order at every hook.
    rng : int, numpy.random.Generator or None
        The one source of chance: the order of samples, augmentation, and every layer that draws.

    Attributes
    ----------
    history : History
        Of the current or last `fit`.
    metric_names : tuple of str
        The metrics of each epoch of that `fit`, in order.

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
        if not isinstance(loss, Loss):
            raise TypeError(f"Trainer: loss must be a Loss, got {loss!r}")
        if not {*optimizer.parameters} <= {*model.parameters()}:
            raise ValueError(f"Trainer: optimizer must hold parameters of the model, got {optimizer!r}")
        if not isinstance(callbacks, Sequence) or not all(isinstance(item, Callback) for item in callbacks):
            raise TypeError(f"Trainer: callbacks must be a sequence of Callback, got {callbacks!r}")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.callbacks = list(callbacks)
        self.rng = np.random.default_rng(rng)
        self.history = History()
        self.metric_names: tuple[str, ...] = ()
        self._means = _Means()
        self._stopping = False

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        validation_split: float = 0.0,
        epochs: int = 1,
        batch_size: int = 32,
        augment: Callable[..., Array] | None = None,
        shuffle: bool = True,
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x, y : array_like
            Samples and targets, paired along axis 0. Samples are converted to the dtype of the parameters.
        validation_data : tuple of array_like, optional
            Samples and targets that are evaluated after each epoch.
        validation_split : float
            Share of x and y, taken from their end, that is held out as validation data; 0 <= share < 1.
        epochs, batch_size : int
            At least 1. The last batch of an epoch may be shorter; a single sample left over joins the batch
            before it, so that batch statistics are always defined.
        augment : callable, optional
            ``augment(batch, rng=generator) -> batch``, applied to every training batch (`trimtab.augment`).
        shuffle : bool
            Whether each epoch draws a new order.
        progress : bool
            Whether to show a progress bar (if tqdm is installed).
        resume : path_like, optional
            A file that `save`, or the callback `Checkpoint`, wrote in a training with these arguments: go on
            after its last epoch, up to `epochs` in all. The result has the bits of a training that was never
            interrupted.

        Returns
        -------
        History
            Mean metrics of each complete epoch: over the batches as they were trained, and on the validation
            data. Ctrl-C, or a callback, ends training after the batch; an epoch that is cut short is not
            recorded. A second Ctrl-C interrupts at once.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind or out of range, x and y have different lengths or none, or
            `resume` is no checkpoint of such a training; nothing has been changed then.
        """
        _require_positive("fit", epochs=epochs, batch_size=batch_size)
        x, y = self._pair("fit", x, y)
        if validation_data is not None and validation_split:
            raise ValueError(f"fit: validation_split must be 0 with validation_data, got {validation_split}")
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
                raise TypeError(
                    f"fit: validation_data must be samples and targets, got {type(validation_data).__name__}"
                )
            validation_data = self._pair("fit", *validation_data, of=" of validation_data")
        elif validation_split:
            x, y, validation_data = _hold_out(x, y, validation_split)

        batches = batch_slices(len(x), batch_size)
        callbacks = [*self.callbacks, *([ProgressBar()] if progress else [])]
        names = ("loss", *self.loss.metrics)
        if validation_data is not None:
            names += tuple(VALIDATION + name for name in names)
        if resume is None:
            states: checkpoint.Groups = {}
            self.history = History()
        else:
            states = self._load("fit", resume, names)
        self.metric_names = names
        self._stopping = False
        self.model.use_rng(self.rng)
        with _ends_on_interrupt(self), _without_dx(self.model):
            try:
                for callback in callbacks:
                    callback.on_fit_begin(self, epochs, len(batches))
                for label, callback in self._labelled_callbacks():
                    if label in states:
                        callback.on_resume(self, states[label])
                for epoch in range(self.history.epochs + 1, epochs + 1):
                    if self._stopping or not self._epoch(x, y, batches, epoch, augment, shuffle, callbacks):
                        break
                    logs = self.running_metrics
                    if validation_data is not None:
                        validation = self.evaluate(*validation_data)
                        logs |= {VALIDATION + name: value for name, value in validation.items()}
                    for name, value in logs.items():
                        self.history.setdefault(name, []).append(value)
                    for callback in callbacks:
                        callback.on_epoch_end(self, epoch, logs)
                    for callback in callbacks:
                        callback.on_checkpoint(self, epoch, logs)
            finally:
                for callback in callbacks:
                    callback.on_fit_end(self)
        return self.history

    def stop(self) -> None:
        """End the running `fit` after the current batch."""
        self._stopping = True

    @property
    def running_metrics(self) -> dict[str, float]:
        """Means over the batches of the current epoch so far."""
        return self._means.values()

    def evaluate(self, x: ArrayLike, y: ArrayLike, batch_size: int = 256) -> dict[str, float]:
        """Return the loss and its metrics on samples x with targets y, the model in evaluation mode."""
        _require_positive("evaluate", batch_size=batch_size)
        x, y = self._pair("evaluate", x, y)
        means = _Means()
        with _evaluating(self.model):
            for part in batch_slices(len(x), batch_size):
                means.add(self._measure(self.model.forward(x[part]), y[part])[0], part.stop - part.start)
        return means.values()

    def predict(self, x: ArrayLike, batch_size: int = 256) -> Array:
        """Return the model's output for samples x, the model in evaluation mode."""
        _require_positive("predict", batch_size=batch_size)
        x = self._samples("predict", x)
        with _evaluating(self.model):
            return np.concatenate([self.model.forward(x[part]) for part in batch_slices(len(x), batch_size)])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, optimizer, generator, history and the state of the callbacks to a safetensors file.

        Arrays are stored as ``model/<name>``, ``optimizer/<name>`` and so on, the rest as JSON in the
        metadata. The file appears whole or not at all.

        Parameters
        ----------
        path : path_like
            File to write; replaced if there is one.

        Raises
        ------
        MissingExtra
            If safetensors is not installed.
        """
        states = {label: callback.state_dict() for label, callback in self._labelled_callbacks()}
        own = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        notes = {"rng": self.rng.bit_generator.state, "history": self.history}
        checkpoint.write(path, own | states, notes)

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
        MissingExtra
            If safetensors is not installed.
        """
        self._load("load", path)

    def _load(
        self, function: str, path: str | os.PathLike[str], names: tuple[str, ...] = ()
    ) -> checkpoint.Groups:
        """Do as `load`, which must have these metrics if names are given, and return the other groups."""
        groups, notes = checkpoint.read(path)
        history = History(notes["history"])
        if names and history and set(history) != set(names):
            wanted, found = ", ".join(names), ", ".join(history)
            raise ValueError(f"{function}: {os.fspath(path)} must have the metrics {wanted}, got {found}")
        generator, kind = self.rng.bit_generator, notes["rng"]["bit_generator"]
        if type(generator).__name__ != kind:
            raise ValueError(f"{function}: rng must be a {kind} as in {os.fspath(path)}, got {generator}")
        before = self.model.state_dict()
        self.model.load_state_dict(groups.pop("model", {}))
        try:
            self.optimizer.load_state_dict(groups.pop("optimizer", {}))
        except (TypeError, ValueError):
            self.model.load_state_dict(before)
            raise
        generator.state = notes["rng"]
        self.history = history
        return groups

    def _labelled_callbacks(self) -> list[tuple[str, Callback]]:
        """Callbacks by kind and number: other callbacks may come and go from one `fit` to the next."""
        kinds = [type(callback).__name__ for callback in self.callbacks]
        labels = [f"{kind}.{kinds[:position].count(kind)}" for position, kind in enumerate(kinds)]
        return list(zip(labels, self.callbacks, strict=True))

    def _epoch(
        self,
        x: Array,
        y: Array,
        batches: list[slice],
        epoch: int,
        augment: Callable[..., Array] | None,
        shuffle: bool,
        callbacks: list[Callback],
    ) -> bool:
        """Train an epoch; return whether it came to its end."""
        self.model.train()
        self._means = _Means()
        order = self.rng.permutation(len(x)) if shuffle else np.arange(len(x))
        for callback in callbacks:
            callback.on_epoch_begin(self, epoch)
        for batch, part in enumerate(batches):
            if self._stopping:
                return False
            for callback in callbacks:
                callback.on_batch_begin(self, batch)
            chosen = order[part]
            samples, targets = x.take(chosen, axis=0), y.take(chosen, axis=0)
            if augment is not None:
                samples = augment(samples, rng=self.rng)
            logs, gradient = self._measure(self.model.forward(samples), targets)
            self.model.backward(gradient)
            self.optimizer.step()
            self._means.add(logs, len(chosen))
            for callback in callbacks:
                callback.on_batch_end(self, batch, logs)
        return True

    def _measure(self, output: Array, target: Array) -> tuple[dict[str, float], Array]:
        value, gradient = self.loss(output, target)
        metrics = {name: metric(output, target) for name, metric in self.loss.metrics.items()}
        return {"loss": value} | metrics, gradient

    def _samples(self, function: str, x: ArrayLike, of: str = "") -> Array:
        try:
            given = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"{function}: x{of} must have samples of one shape, got {error}") from error
        parameters = self.model.parameters()
        dtype = parameters[0].value.dtype if parameters else given.dtype
        if not np.can_cast(given.dtype, dtype, "same_kind"):
            raise TypeError(f"{function}: x{of} must be real numbers, got dtype {given.dtype}")
        samples = given.astype(dtype, copy=False)
        if samples.ndim == 0 or len(samples) == 0:
            raise ValueError(f"{function}: x{of} must hold at least one sample, got shape {samples.shape}")
        return samples

    def _pair(self, function: str, x: ArrayLike, y: ArrayLike, of: str = "") -> tuple[Array, Array]:
        samples, targets = self._samples(function, x, of), np.asarray(y)
        if targets.shape[:1] != samples.shape[:1]:
            raise ValueError(
                f"{function}: y{of} must have {len(samples)} entries as x, got shape {targets.shape}"
            )
        return samples, targets


def _require_positive(function: str, **counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int | np.integer):
            raise TypeError(f"{function}: {name} must be an int, got {count!r}")
        if count < 1:
            raise ValueError(f"{function}: {name} must be at least 1, got {count}")


def _hold_out(x: Array, y: Array, share: float) -> tuple[Array, Array, tuple[Array, Array]]:
    """Split off the last share of the samples."""
    kept = round(len(x) * (1 - share))
    if not (0 < share < 1 and 0 < kept < len(x)):
        raise ValueError(f"fit: validation_split must leave samples on both sides, got {share}")
    return x[:kept], y[:kept], (x[kept:], y[kept:])


class _Means:
    """Means over samples of metrics that come batch by batch."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._samples = 0

    def add(self, metrics: dict[str, float], samples: int) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value) * samples
        self._samples += samples

    def values(self) -> dict[str, float]:
        return {name: total / self._samples for name, total in self._sums.items()}


def batch_slices(samples: int, batch_size: int) -> list[slice]:
    """Cut range(samples) into slices; the last may be shorter, and a single sample left over joins it."""
    edges = [*range(0, samples, batch_size), samples]
    if batch_size > 1 and len(edges) > 2 and edges[-1] - edges[-2] == 1:
        del edges[-2]
    return [slice(begin, end) for begin, end in pairwise(edges)]


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Switch to evaluation and give every module its mode back afterwards."""
    modes = [(module, module.training) for _, module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _without_dx(model: Module) -> Iterator[None]:
    """Spare the first layer its dx, which training does not read."""
    wanted = model.wants_dx
    model.wants_dx = False
    try:
        yield
    finally:
        model.wants_dx = wanted


@contextmanager
def _ends_on_interrupt(trainer: Trainer) -> Iterator[None]:
    """Turn the first Ctrl-C into ``trainer.stop()``. Python delivers signals to the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, previous)
        trainer.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
