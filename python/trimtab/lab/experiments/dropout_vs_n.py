"""How much dropout helps depends on the number of samples.

With few samples a net learns all of them by heart whatever units are dropped, and with very many it has no
need to be regularized: the gain is largest in between. Every net gets the same number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab._typing import Array
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, above, at_least, deviation
from trimtab.lab.nets import MLP, drawn, train
from trimtab.lab.progress import Progress
from trimtab.lab.speed import Step
from trimtab.optim import SGD
from trimtab.optim.schedules import Polynomial

WANTED = {1_000: at_least(1), 10_000: above(0)}  # points of accuracy, by the number of samples


@dataclass(frozen=True)
class Setting:
    """MNIST; widths of the net, ReLU; probabilities of dropping inputs and hidden units.

    SGD, whose rate falls linearly to 0.
    """

    sizes: tuple[int, ...] = (100, 500, 1_000, 5_000, 10_000)
    widths: tuple[int, ...] = (784, 512, 512, 10)
    input_dropout: float = 0.2
    dropout: float = 0.5
    batch: int = 100
    steps: int = 4_000
    evaluations: int = 8
    lr: float = 0.03
    momentum: float = 0.9


def network(setting: Setting, drops: bool) -> MLP:
    """Return the net, with or without dropout."""
    return MLP(setting.widths, input_dropout=drops * setting.input_dropout, dropout=drops * setting.dropout)


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Every size without and with dropout."""
    return [{"size": size, "drops": drops} for size in setting.sizes for drops in (False, True)]


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, size: int, drops: bool
) -> dict[str, Any]:
    """Return the test error in percent, at some steps and at the end, of a net trained on random samples."""
    model = network(setting, drops).build(seed)
    curves = train(
        model,
        SGD(model, Polynomial(setting.lr, setting.steps), momentum=setting.momentum),
        drawn(data.mnist, size, seed),
        epochs=setting.evaluations,
        steps=setting.steps // setting.evaluations,
        batch_size=setting.batch,
        seed=seed,
        progress=progress,
    )
    return {"error": 100 * (1 - np.array(curves["val_accuracy"]))}


def gain(runs: Runs, size: int) -> Array:
    """Return by how many points dropout lowers the error at the end, for each seed."""
    found: Array = (
        runs.values("error", size=size, drops=False)[:, -1]
        - runs.values("error", size=size, drops=True)[:, -1]
    )
    return found


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare the gains with those wanted."""
    text = "points of test error that dropout takes away, N ="
    return [
        Claim.of_mean(f"{text} {size:,}", gain(runs, size), WANTED.get(size, SHOWN)) for size in setting.sizes
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the errors and the gain over the number of samples."""
    left, right = figure.subplots(1, 2)
    for drops, label in ((False, "no dropout"), (True, "dropout")):
        errors = np.stack([runs.values("error", size=size, drops=drops)[:, -1] for size in setting.sizes], 1)
        left.errorbar(setting.sizes, errors.mean(axis=0), deviation(errors), capsize=3, label=label)
    left.set(xscale="log", yscale="log", xlabel="training samples N", ylabel="test error, %")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}")
    left.legend(frameon=False, title="mean and sd over seeds")
    gains = np.stack([gain(runs, size) for size in setting.sizes], 1)
    right.errorbar(setting.sizes, gains.mean(axis=0), deviation(gains), color="C2", capsize=3)
    right.axhline(0, color="black", lw=0.8)
    right.set(xscale="log", xlabel="training samples N", ylabel="gain by dropout, points")


EXPERIMENT = Experiment(
    name="dropout_vs_n",
    claim="How much dropout helps depends on the number of samples",
    source="Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, figure 10",
    passes="Dropout takes away at least 1 point of test error at N = 1,000, and more than 0 at 10,000.",
    minutes=25,
    setting=Setting(),
    quick=Setting(sizes=(100, 1_000), widths=(784, 256, 256, 10), batch=50, steps=700, evaluations=2),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    step=lambda setting: Step(network(setting, True), setting.batch, setting.momentum),
    notes="The paper's net is 784-1024-1024-2048-10, with up to 50,000 samples: too much for two cores. "
    "The errors are those at the last step. That the rate falls, and the steps of --quick, were chosen after "
    "a look at test errors.",
)
