"""What callbacks see of a trainer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from trimtab._typing import Array
from trimtab.losses import Loss
from trimtab.nn.module import Module
from trimtab.optim import Optimizer
from trimtab.training.history import History
from trimtab.training.position import Position


class TrainerLike(Protocol):
    """The part of `trimtab.Trainer` that callbacks read and call.

    Attributes
    ----------
    model : Module
    loss : Loss
    optimizer : Optimizer
    rng : numpy.random.Generator
    history : History
        The complete epochs so far; after ``fit(..., resume=...)`` with those of the earlier training.
    metric_names : tuple of str
        The metrics of each epoch of this fit, in order.
    running_metrics : dict of str to float
        Means over the batches of the current epoch so far.
    position : Position
        Where the fit stands.
    skipped : int
        Number of batches that the fit has skipped because of NaN or Inf.
    """

    model: Module
    loss: Loss
    optimizer: Optimizer
    rng: np.random.Generator
    history: History
    metric_names: tuple[str, ...]
    position: Position
    skipped: int

    @property
    def running_metrics(self) -> dict[str, float]:
        """Means over the batches of the current epoch so far."""
        ...

    def validated_state(self) -> dict[str, Array]:
        """Return the weights that validation uses."""
        ...

    def stop(self) -> None:
        """End the fit after the current batch."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint."""

    def evaluate(
        self, x: ArrayLike | Iterable[Any], y: ArrayLike | None = None, batch_size: int = ...
    ) -> dict[str, float]:
        """Return the loss and its metrics."""
        ...

    def predict(self, x: ArrayLike | Iterable[Any], batch_size: int = ...) -> Array:
        """Return the output of the model."""
        ...
