"""Batch norm allows larger learning rates and careless initial weights.

A grid of learning rates and standard deviations of the initial weights; what counts is how many of its cells
lead to a good accuracy. The output of a layer with a norm does not depend on the scale of its weights, at the
start or later, and a step that is too large makes them longer, so that the next is smaller in effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from math import isfinite
from typing import Any

import numpy as np

from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, at_least
from trimtab.lab.nets import MLP, minibatches
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD

NORMS = {None: "no norm", "batch": "batch norm", "layer": "layer norm"}


@dataclass(frozen=True)
class Setting:
    """Fashion-MNIST; widths of the net, ReLU; SGD without momentum."""

    samples: int = 10_000
    widths: tuple[int, ...] = (784, 100, 100, 10)
    batch: int = 128
    epochs: int = 10
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    init_sds: tuple[float, ...] = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
    good: float = 80.0  # %


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Return the grid for each norm."""
    grid = product(NORMS, setting.init_sds, setting.rates)
    return [{"norm": norm, "init_sd": init_sd, "lr": lr} for norm, init_sd, lr in grid]


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, norm: str | None, init_sd: float, lr: float
) -> dict[str, Any]:
    """Return the accuracy on the test images; training that diverges ends early, at chance."""
    x, labels, x_test, y_test = data.fashion_mnist
    x = x[: setting.samples]
    model, loss = MLP(setting.widths, norm=norm, init_sd=init_sd).build(seed), CrossEntropy()
    model.wants_dx = False
    optimizer = SGD(model, lr)
    steps = setting.epochs * len(x) // setting.batch
    with np.errstate(all="ignore"):
        for batch in islice(minibatches(len(x), setting.batch, seed), steps):
            value, gradient, _ = loss(model.forward(x[batch]), labels[batch])
            if not isfinite(value):
                break
            model.backward(gradient)
            optimizer.step()
        right = model.eval().forward(x_test).argmax(axis=1) == y_test
    return {"accuracy": right.mean()}


def accuracies(setting: Setting, runs: Runs, norm: str | None) -> Array:
    """Return the accuracies in %: (seeds, initial weights, learning rates)."""
    values = [
        [runs.values("accuracy", norm=norm, init_sd=init_sd, lr=lr) for lr in setting.rates]
        for init_sd in setting.init_sds
    ]
    found: Array = 100 * np.moveaxis(np.array(values), -1, 0)
    return found


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Count the cells with a good accuracy, and compare the largest learning rates that have one."""
    good = {norm: accuracies(setting, runs, norm) >= setting.good for norm in NORMS}
    number = {norm: good[norm].sum(axis=(1, 2)) for norm in NORMS}
    largest = {norm: np.where(good[norm].any(axis=1), setting.rates, 0).max(axis=1) for norm in NORMS}
    total = len(setting.rates) * len(setting.init_sds)
    text = f"cells of {total} with an accuracy of at least {setting.good:g} %"
    ratio = number["batch"] / np.maximum(number[None], 1)
    return [
        Claim.of_mean(f"{text}, batch norm / no norm", ratio, at_least(2)),
        *[Claim.of_mean(f"{text}, {label}", number[norm], SHOWN) for norm, label in NORMS.items()],
        *[
            Claim.of_mean(f"largest learning rate that leads there, {label}", largest[norm], SHOWN)
            for norm, label in NORMS.items()
        ],
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the mean accuracy of each cell, a grid for each norm."""
    panels = figure.subplots(1, len(NORMS), sharey=True)
    for axes, (norm, label) in zip(panels, NORMS.items(), strict=True):
        mean = accuracies(setting, runs, norm).mean(axis=0)
        axes.imshow(mean, cmap="gray", vmin=0, vmax=100, origin="lower", aspect="auto")
        for (row, column), value in np.ndenumerate(mean):
            axes.text(
                column,
                row,
                f"{value:.0f}",
                ha="center",
                va="center",
                color="black" if value > 50 else "white",
                weight="bold" if value >= setting.good else "normal",
                fontsize="small",
            )
        axes.set_xticks(range(len(setting.rates)), [f"{lr:g}" for lr in setting.rates], rotation=90)
        axes.set_yticks(range(len(setting.init_sds)), [f"{sd:g}" for sd in setting.init_sds])
        axes.set(title=label, xlabel="learning rate")
    panels[0].set_ylabel("sd of the initial weights")
    figure.suptitle(f"accuracy on test images, %; bold from {setting.good:g} on", fontsize="medium")


EXPERIMENT = Experiment(
    name="init_lr_robustness",
    claim="Batch norm allows larger learning rates and careless initial weights",
    source="Ioffe and Szegedy 2015; Bjorck, Gomes, Selman and Weinberger 2018",
    passes="With batch norm at least twice as many cells of the grid come to 80 % as without.",
    minutes=20,
    setting=Setting(),
    quick=Setting(epochs=3, rates=(0.01, 0.1, 1.0), init_sds=(0.01, 0.1, 1.0), good=75.0),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("fashion-mnist",),
    step=lambda setting: Step(MLP(setting.widths, norm="batch"), setting.batch),
    notes="All weights have the same standard deviation, those of the last layer too. With --quick, 75 % "
    "are good, as steps are fewer.",
)
