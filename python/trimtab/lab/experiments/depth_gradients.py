"""Sigmoids make the gradient vanish with depth; ReLU and batch norm keep it, layer norm does not help.

On its way back, the gradient is multiplied in each layer by the weights, of sd 1/sqrt(width) here, which keep
its norm, and by the slope of the activation: at most 1/4 for a sigmoid. A batch norm divides by the spread of
each unit over the batch, which a sigmoid has made small, and so gives back what the sigmoid has taken. A
layer norm divides by the spread over the units of a sample. Sigmoids are around 1/2, whatever the sample is,
and the weights turn this common part into a spread over units that stays large: the gradient still vanishes.
After tanh, which is around 0, there is no such part, and layer norm keeps the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import pi, sqrt
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import Claim, Experiment, Runs, below, between
from trimtab.lab.nets import MLP, minibatches
from trimtab.lab.progress import Progress
from trimtab.losses import CrossEntropy

NORMS = {None: "no norm", "batch": "batch norm", "layer": "layer norm"}
GROWTH = sqrt(pi / (pi - 1))  # per layer of ReLU after batch norm, in the limit of many units and samples


@dataclass(frozen=True)
class Setting:
    """MNIST, one batch; the hidden layers, and the standard deviation of the weights: 1/sqrt(width)."""

    hidden: tuple[int, ...] = (100,) * 10
    init_sd: float = 0.1
    batch: int = 128
    activations: tuple[str, ...] = ("sigmoid", "tanh", "relu")


def network(setting: Setting, activation: str, norm: str | None) -> MLP:
    """Return the net of a cell."""
    return MLP((784, *setting.hidden, 10), activation, norm, init_sd=setting.init_sd)


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Return every activation with every norm."""
    return [{"activation": one, "norm": norm} for one, norm in product(setting.activations, NORMS)]


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, activation: str, norm: str | None
) -> dict[str, Any]:
    """Return the norm of the gradient of the weights of each hidden layer, before any training."""
    model, digits = network(setting, activation, norm).build(seed), data.mnist
    batch = next(minibatches(len(digits.x_train), setting.batch, seed))
    model.backward(CrossEntropy()(model.forward(digits.x_train[batch]), digits.y_train[batch])[1])
    *hidden, _ = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
    return {"gradient": [np.linalg.norm(layer.weight.grad.astype(np.float64)) for layer in hidden]}


def ratios(runs: Runs, activation: str, norm: str | None) -> Array:
    """Return the gradient of the first hidden layer as a multiple of that of the last, for each seed."""
    gradients = runs.values("gradient", activation=activation, norm=norm)
    ratio: Array = gradients[:, 0] / gradients[:, -1]
    return ratio


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare the gradients of the first and the last hidden layer."""
    relu = runs.values("gradient", activation="relu", norm="batch")
    growth = (relu[:, 1] / relu[:, -1]) ** (1 / (len(setting.hidden) - 2))  # between layers of equal inputs
    wanted = {
        ("sigmoid", None): below(1e-4),
        ("sigmoid", "batch"): between(1, 10),
        ("sigmoid", "layer"): below(1e-2),
        ("tanh", "layer"): between(0.1, 10),
        ("relu", None): between(0.1, 10),
        ("relu", "batch"): between(1, 10),
    }
    return [
        *[
            Claim.of_mean(
                f"gradient of the first / the last hidden layer, {activation}, {NORMS[norm]}",
                ratios(runs, activation, norm),
                limits,
            )
            for (activation, norm), limits in wanted.items()
        ],
        Claim.of_mean(
            f"growth of the gradient per layer, relu, batch norm; in theory {GROWTH:.3f}",
            growth,
            between(0.95 * GROWTH, 1.05 * GROWTH),
            source="Yang, Pennington, Rao, Sohl-Dickstein and Schoenholz 2019",
        ),
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the gradient of each layer, a panel for each activation and a line for each seed."""
    panels = figure.subplots(1, len(setting.activations), sharey=True)
    layers = np.arange(1, len(setting.hidden) + 1)
    for axes, activation in zip(panels, setting.activations, strict=True):
        for number, (norm, label) in enumerate(NORMS.items()):
            for seed, gradient in enumerate(runs.values("gradient", activation=activation, norm=norm)):
                relative = gradient / gradient[-1]
                axes.semilogy(
                    layers, relative, "o-", ms=3, lw=0.8, color=f"C{number}", label=None if seed else label
                )
        axes.set(title=activation, xlabel="hidden layer")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("gradient of the weights / that of the last hidden layer")
    panels[0].legend(frameon=False, loc="lower right")


EXPERIMENT = Experiment(
    name="depth_gradients",
    claim="Sigmoids kill gradients with depth; ReLU and batch norm keep them, layer norm does not",
    source="Glorot and Bengio 2010; Ioffe and Szegedy 2015; Ba, Kiros and Hinton 2016",
    passes="The gradient of the first hidden layer over that of the last is below 1e-4 with sigmoids, and "
    "1 to 10 with a batch norm before each; with a layer norm it is still below 1e-2.",
    minutes=0.1,
    setting=Setting(),
    quick=Setting(),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    seeds=10,
    quick_seeds=10,
    notes="The first layer has 784 inputs and the others 100: its gradient has a scale of its own. "
    "The growth per layer is that between the second hidden layer and the last.",
)
