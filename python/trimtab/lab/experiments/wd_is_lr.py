"""Before a batch norm, weight decay only changes the learning rate.

A batch norm after a linear layer makes the output independent of the scale of the weights w, so the gradient
g(w) shrinks as they grow: g(a w) = g(w) / a. With decay c, w(t) = (1 - lr c)^t v(t), where

    v(t + 1) = v(t) - lr (1 - lr c)^-(2t + 1) g(v(t)):

v is trained without decay, at a learning rate that grows, and gives the same outputs at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, above, below
from trimtab.lab.nets import MLP, minibatches
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD

LABELS = {
    "growing rate": "no decay, growing rate",
    "neither": "no decay, constant rate",
    "growing rate, with eps": "no decay, growing rate, with eps",
}


@dataclass(frozen=True)
class Setting:
    """MNIST; widths of the net, ReLU; SGD without momentum."""

    samples: int = 2_000
    widths: tuple[int, ...] = (784, 100, 100, 10)
    batch: int = 100
    steps: int = 600
    lr: float = 0.1
    decay: float = 0.005
    small_eps: float = 1e-5


def network(setting: Setting, eps: float, seed: int) -> tuple[nn.Sequential, list[nn.Parameter]]:
    """Return a float64 net, and its weights that stand before a batch norm."""
    rng, layers, normalized = np.random.default_rng(seed), [], []
    *hidden, classes = setting.widths[1:]
    inputs = setting.widths[0]
    for width in hidden:
        linear = nn.Linear(inputs, width, bias=False, rng=rng, dtype=np.float64)
        layers += [linear, nn.BatchNorm(width, eps=eps, dtype=np.float64), nn.ReLU()]
        normalized.append(linear.weight)
        inputs = width
    last = nn.Linear(inputs, classes, rng=rng, dtype=np.float64)
    return nn.Sequential(*layers, last), normalized


def logits(setting: Setting, seed: int, data: Data, eps: float, decay: float, grows: bool) -> Array:
    """Train, and return the logits of the batch at each step: (steps, batch, classes)."""
    model, normalized = network(setting, eps, seed)

    def growing(t: int) -> float:
        return setting.lr * (1 - setting.lr * setting.decay) ** -(2 * t + 1)

    rate = growing if grows else setting.lr
    others = [parameter for parameter in model.parameters() if parameter not in normalized]
    groups: list[dict[str, Any]] = [
        {"parameters": normalized, "lr": rate, "weight_decay": decay},
        {"parameters": others},
    ]
    optimizer = SGD(groups, setting.lr)
    x = data.mnist.x_train[: setting.samples].astype(np.float64)
    labels, loss = data.mnist.y_train[: setting.samples], CrossEntropy()
    found = []
    for batch in islice(minibatches(len(x), setting.batch, seed), setting.steps):
        found.append(model.forward(x[batch]))
        model.backward(loss(found[-1], labels[batch])[1])
        optimizer.step()
    return np.array(found)


def run(setting: Setting, seed: int, data: Data, progress: Progress) -> dict[str, Any]:
    """Return the largest difference of the logits from those of training with decay, at each step."""
    trainings = {
        "decay": (0.0, setting.decay, False),
        "growing rate": (0.0, 0.0, True),
        "neither": (0.0, 0.0, False),
        "decay, with eps": (setting.small_eps, setting.decay, False),
        "growing rate, with eps": (setting.small_eps, 0.0, True),
    }
    found = {name: logits(setting, seed, data, *trainings[name]) for name in progress([*trainings])}

    def difference(name: str, other: str) -> Array:
        largest: Array = np.abs(found[name] - found[other]).max(axis=(1, 2))
        return largest

    return {
        "growing rate": difference("growing rate", "decay"),
        "neither": difference("neither", "decay"),
        "growing rate, with eps": difference("growing rate, with eps", "decay, with eps"),
    }


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare the largest difference from training with decay, of all steps, with the bounds."""
    same, neither, with_eps = (runs.values(name).max(axis=1) for name in LABELS)
    text = "largest difference of the logits, "
    return [
        Claim(f"{text}no decay, growing rate", same.max(), below(1e-9), exact=True),
        Claim.of_mean(f"{text}no decay, constant rate", neither, above(0.1)),
        Claim.of_mean(f"{text}no decay, growing rate, eps {setting.small_eps:g}", with_eps, SHOWN),
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the differences over the steps, a line for each seed."""
    axes = figure.subplots()
    for number, (name, label) in enumerate(LABELS.items()):
        for seed, curve in enumerate(runs.values(name)):
            axes.semilogy(curve, color=f"C{number}", lw=1, label=None if seed else label)
    axes.axhline(1e-9, color="black", lw=0.8, ls=":")
    axes.set(xlabel="step", ylabel="largest difference of the logits from those with decay")
    axes.legend(frameon=False)


EXPERIMENT = Experiment(
    name="wd_is_lr",
    claim="Before a batch norm, weight decay only changes the learning rate",
    source="van Laarhoven 2017; Zhang, Wang, Xu and Grosse 2019",
    passes="The logits differ from those with decay by less than 1e-9 at every step without decay at the "
    "growing rate, and by more than 0.1 at the constant rate.",
    minutes=0.5,
    setting=Setting(),
    quick=Setting(steps=200),
    run=run,
    claims=claims,
    draw=draw,
    data=("mnist",),
    step=lambda setting: Step(MLP(setting.widths, norm="batch"), setting.batch),
    notes="The time in PyTorch is that of float32.",
)
