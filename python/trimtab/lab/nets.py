"""The nets that most experiments train, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array, Seed
from trimtab.datasets import Dataset
from trimtab.lab.progress import Progress
from trimtab.losses import CrossEntropy, Loss
from trimtab.optim import Optimizer
from trimtab.trainer import Trainer

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
    "group": lambda width: nn.GroupNorm(8, width),
}


@dataclass(frozen=True)
class MLP:
    """A net of linear layers: each hidden one is linear, norm, activation, dropout.

    Parameters
    ----------
    widths : tuple of int
        Inputs, hidden layers, outputs.
    activation : {"relu", "sigmoid", "tanh"}
    norm : {None, "batch", "layer", "rms", "group"}
        "group" has 8 groups. The linear layers before a batch norm have no bias.
    input_dropout, dropout : float
        Probability of dropping an input, and a hidden unit.
    init_sd : float, optional
        Standard deviation of the initial weights; by default sqrt(2 / inputs) of the layer.
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    norm: str | None = None
    input_dropout: float = 0.0
    dropout: float = 0.0
    init_sd: float | None = None

    def build(self, seed: Seed) -> nn.Sequential:
        """Return the net, with weights drawn from the seed."""
        rng = np.random.default_rng(seed)
        layers: list[nn.Module] = [nn.Dropout(self.input_dropout)] if self.input_dropout else []
        *hidden, last = [*pairwise(self.widths)]
        for inputs, outputs in hidden:
            layers.append(self._linear(inputs, outputs, self.norm != "batch", rng))
            layers += [NORMS[self.norm](outputs)] if self.norm else []
            layers.append(ACTIVATIONS[self.activation]())
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*layers, self._linear(*last, True, rng))

    def _linear(self, inputs: int, outputs: int, bias: bool, rng: np.random.Generator) -> nn.Linear:
        if self.init_sd is None:
            return nn.Linear(inputs, outputs, bias=bias, rng=rng)
        return nn.Linear(inputs, outputs, bias=bias, init="normal", gain=self.init_sd, rng=rng)


def minibatches(samples: int, size: int, seed: Seed) -> Iterator[Array]:
    """Yield the numbers of the samples of each batch, without end: each epoch has an order of its own.

    What is left over at the end of an epoch is not used.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(samples)
        yield from (order[start : start + size] for start in range(0, samples - size + 1, size))


def drawn(data: Dataset, samples: int, seed: Seed) -> Dataset:
    """Return the data with so many samples to train on, drawn from the seed."""
    chosen = np.random.default_rng(seed).permutation(len(data.x_train))[:samples]
    return data._replace(x_train=data.x_train[chosen], y_train=data.y_train[chosen])


def train(
    model: nn.Module,
    optimizer: Optimizer,
    data: Dataset,
    *,
    epochs: int,
    batch_size: int,
    seed: Seed,
    progress: Progress,
    loss: Loss | None = None,
    steps: int | None = None,
    **options: Any,
) -> dict[str, list[float]]:
    """Train a classifier, and return its curves: loss, accuracy, val_loss and val_accuracy of each epoch.

    The options are those of `Trainer.fit`. Validation is on all of the test data. An epoch has a number of
    steps if it is given, however many samples there are.
    """
    trainer = Trainer(model, loss or CrossEntropy(), optimizer, rng=seed)
    test = data.x_test, data.y_test
    curves: dict[str, list[float]] = {}
    batches = minibatches(len(data.x_train), min(batch_size, len(data.x_train)), seed)
    for _ in progress(range(epochs)):
        x, y = data.x_train, data.y_train
        some = ((x[batch], y[batch]) for batch in islice(batches, steps))
        history = trainer.fit(
            some if steps else x,
            None if steps else y,
            validation_data=test,
            batch_size=batch_size,
            progress=False,
            **options,
        )
        if not history.epochs:  # a fit ends early at Ctrl-C
            raise KeyboardInterrupt
        for name, values in history.items():
            curves.setdefault(name, []).extend(values)
    return curves
