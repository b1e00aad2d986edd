"""Averages the weights of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from trimtab import _checks
from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike
from trimtab.nn.dtypes import compute_dtype
from trimtab.nn.options import Option

AVERAGE = "average."


class WeightAverage(Callback):
    """Keeps an exponential moving average of the weights: for validation, and for the model after training.

    After t steps it is ``(1 - decay) * sum_i decay^(t-i) w_i / (1 - decay^t)``, where w_i are the weights
    after step i: an average of weights that training has reached, from the first step on. Training itself
    goes on with the weights as they are.

    Averaged are all parameters and all buffers of floats, such as running statistics, in float32 or wider.
    `trimtab.nn.update_batch_norm` makes the statistics exact for the averaged weights.

    Parameters
    ----------
    decay : float
        From 0, the last weights alone, to 1, the plain mean of the weights after all steps (Polyak and
        Juditsky 1992).
    start_from_epoch : float
        Number of epochs before the average begins, as in stochastic weight averaging (Izmailov et al. 2018).

    Attributes
    ----------
    count : int
        Number of steps in the average.
    average : dict of str to numpy.ndarray
        The averaged weights by name, as in `Module.state_dict`; empty before the first step.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong kind or out of range.

    Notes
    -----
    `EarlyStopping` and other callbacks see the metrics of the averaged weights, and
    ``restore_best_weights`` restores averaged weights. A `Checkpoint` has the weights as they are, and the
    average beside them: a resumed training has the bits of one that was never interrupted.

    Examples
    --------
    >>> from trimtab import callbacks
    >>> average = callbacks.WeightAverage(decay=0.99)
    """

    decay = Option(_checks.number, 0, 1)
    start_from_epoch = Option(_checks.number, 0)

    def __init__(self, decay: float = 0.999, start_from_epoch: float = 0) -> None:
        self.decay, self.start_from_epoch = decay, start_from_epoch
        self._reset(0)

    def _reset(self, steps: int) -> None:
        self.count, self.average = 0, dict[str, Array]()
        self._steps = steps  # of the optimizer, seen so far

    @property
    def identity(self) -> str:
        """The name, or the class and the decay."""
        return self.name or f"WeightAverage({self.decay:g})"

    def on_fit_begin(self, trainer: TrainerLike, epochs: int, batches: int) -> None:
        """Begin a new average."""
        self._reset(trainer.optimizer.steps)

    def on_batch_end(self, trainer: TrainerLike, batch: int, logs: Mapping[str, float]) -> None:
        """Add the weights, unless the batch was skipped."""
        steps = trainer.optimizer.steps
        if steps == self._steps or trainer.history.epochs < self.start_from_epoch:
            return
        self._steps = steps
        self.count += 1
        share = (1 - self.decay) / (1 - self.decay**self.count) if self.decay < 1 else 1 / self.count
        weights = {parameter.name: parameter.value for parameter in trainer.model.parameters()}
        for name, array in (weights | trainer.model.buffers()).items():
            self._add(name, array, share)

    def _add(self, name: str, array: Array, share: float) -> None:
        if array.dtype.kind in "iub" or name not in self.average:
            dtype = array.dtype if array.dtype.kind in "iub" else compute_dtype(array)
            self.average[name] = array.astype(dtype)
        else:
            average = self.average[name]
            average += share * (array.astype(average.dtype, copy=False) - average)

    @contextmanager
    def validating(self, trainer: TrainerLike) -> Iterator[None]:
        """Let validation use the average."""
        if not self.count:
            yield
            return
        trained = trainer.model.state_dict()
        trainer.model.load_state_dict(self.average)
        try:
            yield
        finally:
            trainer.model.load_state_dict(trained)

    def on_fit_end(self, trainer: TrainerLike) -> None:
        """Give the average to the model, unless a callback before has given it other weights."""
        if self.count and not trainer.position.weights_replaced(trainer.model):
            trainer.model.load_state_dict(self.average)

    def state_dict(self) -> dict[str, Array]:
        """Return the average, the number of steps in it, and the steps of the optimizer that were seen."""
        average = {AVERAGE + name: array for name, array in self.average.items()}
        return {"count": np.array(self.count), "steps": np.array(self._steps)} | average

    def on_resume(self, trainer: TrainerLike, state: Mapping[str, Array]) -> None:
        """Continue the average."""
        self.count, self._steps = int(state["count"]), int(state["steps"])
        self.average = {
            name.removeprefix(AVERAGE): np.array(array)
            for name, array in state.items()
            if name.startswith(AVERAGE)
        }
