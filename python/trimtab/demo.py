"""The effect of normalization: one network trained on real digits, without it and with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from trimtab import extras, nn
from trimtab.callbacks import ProgressBar
from trimtab.datasets import Dataset, load_digits
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD
from trimtab.terminal import print_table
from trimtab.trainer import Trainer

DEPTH, WIDTH, CLASSES = 8, 64, 10
BATCH, LEARNING_RATE = 32, 0.05
# Weights of variance 1/n, half of He's for ReLU: the signal fades with depth unless it is normalized
GAIN = 1.0
RUNS = 3
GOAL = 0.95

NORMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "no normalization": lambda width: [],
    "batch norm": lambda width: [nn.BatchNorm(width)],
    "layer norm": lambda width: [nn.LayerNorm(width)],
}
COLORS = {"no normalization": "#7f7f7f", "batch norm": "#0072b2", "layer norm": "#d55e00"}


class Outcome(NamedTuple):
    """The test accuracy (runs, epochs), and the seconds of one run."""

    accuracy: np.ndarray
    seconds: float


def network(norm: Callable[[int], list[nn.Module]], inputs: int, seed: int) -> nn.Sequential:
    """Build layers of equal width, each normalized before its ReLU."""
    rng = np.random.default_rng(seed)
    widths = [inputs] + [WIDTH] * DEPTH
    hidden = [
        layer
        for size in widths[:-1]
        for layer in (nn.Linear(size, WIDTH, gain=GAIN, rng=rng), *norm(WIDTH), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, CLASSES, rng=rng))


def train(name: str, digits: Dataset, epochs: int, seed: int) -> Outcome:
    """Train one kind of network several times, from the same seeds as the others."""
    curves = []
    began = perf_counter()
    for run in range(RUNS):
        model = network(NORMS[name], digits.x_train.shape[1], seed + run)
        bar = ProgressBar(f"{name}, run {run + 1} of {RUNS}", leave=False)
        trainer = Trainer(model, CrossEntropy(), SGD(model, LEARNING_RATE), callbacks=[bar], rng=seed + run)
        history = trainer.fit(
            digits.x_train,
            digits.y_train,
            validation_data=(digits.x_test, digits.y_test),
            epochs=epochs,
            batch_size=BATCH,
            progress=False,
        )
        curve = history.get("val_accuracy", [])
        if len(curve) < epochs:
            raise KeyboardInterrupt
        curves.append(curve)
    return Outcome(np.array(curves), (perf_counter() - began) / RUNS)


def epochs_to_goal(accuracy: np.ndarray) -> str:
    """Return the first epoch in which the mean over the runs reaches the goal."""
    reached = np.flatnonzero(accuracy.mean(axis=0) >= GOAL)
    return str(reached[0] + 1) if len(reached) else f"over {accuracy.shape[1]}"


def plot(outcomes: dict[str, Outcome], path: Path) -> None:
    """Plot the mean test accuracy over the epochs, with the range over the runs as a band."""
    figure = extras.load("matplotlib.figure").Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    for name, (accuracy, _) in outcomes.items():
        epochs = np.arange(1, accuracy.shape[1] + 1)
        percent = 100 * accuracy
        axes.fill_between(
            epochs, percent.min(axis=0), percent.max(axis=0), color=COLORS[name], alpha=0.18, lw=0
        )
        axes.plot(epochs, percent.mean(axis=0), color=COLORS[name], lw=2, label=name)
    axes.axhline(100 * GOAL, color="black", lw=0.8, ls=":", label=f"{GOAL:.0%}")
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(0, 101), xlim=(1, max(2, epochs[-1])))
    subject = f"{DEPTH} layers of {WIDTH} ReLU on 1,797 digits, lr {LEARNING_RATE}"
    axes.set_title(f"{subject}: mean and range of {RUNS} runs", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path)


def prepare(out: Path, epochs: int, seed: int) -> Callable[[], None]:
    """Return the function that trains every kind of network, prints the table and writes the plot.

    Raises
    ------
    MissingExtra, ValueError
        If a dependency is missing, or the plot cannot be written.
    """
    extras.require_figure("demo: out", out)
    extras.load("tqdm")
    return partial(run, load_digits(), out, epochs, seed)


def run(digits: Dataset, out: Path, epochs: int, seed: int) -> None:
    """Train every kind of network, print the table and write the plot."""
    print(
        f"{len(digits.x_train)} digits to train on, {len(digits.x_test)} to test; "
        f"{DEPTH} layers of {WIDTH} ReLU, SGD, lr {LEARNING_RATE}, batch {BATCH}, {RUNS} runs each"
    )
    outcomes = {name: train(name, digits, epochs, seed) for name in NORMS}
    rows = [
        [
            name,
            f"{accuracy[:, -1].mean():.1%}",
            f"{accuracy[:, -1].min():.1%}-{accuracy[:, -1].max():.1%}",
            epochs_to_goal(accuracy),
            f"{seconds:.1f}",
        ]
        for name, (accuracy, seconds) in outcomes.items()
    ]
    print_table(["network", "test accuracy", "range", f"epochs to {GOAL:.0%}", "seconds a run"], rows)
    plot(outcomes, out)
    print(f"learning curves: {out.resolve()}")
