"""Batch norm trains a net of sigmoids faster, to a higher accuracy, and from weights that are far too small.

The first figure of the paper on batch norm: the accuracy on test images during training, and the distribution
of the input of one sigmoid of the last hidden layer, as its 15th, 50th and 85th percentile.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, above, at_least, below
from trimtab.lab.nets import MLP, minibatches
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.losses import CrossEntropy
from trimtab.nn.passes import evaluation
from trimtab.optim import SGD

NORMS = {None: "no norm", "batch": "batch norm"}
PERCENTILES = (15, 50, 85)


@dataclass(frozen=True)
class Setting:
    """MNIST, black and white; hidden layers of sigmoids; SGD without momentum."""

    hidden: tuple[int, ...] = (100, 100, 100)
    batch: int = 60
    steps: int = 50_000
    lr: float = 0.1
    init_sd: float = 0.1  # of the weights
    small_init_sd: float = 0.01
    early: int = 3_000  # steps, after which the accuracies from the small weights are compared
    every: int = 100  # steps between two evaluations


def network(setting: Setting, init_sd: float, norm: str | None) -> MLP:
    """Return the net of a cell."""
    return MLP((784, *setting.hidden, 10), "sigmoid", norm, init_sd=init_sd)


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Return both initial weights, without and with batch norm."""
    scales = (setting.init_sd, setting.small_init_sd)
    return [{"init_sd": init_sd, "norm": norm} for init_sd, norm in product(scales, NORMS)]


def evaluate(model: nn.Sequential, x: Array, labels: Array) -> tuple[float, Array]:
    """Return the accuracy, and percentiles of the input of the first sigmoid of the last hidden layer."""
    *_, last = [layer for layer in model.layers if isinstance(layer, nn.Sigmoid)]
    found = []

    def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module is last:
            found.append(np.percentile(inputs[0][:, 0], PERCENTILES))

    with evaluation(model), nn.forward_hook(model, measure):
        right = model.forward(x).argmax(axis=1) == labels
    return float(right.mean()), found[0]


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, init_sd: float, norm: str | None
) -> dict[str, Any]:
    """Return accuracy and percentiles after 0, `every`, 2 `every`, ... steps."""
    x, labels, x_test, y_test = data.mnist
    x, x_test = ((images >= 0.5).astype(np.float32) for images in (x, x_test))
    model, loss = network(setting, init_sd, norm).build(seed), CrossEntropy()
    model.wants_dx = False
    optimizer = SGD(model, setting.lr)
    found = [evaluate(model, x_test, y_test)]
    batches = islice(minibatches(len(x), setting.batch, seed), setting.steps)
    for step, batch in zip(progress(range(1, setting.steps + 1)), batches, strict=True):
        model.backward(loss(model.forward(x[batch]), labels[batch])[1])
        optimizer.step()
        if step % setting.every == 0:
            found.append(evaluate(model, x_test, y_test))
    accuracies, percentiles = zip(*found, strict=True)
    return {"accuracy": accuracies, "percentiles": percentiles}


def steps_to(setting: Setting, accuracy: float, curves: Array) -> Array:
    """Return the steps until each curve first reaches the accuracy; all of them if it never does."""
    reached = curves >= accuracy
    reached[:, -1] = True
    steps: Array = setting.every * reached.argmax(axis=1)
    return steps


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare accuracies and numbers of steps with and without batch norm."""
    plain, batch = (runs.values("accuracy", init_sd=setting.init_sd, norm=norm) for norm in NORMS)
    small_plain, small_batch = (
        runs.values("accuracy", init_sd=setting.small_init_sd, norm=norm) for norm in NORMS
    )
    early = setting.early // setting.every
    ratio = steps_to(setting, 0.9, plain) / steps_to(setting, 0.9, batch)
    start, late = f"initial sd {setting.init_sd:g}", f"after {setting.early} steps, %"
    small = f"initial sd {setting.small_init_sd:g}"
    found = [
        Claim.of_mean(
            f"gain of accuracy by batch norm at the end, points, {start}",
            100 * (batch - plain)[:, -1],
            at_least(0),
        ),
        Claim.of_mean(f"steps to 90 % without batch norm / with it, {start}", ratio, at_least(3)),
        Claim.of_mean(f"accuracy without norm {late}, {small}", 100 * small_plain[:, early], below(15)),
        Claim.of_mean(f"accuracy with batch norm {late}, {small}", 100 * small_batch[:, early], above(88)),
    ]
    for norm, label in NORMS.items():
        median = runs.values("percentiles", init_sd=setting.init_sd, norm=norm)[:, :, 1]
        text = f"range over training of the median of the input of one sigmoid, {label}, {start}"
        found.append(Claim.of_mean(text, np.ptp(median, axis=1), SHOWN))
    return found


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the accuracies, and the percentiles of one sigmoid from the first seed."""
    panels = figure.subplot_mosaic([["accuracy", None], ["accuracy", "batch"]], width_ratios=[3, 2])
    for number, cell in enumerate(cells(setting)):
        label = f"{NORMS[cell['norm']]}, initial sd {cell['init_sd']:g}"
        for seed, curve in enumerate(runs.values("accuracy", **cell)):
            points = np.unique(np.geomspace(1, len(curve) - 1, 60).astype(int))
            panels["accuracy"].semilogx(
                setting.every * points,
                100 * curve[points],
                color=f"C{number}",
                lw=0.8,
                label=None if seed else label,
            )
    panels["accuracy"].set(xlabel="step", ylabel="accuracy on test images, %", ylim=(0, 100))
    figure.legend(*panels["accuracy"].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for norm, label in NORMS.items():
        curves = runs.values("percentiles", init_sd=setting.init_sd, norm=norm)[0]
        points = np.arange(0, len(curves), max(1, len(curves) // 100))
        panels[norm].plot(setting.every / 1000 * points, curves[points], color="black", lw=0.7)
        panels[norm].set_title(f"{label}: percentiles {', '.join(map(str, PERCENTILES))}", fontsize="medium")
        panels[norm].set_ylabel("input of one sigmoid")
    panels["batch"].set_xlabel(f"thousand steps, initial sd {setting.init_sd:g}")


EXPERIMENT = Experiment(
    name="bn_fig1",
    claim="Batch norm trains faster and higher, and from weights that are far too small",
    source="Ioffe and Szegedy 2015, figure 1",
    passes="With batch norm the final accuracy is not below that without, and 90 % take at most a third of "
    "the steps; from weights of sd 0.01, only with batch norm has training left chance after 3,000 steps, "
    "and passed 88 %.",
    minutes=12,
    setting=Setting(),
    quick=Setting(steps=2_000, lr=0.3, early=1_500),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    step=lambda setting: Step(network(setting, setting.init_sd, "batch"), setting.batch),
    notes="The paper does not state its learning rate and initial weights. With --quick the rate is 0.3.",
)
