"""Runs of the lab's experiments on small synthetic data, and made-up runs."""

from types import SimpleNamespace

import numpy as np
from trimtab.datasets import Dataset
from trimtab.lab.experiment import Run, Runs
from trimtab.lab.progress import silent
from trimtab.lab.store import plain


def synthetic_images(samples, seed):
    """Images of 28x28 pixels, 0 to 1, of ten classes that are easy to tell apart."""
    templates = np.random.default_rng(0).random((10, 784)) < 0.2
    rng = np.random.default_rng(seed)
    labels = rng.permutation(samples) % 10
    noise = rng.random((samples, 784)) < 0.05
    return (0.9 * (templates[labels] ^ noise)).astype(np.float32), labels


def synthetic_data(samples=300):
    """What stands in the place of a `trimtab.lab.data.Data`."""
    dataset = Dataset(*synthetic_images(samples, 1), *synthetic_images(100, 2))
    return SimpleNamespace(mnist=dataset, fashion_mnist=dataset)


def runs_of(experiment, setting, seeds=2):
    """The runs of every cell, as they are after being kept."""
    data = synthetic_data()
    return made_runs(
        experiment,
        setting,
        lambda seed, **cell: plain(experiment.run(setting, seed, data, silent, **cell)),
        seeds,
    )


def made_runs(experiment, setting, result, seeds=3):
    """Runs whose results are ``result(seed, **cell)``."""
    cells = experiment.cells(setting)
    return Runs([Run(cell, seed, result(seed, **cell), 1.0) for cell in cells for seed in range(seeds)])


def holds(experiment, setting, runs):
    """Whether each claim holds, by the claim."""
    return {claim.claim: claim.holds for claim in experiment.claims(setting, runs)}


def failed(experiment, setting, runs):
    """The claims that do not hold."""
    return [claim for claim, held in holds(experiment, setting, runs).items() if held is False]


def draw(experiment, setting, runs):
    """Draw the figure, and return its axes."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure()
    experiment.draw(setting, runs, figure)
    figure.draw_without_rendering()
    return figure.axes
