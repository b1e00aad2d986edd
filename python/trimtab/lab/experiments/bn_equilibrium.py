"""Weight decay before a batch norm does not shrink the weights to zero: it sets how fast they rotate.

The output does not depend on the scale of the weights w, so the gradient g is orthogonal to them, and with
decay c a step changes their squared norm to

    (1 - lr c)^2 ||w||^2 + lr^2 ||g||^2.

Decay shrinks large weights, and the gradient, which goes as 1/||w||, makes small ones grow. The two are in
balance where lr ||g|| / ||w|| = sqrt(2 lr c): the angle by which each step turns the weights, whatever the
data, the layer and the scale of the loss. Without decay the weights only grow, and turn ever more slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import sqrt
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import Claim, Experiment, Runs, above, at_most, between
from trimtab.lab.nets import MLP, minibatches
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD


@dataclass(frozen=True)
class Setting:
    """MNIST; widths of the net, ReLU; SGD without momentum; pairs of learning rate and decay."""

    widths: tuple[int, ...] = (784, 100, 100, 10)
    batch: int = 100
    steps: int = 2_500
    rates_and_decays: tuple[tuple[float, float], ...] = ((0.1, 0.05), (0.3, 0.01), (0.1, 0.2))
    window: int = 50  # steps, which a point of a curve is the mean of
    settled: int = 1_000  # steps at the end, of which the claims are


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Return the pairs, and the first rate without decay."""
    pairs = (*setting.rates_and_decays, (setting.rates_and_decays[0][0], 0.0))
    return [{"lr": lr, "decay": decay} for lr, decay in pairs]


def angle(w: Array, before: Array) -> float:
    """Return the angle between two arrays, in radians."""
    chord = w / np.linalg.norm(w) - before / np.linalg.norm(before)
    return float(2 * np.arcsin(np.linalg.norm(chord) / 2))


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, lr: float, decay: float
) -> dict[str, Any]:
    """Return norm and rotation (rms, radians per step) of the weights before each norm: (points, layers)."""
    model, loss = MLP(setting.widths, norm="batch").build(seed), CrossEntropy()
    model.wants_dx = False
    *hidden, _ = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
    normalized = [layer.weight for layer in hidden]
    others = [parameter for parameter in model.parameters() if parameter not in normalized]
    groups: list[dict[str, Any]] = [{"parameters": normalized, "weight_decay": decay}, {"parameters": others}]
    optimizer = SGD(groups, lr)
    x, labels = data.mnist.x_train, data.mnist.y_train
    batches = islice(minibatches(len(x), setting.batch, seed), setting.steps)
    norms, angles = [[np.linalg.norm(weight.value) for weight in normalized]], []
    for _, batch in zip(progress(range(setting.steps)), batches, strict=True):
        before = [weight.value.copy() for weight in normalized]
        model.backward(loss(model.forward(x[batch]), labels[batch])[1])
        optimizer.step()
        norms.append([np.linalg.norm(weight.value.astype(np.float64)) for weight in normalized])
        angles.append([angle(weight.value, old) for weight, old in zip(normalized, before, strict=True)])
    points = (setting.steps // setting.window, setting.window, len(normalized))
    return {
        "norm": np.mean(np.reshape(norms[1:], points), axis=1),
        "rotation": np.sqrt(np.mean(np.square(angles).reshape(points), axis=1)),
        "smallest growth": np.min(np.diff(norms, axis=0) / norms[1:]),
    }


def name(cell: dict[str, Any]) -> str:
    """Return the learning rate and the decay in words."""
    return f"lr {cell['lr']:g}, decay {cell['decay']:g}" if cell["decay"] else f"lr {cell['lr']:g}, no decay"


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare rotation and norm at the end with the balance; of the layers, that which is farther from it."""
    points, found = setting.settled // setting.window, []
    *decayed, plain = cells(setting)
    for cell in decayed:
        mean_square = np.mean(runs.values("rotation", **cell)[:, -points:] ** 2, axis=1)  # (seeds, layers)
        ratio = np.sqrt(mean_square / (2 * cell["lr"] * cell["decay"]))
        farthest = np.take_along_axis(ratio, np.abs(ratio - 1).argmax(axis=1, keepdims=True), axis=1)
        text = f"rotation per step / sqrt(2 lr decay), {name(cell)}"
        found.append(Claim.of_mean(text, farthest, between(0.97, 1.03)))
    for cell in decayed:
        norm = runs.values("norm", **cell)[:, -points:]
        first, second = (half.mean(axis=1) for half in np.array_split(norm, 2, axis=1))
        change = 100 * np.abs(second / first - 1).max(axis=1)
        text = f"change of the norm of the weights between two parts of the last {setting.settled} steps, %"
        found.append(Claim.of_mean(f"{text}, {name(cell)}", change, at_most(5)))
    growth = runs.values("smallest growth", **plain)
    text = f"smallest change of the norm of the weights in a step, relative, {name(plain)}"
    return [*found, Claim(text, growth.min(), above(0))]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw norm and rotation over the steps: a color for each setting, a line for each layer."""
    left, right = figure.subplots(1, 2)
    for number, cell in enumerate(cells(setting)):
        for axes, key in ((left, "norm"), (right, "rotation")):
            curves = runs.values(key, **cell)[0]  # of the first seed: (points, layers)
            steps = setting.window * (np.arange(len(curves)) + 0.5)
            axes.plot(steps, curves, color=f"C{number}", lw=0.9, label=[name(cell), None])
        if cell["decay"]:
            right.axhline(sqrt(2 * cell["lr"] * cell["decay"]), color=f"C{number}", lw=1, ls="--")
    left.set(xlabel="step", ylabel="norm of the weights of a layer", yscale="log")
    right.set(xlabel="step", ylabel="rotation, radians per step; dashed: sqrt(2 lr decay)", yscale="log")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)


EXPERIMENT = Experiment(
    name="bn_equilibrium",
    claim="Before a batch norm, decay and gradient balance: each step turns the weights by sqrt(2 lr decay)",
    source="van Laarhoven 2017; Wan, Zhu, Zhang and Sun 2021",
    passes="The rotation per step (root mean square, radians) is within 3 % of sqrt(2 lr decay) in every "
    "layer, and the norm of the weights has settled; without decay it grows in every step.",
    minutes=2,
    setting=Setting(),
    quick=Setting(steps=1_000, rates_and_decays=((0.1, 0.05), (0.1, 0.2)), settled=300),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    step=lambda setting: Step(MLP(setting.widths, norm="batch"), setting.batch, weight_decay=0.05),
)
