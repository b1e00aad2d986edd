"""The training loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab import extras
from trimtab._typing import Array, Seed
from trimtab.callbacks import Callback, ProgressBar
from trimtab.losses import Loss
from trimtab.nn.module import Module
from trimtab.optim import SGD

VALIDATION = "val_"


class History(dict[str, list[float]]):
    """Metrics by name, one value for each complete epoch."""

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
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.callbacks = list(callbacks)
        self.rng = np.random.default_rng(rng)
        self.history = History()
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
            ``augment(batch, rng=generator) -> batch``, applied to every training batch.
        shuffle : bool
            Whether each epoch draws a new order.
        progress : bool
            Whether to show a progress bar (if tqdm is installed).

        Returns
        -------
        History
            Mean metrics of each complete epoch: over the batches as they were trained, and on the validation
            data. Ctrl-C, or a callback, ends training after the batch; the epoch it cuts short is not
            recorded. A second Ctrl-C interrupts at once.
        """
        if epochs < 1 or batch_size < 1:
            raise ValueError(f"fit: epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
        x, y = self._pair("fit", x, y)
        if validation_data is not None and validation_split:
            raise ValueError(f"fit: validation_split must be 0 with validation_data, got {validation_split}")
        if validation_data is not None:
            validation_data = self._pair("fit", *validation_data)
        elif validation_split:
            x, y, validation_data = _hold_out(x, y, validation_split)

        batches = batch_slices(len(x), batch_size)
        callbacks = [*self.callbacks, *([ProgressBar()] if progress else [])]
        self.history = History()
        self._stopping = False
        self.model.use_rng(self.rng)
        with _ends_on_interrupt(self), _without_dx(self.model):
            try:
                for callback in callbacks:
                    callback.on_fit_begin(self, epochs, len(batches))
                for epoch in range(1, epochs + 1):
                    logs = self._epoch(x, y, batches, epoch, augment, shuffle, callbacks)
                    if self._stopping:
                        break
                    if validation_data is not None:
                        validation = self.evaluate(*validation_data)
                        logs |= {VALIDATION + name: value for name, value in validation.items()}
                    for name, value in logs.items():
                        self.history.setdefault(name, []).append(value)
                    for callback in callbacks:
                        callback.on_epoch_end(self, epoch, logs)
                    if self._stopping:
                        break
            finally:
                for callback in callbacks:
                    callback.on_fit_end(self)
        return self.history

    def stop(self) -> None:
        """End the running `fit` after the current batch."""
        self._stopping = True

    def evaluate(self, x: ArrayLike, y: ArrayLike, batch_size: int = 256) -> dict[str, float]:
        """Return the loss and its metrics on samples x with targets y, the model in evaluation mode."""
        x, y = self._pair("evaluate", x, y)
        means = _Means()
        with _evaluating(self.model):
            for part in batch_slices(len(x), batch_size):
                means.add(self._measure(self.model.forward(x[part]), y[part])[0], part.stop - part.start)
        return means.values()

    def predict(self, x: ArrayLike, batch_size: int = 256) -> Array:
        """Return the model's output for samples x, the model in evaluation mode."""
        x = self._samples("predict", x)
        with _evaluating(self.model):
            return np.concatenate([self.model.forward(x[part]) for part in batch_slices(len(x), batch_size)])

    def _epoch(
        self,
        x: Array,
        y: Array,
        batches: list[slice],
        epoch: int,
        augment: Callable[..., Array] | None,
        shuffle: bool,
        callbacks: list[Callback],
    ) -> dict[str, float]:
        self.model.train()
        means = _Means()
        order = self.rng.permutation(len(x)) if shuffle else np.arange(len(x))
        for callback in callbacks:
            callback.on_epoch_begin(self, epoch)
        for batch, part in enumerate(batches):
            for callback in callbacks:
                callback.on_batch_begin(self, batch)
            chosen = order[part]
            samples = x[chosen] if augment is None else augment(x[chosen], rng=self.rng)
            logs, gradient = self._measure(self.model.forward(samples), y[chosen])
            self.model.backward(gradient)
            self.optimizer.step()
            means.add(logs, len(chosen))
            for callback in callbacks:
                callback.on_batch_end(self, batch, logs)
            if self._stopping:
                break
        return means.values()

    def _measure(self, output: Array, target: Array) -> tuple[dict[str, float], Array]:
        value, gradient = self.loss(output, target)
        metrics = {name: metric(output, target) for name, metric in self.loss.metrics.items()}
        return {"loss": value} | metrics, gradient

    def _samples(self, function: str, x: ArrayLike) -> Array:
        parameters = self.model.parameters()
        samples = np.asarray(x, dtype=parameters[0].value.dtype if parameters else None)
        if samples.ndim == 0 or len(samples) == 0:
            raise ValueError(f"{function}: x must hold at least one sample, got shape {samples.shape}")
        return samples

    def _pair(self, function: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        samples, targets = self._samples(function, x), np.asarray(y)
        if targets.shape[:1] != samples.shape[:1]:
            raise ValueError(
                f"{function}: y must have {len(samples)} entries as x, got shape {targets.shape}"
            )
        return samples, targets


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
            self._sums[name] = self._sums.get(name, 0.0) + value * samples
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
