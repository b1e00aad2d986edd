"""Batch norm needs batches that are large and look like the data; layer, group and renormalization do not.

Mean and variance of two samples are noise, and those of a batch of two classes belong to these classes: the net
learns from other inputs than it has at inference, which takes running averages. Layer and group norm look at one
sample at a time. Batch renormalization corrects each batch toward the running averages:

    y = r (x - mean_B) / sd_B + d,  r = sd_B / sd,  d = (mean_B - mean) / sd,

with r and d constant in the gradient and within limits. To tell what harms, training or the running averages,
each net with batch norm is also tested with the statistics of all training samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, above, at_least, at_most
from trimtab.lab.nets import MLP, NORMS, minibatches
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD

LABELS = {"batch": "batch norm", "renorm": "batch renorm", "layer": "layer norm", "group": "group norm"}
ALL_CLASSES = 0


@dataclass(frozen=True)
class Setting:
    """Fashion-MNIST; widths of the net, ReLU; SGD without momentum."""

    samples: int = 10_000
    widths: tuple[int, ...] = (784, 256, 256, 10)
    epochs: int = 8
    lr_per_sample: float = 0.1 / 128  # the learning rate is proportional to the batch size
    batches: tuple[int, ...] = (2, 4, 8, 32, 128)
    alike_batch: int = 32  # size of the batches whose samples are of few classes
    alike_classes: int = 2
    r_max: float = 3.0
    d_max: float = 5.0
    renorm_momentum: float = 0.01


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Return every norm with every batch size, and with batches of few classes."""
    batches = [(batch, ALL_CLASSES) for batch in setting.batches]
    batches.append((setting.alike_batch, setting.alike_classes))
    return [
        {"norm": norm, "batch": batch, "classes": classes} for norm in LABELS for batch, classes in batches
    ]


def network(setting: Setting, norm: str, steps: int, seed: int) -> nn.Sequential:
    """Return a net; the limits of renormalization open from a tenth to a half of the steps."""

    def renorm(width: int) -> nn.Module:
        ramp = steps / 10, steps / 2
        limits = nn.Ramp(1, setting.r_max, *ramp), nn.Ramp(0, setting.d_max, *ramp)
        return nn.BatchNorm(
            width, renorm=True, r_max=limits[0], d_max=limits[1], momentum=setting.renorm_momentum
        )

    make: Callable[[int], nn.Module] = renorm if norm == "renorm" else NORMS[norm]
    rng, layers = np.random.default_rng(seed), []
    *hidden, last = [*pairwise(setting.widths)]
    for inputs, outputs in hidden:
        layers += [nn.Linear(inputs, outputs, rng=rng), make(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*last, rng=rng))


def alike(labels: Array, size: int, classes: int, seed: int) -> Iterator[Array]:
    """Yield batches of samples of few classes, without end."""
    rng, part = np.random.default_rng(seed), size // classes
    while True:
        order = rng.permutation(len(labels))
        by_class = order[np.argsort(labels[order], kind="stable")]
        parts = rng.permutation(by_class[: len(labels) // size * size].reshape(-1, part))
        yield from parts.reshape(-1, size)


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, norm: str, batch: int, classes: int
) -> dict[str, Any]:
    """Return the accuracy on the test images, with running averages and with statistics of all samples."""
    x, labels, x_test, y_test = data.fashion_mnist
    x, labels = x[: setting.samples], labels[: setting.samples]
    steps = setting.epochs * len(x) // batch
    model, loss = network(setting, norm, steps, seed), CrossEntropy()
    model.wants_dx = False
    optimizer = SGD(model, setting.lr_per_sample * batch)
    endless = (
        minibatches(len(x), batch, seed) if classes == ALL_CLASSES else alike(labels, batch, classes, seed)
    )
    for _, chosen in zip(progress(range(steps)), islice(endless, steps), strict=True):
        model.backward(loss(model.forward(x[chosen]), labels[chosen])[1])
        optimizer.step()

    def accuracy() -> float:
        return float((model.forward(x_test).argmax(axis=1) == y_test).mean())

    model.eval()
    found = {"accuracy": accuracy()}
    if norm in ("batch", "renorm"):
        nn.update_batch_norm(model, x)
        found["accuracy by all"] = accuracy()
    return found
