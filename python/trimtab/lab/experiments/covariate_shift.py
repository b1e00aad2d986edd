"""A net fails on another distribution of inputs with the same labels; its batch statistics can be adapted.

The statistics of the batch norms are computed anew from unlabeled images of the new distribution; no weight
changes. In theory this undoes a map x -> a x + b of the pixels with a > 0 without a remainder, as the first
batch norm subtracts the mean and divides by the spread. Inverted images are 1 - x: after adaptation, the
outputs of the first batch norm are those of the originals times -1, which later layers have never seen. With
the weights of the first layer negated as well, nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, above, at_least, between
from trimtab.lab.nets import MLP, train
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.optim import SGD

NORMS = {None: "no norm", "batch": "batch norm"}


def noisy(x: Array, rng: np.random.Generator) -> Array:
    """Add noise of sd 0.5."""
    noise = rng.standard_normal(x.shape, np.float32)
    shifted: Array = np.clip(x + np.float32(0.5) * noise, 0, 1)
    return shifted


SHIFTS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "as they are": lambda x, rng: x,
    "brightened": lambda x, rng: np.minimum(x + np.float32(0.5), 1),
    "faded": lambda x, rng: np.float32(0.2) * x,
    "noisy": noisy,
    "inverted": lambda x, rng: 1 - x,
}


@dataclass(frozen=True)
class Setting:
    """MNIST; widths of the net, ReLU; SGD with momentum."""

    samples: int = 60_000
    widths: tuple[int, ...] = (784, 256, 256, 10)
    batch: int = 128
    epochs: int = 5
    lr: float = 0.05
    momentum: float = 0.9


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Return both nets."""
    return [{"norm": norm} for norm in NORMS]


def run(setting: Setting, seed: int, data: Data, progress: Progress, norm: str | None) -> dict[str, Any]:
    """Train on the images as they are; return the accuracies on shifted ones, before and after adapting."""
    x, labels, x_test, y_test = data.mnist
    x, labels = x[: setting.samples], labels[: setting.samples]
    digits = data.mnist._replace(x_train=x, y_train=labels)
    model = MLP(setting.widths, norm=norm).build(seed)
    optimizer = SGD(model, setting.lr, momentum=setting.momentum)
    train(
        model,
        optimizer,
        digits,
        epochs=setting.epochs,
        batch_size=setting.batch,
        seed=seed,
        progress=progress,
    )
    model.eval()
    rng = np.random.default_rng(seed)
    tests = {name: shift(x_test, rng) for name, shift in SHIFTS.items()}

    def accuracy(name: str) -> float:
        return float((model.forward(tests[name]).argmax(axis=1) == y_test).mean())

    found: dict[str, Any] = {"before": {name: accuracy(name) for name in tests}}
    if norm == "batch":
        found["after"] = {}
        for name, shift in SHIFTS.items():
            nn.update_batch_norm(model, shift(x, rng))
            found["after"][name] = accuracy(name)
        first, *_ = model.parameters()
        first.value = -first.value
        nn.update_batch_norm(model, SHIFTS["inverted"](x, rng))
        found["negated"] = accuracy("inverted")
    return found


def accuracies(runs: Runs, norm: str | None, when: str, shift: str) -> Array:
    """Return the accuracies in %, for each seed."""
    return 100 * np.array([found[shift] for found in runs.values(when, norm=norm)])


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Say what each shift costs the net with batch norm, and how much of it adaptation recovers."""
    own, *shifts = SHIFTS
    original = accuracies(runs, "batch", "before", own)
    losses, shares, plain = [], [], []
    for shift in shifts:
        before, after = (accuracies(runs, "batch", when, shift) for when in ("before", "after"))
        losses.append(Claim.of_mean(f"loss of accuracy, points, {shift}", original - before, above(10)))
        share = 100 * (after - before) / (original - before)
        shares.append(Claim.of_mean(f"share that adaptation recovers, %, {shift}", share, at_least(50)))
        without = accuracies(runs, None, "before", own) - accuracies(runs, None, "before", shift)
        plain.append(Claim.of_mean(f"loss of accuracy without a norm, points, {shift}", without, SHOWN))
    gap = 100 * runs.values("negated", norm="batch") - accuracies(runs, "batch", "after", own)
    text = "accuracy, points, inverted with the first weights negated, too - as they are, both adapted"
    return [*losses, *shares, Claim.of_mean(text, gap, between(-0.1, 0.1)), *plain]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the accuracies on each distribution, mean and sd of the seeds."""
    axes = figure.subplots()
    bars = {
        "no norm": (None, "before"),
        "batch norm": ("batch", "before"),
        "batch norm, statistics adapted": ("batch", "after"),
    }
    for number, (label, (norm, when)) in enumerate(bars.items()):
        values = np.array([accuracies(runs, norm, when, shift) for shift in SHIFTS])
        places = np.arange(len(SHIFTS)) + 0.27 * (number - 1)
        axes.bar(places, values.mean(axis=1), 0.25, yerr=values.std(axis=1), capsize=3, label=label)
    negated = 100 * runs.values("negated", norm="batch")
    axes.plot(
        len(SHIFTS) - 1 + 0.27,
        negated.mean(),
        "k_",
        ms=12,
        label="batch norm, adapted, first weights negated",
    )
    axes.set_xticks(range(len(SHIFTS)), [*SHIFTS])
    axes.set(xlabel="test images", ylabel="accuracy, %", ylim=(0, 100))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)


EXPERIMENT = Experiment(
    name="covariate_shift",
    claim="A net fails on inputs of another distribution; adapting the batch statistics recovers much of it",
    source="Li, Wang, Shi, Liu and Hou 2016; Schneider, Rusak, Eck, Bringmann, Brendel and Bethge 2020",
    passes="Each shift costs more than 10 points, and adaptation recovers at least half of that.",
    minutes=2,
    setting=Setting(),
    quick=Setting(samples=10_000, widths=(784, 100, 100, 10), epochs=2),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    step=lambda setting: Step(MLP(setting.widths, norm="batch"), setting.batch, setting.momentum),
    notes="Both papers adapt convolutional nets to photographs. Statistics are those of the training images, "
    "shifted and without their labels. Inversion is beyond adaptation: it is undone but for the sign of the "
    "outputs of the first batch norm, as the claim with negated weights shows.",
)
