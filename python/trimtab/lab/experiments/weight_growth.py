"""Batch norm does not keep weights small: without decay they grow, and the learning rate falls in effect.

The gradient g of the weights w before a batch norm is orthogonal to w and goes as 1/||w||. So a step makes w
longer, and moves it, relative to its length, by lr ||g|| / ||w||, which goes as lr / ||w||^2. Decay (L2)
holds ||w|| down, and this effective learning rate up. If that is all it does, then training without decay is
the same once the learning rate of each layer is multiplied by ||w||^2 / ||w_L2||^2, where w_L2 are the
weights with decay at the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, at_least, at_most, between
from trimtab.lab.nets import MLP, minibatches
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.losses import CrossEntropy
from trimtab.nn.passes import evaluation
from trimtab.optim import SGD

LABELS = {"L2": "L2", "none": "no L2", "factor": "no L2, with the factor"}


@dataclass(frozen=True)
class Setting:
    """Fashion-MNIST; widths of the net, ReLU; SGD with momentum; each learning rate for as many steps."""

    samples: int = 60_000
    widths: tuple[int, ...] = (784, 256, 256, 10)
    batch: int = 128
    steps: int = 7_500
    rates: tuple[float, ...] = (0.1, 0.01, 0.001)
    momentum: float = 0.9
    decay: float = 5e-4
    points: int = 75  # of the curves


def train(
    setting: Setting, seed: int, data: Data, decay: float, held: Sequence[Array] | None
) -> tuple[list[Array], dict[str, Any]]:
    """Train with decay, or without it and, if the squared norms `held` are given, with the factor.

    Returns the squared norms of the weights before each batch norm at each step, and curves: these squared
    norms, the relative steps ||dw|| / ||w||, both (points, layers), and the accuracy on the test images.
    """
    x, labels, x_test, y_test = data.fashion_mnist
    model, loss = MLP(setting.widths, norm="batch").build(seed), CrossEntropy()
    model.wants_dx = False
    *hidden, _ = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
    normalized = [layer.weight for layer in hidden]
    others = [parameter for parameter in model.parameters() if parameter not in normalized]
    groups: list[dict[str, Any]] = [{"parameters": weight, "weight_decay": decay} for weight in normalized]
    optimizer = SGD([*groups, {"parameters": others}], setting.rates[0], momentum=setting.momentum)
    every = setting.steps // setting.points
    squares, moves, accuracy = [], [], []
    batches = islice(minibatches(min(setting.samples, len(x)), setting.batch, seed), setting.steps)
    for step, batch in enumerate(batches):
        before = [weight.value.copy() for weight in normalized]
        squares.append(np.array([np.vdot(weight, weight) for weight in before]))
        optimizer.lr = setting.rates[step * len(setting.rates) // setting.steps]
        if held is not None:
            for group, factor in zip(optimizer.groups, squares[-1] / held[step], strict=False):
                group.lr *= float(factor)
        model.backward(loss(model.forward(x[batch]), labels[batch])[1])
        optimizer.step()
        moves.append(
            [np.linalg.norm(weight.value - old) for weight, old in zip(normalized, before, strict=True)]
        )
        if step % every == every - 1:
            with evaluation(model):
                accuracy.append(float((model.forward(x_test).argmax(axis=1) == y_test).mean()))
    relative = np.array(moves) / np.sqrt(squares)
    return squares, {
        "square": squares[every - 1 :: every],
        "relative step": relative.reshape(setting.points, every, -1).mean(axis=1),
        "accuracy": accuracy,
    }


def run(setting: Setting, seed: int, data: Data, progress: Progress) -> dict[str, Any]:
    """Return the curves with L2, without, and without but with the factor."""
    found: dict[str, Any] = {}
    squares: dict[str, list[Array]] = {}
    for name in progress([*LABELS]):
        decay = setting.decay if name == "L2" else 0.0
        held = squares["L2"] if name == "factor" else None
        squares[name], found[name] = train(setting, seed, data, decay, held)
    return found


def curves(runs: Runs, name: str, key: str) -> Array:
    """Return the curves of one of the trainings: (seeds, points, ...)."""
    return np.array([training[key] for training in runs.values(name)])


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare weights, relative steps and accuracies of the three trainings; of all layers, the worst."""
    with_l2, without = (curves(runs, name, "square") for name in ("L2", "none"))
    seeds = len(without)

    def by_rate(name: str) -> Array:  # (seeds, rates, layers)
        parts = np.array_split(curves(runs, name, "relative step"), len(setting.rates), axis=1)
        return np.stack([part.mean(axis=1) for part in parts], axis=1)

    def farthest(name: str) -> Array:
        ratio = (by_rate(name) / by_rate("L2")).reshape(seeds, -1)
        return np.take_along_axis(ratio, np.abs(np.log(ratio)).argmax(axis=1, keepdims=True), axis=1)

    accuracy = {name: 100 * curves(runs, name, "accuracy")[:, -1] for name in LABELS}
    change = abs(accuracy["factor"].mean() - accuracy["L2"].mean()) / accuracy["L2"].std(ddof=1)
    return [
        Claim.of_mean(
            "sum of the squared weights of a layer at the end, without L2 / with",
            (without[:, -1] / with_l2[:, -1]).min(axis=1),
            at_least(2),
        ),
        Claim.of_mean(
            "the same, without L2, at the end / at the start",
            (without[:, -1] / without[:, 0]).min(axis=1),
            SHOWN,
        ),
        Claim.of_mean("relative step at a rate, in a layer, without L2 / with", farthest("none"), SHOWN),
        Claim.of_mean("the same, with the factor / with L2", farthest("factor"), between(0.9, 1.1)),
        Claim("difference of accuracy, the factor and L2, in sd of the latter", change, at_most(2)),
        *[Claim.of_mean(f"accuracy, %, {label}", accuracy[name], SHOWN) for name, label in LABELS.items()],
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the curves of the first layer: a color for each training, a line for each seed."""
    panels = figure.subplots(1, 3)
    steps = setting.steps / setting.points * np.arange(1, setting.points + 1)
    for number, (name, label) in enumerate(LABELS.items()):
        shown = [
            curves(runs, name, "square")[:, :, 0],
            curves(runs, name, "relative step")[:, :, 0],
            100 * curves(runs, name, "accuracy"),
        ]
        for axes, lines in zip(panels, shown, strict=True):
            for seed, line in enumerate(lines):
                axes.plot(steps, line, color=f"C{number}", lw=0.7, label=None if seed else label)
    titles = "sum of squared weights", "relative step", "accuracy on test images, %"
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("step")
    for axes in panels[:2]:
        axes.set(xlabel="step; first layer", yscale="log")
    panels[2].set_ylim(bottom=70)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LABELS))


EXPERIMENT = Experiment(
    name="weight_growth",
    claim="Without L2 the weights before a batch norm grow, and the learning rate falls in effect",
    source="van Laarhoven 2017; Wu 2019, L2 regularization and batch norm",
    passes="At the end the sum of the squared weights is at least twice that with L2. With the factor, the "
    "relative step is within 10 % of that with L2 at every rate and layer, and the accuracy within 2 sd.",
    minutes=4,
    setting=Setting(),
    quick=Setting(samples=10_000, widths=(784, 100, 100, 10), batch=100, steps=450, decay=5e-3, points=15),
    run=run,
    claims=claims,
    draw=draw,
    data=("fashion-mnist",),
    step=lambda setting: Step(
        MLP(setting.widths, norm="batch"), setting.batch, setting.momentum, setting.decay
    ),
    notes="The last source trains a residual net on CIFAR-10. With --quick L2 is ten times as strong, "
    "to have its effect in fewer steps.",
)
