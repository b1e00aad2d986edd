"""Short computations whose results mathematics knows in advance: the exact companions of the experiments.

The functions are in `trimtab.lab.companions`, by topic. Each has its statements above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from trimtab._typing import Array
from trimtab.lab.companions import COMPANIONS
from trimtab.lab.data import Data
from trimtab.lab.experiment import Claim, Experiment, Runs
from trimtab.lab.progress import Progress

Values: TypeAlias = Callable[[str, str], Array]  # a result by its key, and its companion


@dataclass(frozen=True)
class Setting:
    """The companions: their numbers stand in them."""

    companions: tuple[str, ...] = tuple(COMPANIONS)


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Each companion is a run."""
    return [{"companion": name} for name in setting.companions]


def run(setting: Setting, seed: int, data: Data, progress: Progress, companion: str) -> dict[str, Any]:
    """Return the numbers of a companion."""
    return COMPANIONS[companion].measure()


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """List the statements of all companions."""
    return [
        claim
        for name in setting.companions
        for claim in COMPANIONS[name].claims(runs.values("measured", companion=name)[0])
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw six of the companions."""
    figure.set_size_inches(11, 6.5)
    for panel, axes in zip(PANELS, figure.subplots(2, 3).flat, strict=True):
        panel(axes, lambda key, companion: runs.values(key, companion=companion)[0])
        axes.title.set_fontsize(10)
        axes.legend(frameon=False, fontsize=8)


def draw_zeros(axes: Any, values: Values) -> None:
    """What each penalty makes of the weight without it."""
    b = values("b", "zeros_of_l1")
    for name in ("sub-gradient", "soft threshold", "L2"):
        axes.plot(b, values(name, "zeros_of_l1"), ".", ms=4, label=name)
    axes.set(title="only the soft threshold gives zeros", xlabel="weight without penalty", ylabel="weight")


def draw_gap(axes: Any, values: Values) -> None:
    """The gap of the logits over the steps."""
    axes.plot(values("gaps", "gap_of_label_smoothing"))
    axes.axhline(values("gap", "gap_of_label_smoothing"), color="black", lw=0.8, ls=":", label="log(91)")
    axes.set(title="label smoothing 0.1 bounds the logits", xlabel="step", ylabel="gap of the logits")


def draw_sampled(axes: Any, values: Values) -> None:
    """The distance of the mean of sampled nets from the scaled net."""
    counts, distances = (values(name, "sampled_nets") for name in ("counts", "distances"))
    axes.loglog(counts, distances, "o-", label="dropout in every layer")
    axes.loglog(counts, distances[0] / counts**0.5, "k:", lw=0.8, label="1 / sqrt(nets)")
    axes.set(title="sampled nets approach the scaled net", xlabel="nets in the mean", ylabel="distance")


def draw_bias(axes: Any, values: Values) -> None:
    """The bias before a batch norm."""
    for key, label in (("naive", "without the statistics"), ("full", "full gradient")):
        axes.plot(range(0, 1001, 10), values(key, "bias_before_batch_norm"), label=label)
    axes.set(title="a bias before batch norm grows for ever", xlabel="step", ylabel="bias")


def draw_noise(axes: Any, values: Values) -> None:
    """The noise of the mean over a batch."""
    sizes, spreads, sd = (values(name, "noise_of_batch_statistics") for name in ("sizes", "spreads", "sd"))
    axes.loglog(sizes, spreads, "o", label="measured")
    axes.loglog(sizes, sd / sizes**0.5, "k:", lw=0.8, label="sd / sqrt(m)")
    axes.set(title="noise of batch statistics", xlabel="values m", ylabel="sd of the mean")


def draw_descent(axes: Any, values: Values) -> None:
    """The error at the best rate, for the input as it is and standardized."""
    for name in ("raw", "standardized"):
        errors = values(name, "standardized_input")
        steps = np.unique(np.geomspace(1, len(errors) - 1, 200).astype(int))
        axes.loglog(steps, errors[steps], label=f"{name} input")
    axes.set(title="steps at the best learning rate", xlabel="step", ylabel="error")


PANELS = draw_zeros, draw_gap, draw_sampled, draw_bias, draw_noise, draw_descent

EXPERIMENT = Experiment(
    name="exact",
    claim="What decay, dropout and normalization do, where mathematics knows the result",
    source="each claim has its own",
    passes="Every claim holds, up to rounding.",
    minutes=0.1,
    setting=Setting(),
    quick=Setting(),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    seeds=1,
    quick_seeds=1,
)
