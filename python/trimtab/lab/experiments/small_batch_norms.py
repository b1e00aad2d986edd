"""Batch norm needs batches that are large and look like the data; layer and group norm do not.

Mean and variance of two samples are noise, and those of a batch of two classes belong to these classes: the
net learns from other inputs than it has at inference, which takes running averages. Layer and group norm look
at one sample at a time. Batch renormalization corrects each batch toward the running averages:

    y = r (x - mean_B) / sd_B + d,  r = sd_B / sd,  d = (mean_B - mean) / sd,

with r and d constant in the gradient and within limits. To tell what harms, training or the running averages,
each net with batch norm is also tested with the statistics of all training samples. Batches of few classes
are one-sided for any net: what they cost without a norm is measured, too.
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
from trimtab.optim import SGD, Cosine

LABELS = {
    "none": "no norm",
    "batch": "batch norm",
    "renorm": "batch renorm",
    "layer": "layer norm",
    "group": "group norm",
}
ALL_CLASSES = 0


@dataclass(frozen=True)
class Setting:
    """Fashion-MNIST; widths of the net, ReLU; SGD without momentum."""

    samples: int = 10_000
    widths: tuple[int, ...] = (784, 256, 256, 10)
    epochs: int = 8
    lr_per_sample: float = 0.1 / 128  # the rate at the start is proportional to the batch size; cosine decay
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

    makers: dict[str, Callable[[int], nn.Module]] = {**NORMS, "renorm": renorm}
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    *hidden, last = [*pairwise(setting.widths)]
    for inputs, outputs in hidden:
        layers.append(nn.Linear(inputs, outputs, rng=rng))
        layers += [] if norm == "none" else [makers[norm](outputs)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(*last, rng=rng))


def alike(labels: Array, size: int, classes: int, seed: int) -> Iterator[Array]:
    """Yield batches of samples of few classes, without end."""
    rng, part = np.random.default_rng(seed), size // classes
    while True:
        order = rng.permutation(len(labels))[: len(labels) // size * size]
        by_class = order[np.argsort(labels[order], kind="stable")]
        parts = rng.permutation(by_class.reshape(-1, part))
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
    optimizer = SGD(model, Cosine(setting.lr_per_sample * batch, steps=steps))
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


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare the accuracies of batch sizes and norms, in points."""

    def points(norm: str, batch: int, classes: int = ALL_CLASSES, key: str = "accuracy") -> Array:
        return 100 * runs.values(key, norm=norm, batch=batch, classes=classes)

    def loss_by_few_classes(norm: str) -> Array:
        return points(norm, setting.alike_batch) - points(norm, setting.alike_batch, setting.alike_classes)

    small, large = min(setting.batches), max(setting.batches)
    found = []
    for norm in ("layer", "group"):
        accuracies = np.array([points(norm, batch) for batch in setting.batches])
        text = f"spread of accuracy over batches of {small} to {large}, points, {LABELS[norm]}"
        found.append(Claim.of_mean(text, np.ptp(accuracies, axis=0), at_most(1.5)))
    loss = points("batch", large) - points("batch", small)
    gain = points("renorm", small) - points("batch", small)
    by_all = points("batch", small, key="accuracy by all") - points("batch", small)
    few = f"batches of {setting.alike_batch} samples of {setting.alike_classes} classes"
    found += [
        Claim.of_mean(f"loss of accuracy at batches of {small}, points, batch norm", loss, at_least(2)),
        Claim.of_mean("share of it that batch renorm recovers, %", 100 * gain / loss, at_least(50)),
        Claim.of_mean(
            "the same, statistics of all samples instead of running averages, %", 100 * by_all / loss
        ),
        Claim.of_mean(
            f"loss of accuracy by {few}, points, batch norm - layer norm",
            loss_by_few_classes("batch") - loss_by_few_classes("layer"),
            above(0),
        ),
    ]
    for norm, label in LABELS.items():
        text = f"loss of accuracy by {few}, points, {label}"
        found.append(Claim.of_mean(text, loss_by_few_classes(norm), SHOWN))
    return found


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the accuracy over the batch size, and with batches of few classes; mean and sd of the seeds."""
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    kinds = {"all classes": ALL_CLASSES, f"{setting.alike_classes} classes": setting.alike_classes}
    for norm, label in LABELS.items():
        lines = [
            (left, [*setting.batches], [(batch, ALL_CLASSES) for batch in setting.batches]),
            (right, [*kinds], [(setting.alike_batch, classes) for classes in kinds.values()]),
        ]
        for axes, places, found in lines:
            values = [
                100 * runs.values("accuracy", norm=norm, batch=size, classes=kind) for size, kind in found
            ]
            mean, sd = np.mean(values, axis=1), np.std(values, axis=1)
            axes.errorbar(
                places, mean, sd, fmt="s--" if norm == "group" else "o-", ms=4, lw=1, capsize=3, label=label
            )
    left.set(xscale="log", xlabel="batch size", ylabel="accuracy on test images, %")
    left.set_xticks(setting.batches, map(str, setting.batches))
    left.minorticks_off()
    right.set(xlabel=f"batches of {setting.alike_batch} with samples of", xlim=(-0.5, 1.5))
    left.legend(frameon=False)


EXPERIMENT = Experiment(
    name="small_batch_norms",
    claim="Batch norm suffers at small and one-sided batches, layer and group norm do not, renorm recovers",
    source="Ioffe 2017; Wu and He 2018",
    passes="The accuracies of layer and group norm vary by at most 1.5 points over batches of 2 to 128; "
    "batch norm loses at least 2 points at batches of 2, and batch renorm recovers at least half of that.",
    minutes=30,
    setting=Setting(),
    quick=Setting(samples=7_500, widths=(784, 64, 64, 10), epochs=2, batches=(2, 32)),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("fashion-mnist",),
    step=lambda setting: Step(MLP(setting.widths, norm="batch"), min(setting.batches)),
    notes="Both papers train convolutional nets on ImageNet. Renormalization has the limits and momentum of "
    "its paper; the limits open from a tenth to a half of the steps.",
)
