"""Dropout breaks up co-adaptations: features become local, and activations sparse.

An autoencoder with one hidden layer reconstructs images. Without dropout a hidden unit may rely on others to
mend what it does wrong, and its feature, the weights into it, is spread over the image. With dropout the
others may be missing, and it has to be of use alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab import nn
from trimtab._typing import Array
from trimtab.datasets import Dataset
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, above, at_most, in_deviations
from trimtab.lab.nets import MLP, train
from trimtab.lab.progress import Progress
from trimtab.losses import BinaryCrossEntropy
from trimtab.optim import Adam

SIDE = 28  # of the images
LEVELS = 6  # of light and of dark gray in the figure, which keep its file small
LABELS = {False: "no dropout", True: "dropout"}


@dataclass(frozen=True)
class Setting:
    """MNIST; hidden units, ReLU; probability of dropping them; Adam on the cross entropy of the pixels."""

    samples: int = 60_000
    hidden: int = 256
    dropout: float = 0.5
    init_sd: float = 0.01
    batch: int = 100
    steps: int = 10_000
    evaluations: int = 5
    lr: float = 0.001
    window: int = 7  # in which most of a feature's energy is looked for
    drawn: int = 8  # features in a row and in a column of the figure
    bins: int = 40
    largest: float = 10.0  # activation of the histogram


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Without and with dropout."""
    return [{"drops": drops} for drops in LABELS]


def concentration(features: Array, window: int) -> Array:
    """Return the share of each feature's energy, its sum of squares, in the best square of pixels."""
    energy = features.reshape(-1, SIDE, SIDE) ** 2
    sums = np.pad(energy.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    rows = sums[:, window:] - sums[:, :-window]
    squares = rows[:, :, window:] - rows[:, :, :-window]
    best: Array = squares.max(axis=(1, 2)) / energy.sum(axis=(1, 2))
    return best


def run(setting: Setting, seed: int, data: Data, progress: Progress, drops: bool) -> dict[str, Any]:
    """Return the activations of the hidden units on the test images, and the features."""
    x, test = data.mnist.x_train[: setting.samples], data.mnist.x_test
    widths = x.shape[1], setting.hidden, x.shape[1]
    model = MLP(widths, dropout=drops * setting.dropout, init_sd=setting.init_sd).build(seed)
    curves = train(
        model,
        Adam(model, setting.lr),
        Dataset(x, x, test, test),
        loss=BinaryCrossEntropy(),
        epochs=setting.evaluations,
        steps=setting.steps // setting.evaluations,
        batch_size=setting.batch,
        seed=seed,
        progress=progress,
    )
    encoder = model[0]
    assert isinstance(encoder, nn.Linear)
    features = encoder.weight.value  # (hidden, pixels)
    activations = np.maximum(encoder.forward(test), 0)
    counts, _ = np.histogram(activations, setting.bins, (0, setting.largest))
    drawn = features[np.argsort(-activations.mean(axis=0))[: setting.drawn**2]]
    return {
        "loss": curves["val_loss"],
        "activation": activations.mean(),
        "active": (activations > 0).mean(),
        "histogram": counts / activations.size,
        "concentration": concentration(features, setting.window).mean(),
        "features": np.rint(LEVELS * drawn / np.abs(drawn).max(axis=1, keepdims=True)).astype(int),
    }


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare activations and concentration with and without dropout."""
    plain, dropped = (
        {key: runs.values(key, drops=drops) for key in ("activation", "active", "concentration")}
        for drops in LABELS
    )
    rise = dropped["concentration"] - plain["concentration"]
    return [
        Claim.of_mean("mean activation, no dropout", plain["activation"], SHOWN),
        Claim.of_mean("mean activation, dropout", dropped["activation"], SHOWN),
        Claim.of_mean("ratio of the two", dropped["activation"] / plain["activation"], at_most(0.5)),
        Claim.of_mean("share of activations above 0, no dropout", plain["active"], SHOWN),
        Claim.of_mean("share of activations above 0, dropout", dropped["active"], SHOWN),
        Claim.of_mean("concentration of the features, no dropout", plain["concentration"], SHOWN),
        Claim.of_mean("rise of the concentration by dropout", rise, SHOWN),
        Claim("the rise, in standard deviations over the seeds", in_deviations(rise), above(2)),
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the features of the most active units of the first seed, and the histogram of the activations."""
    panels = figure.subplot_mosaic([[False, True], ["histogram"] * 2], height_ratios=(2, 1))
    edges = np.linspace(0, setting.largest, setting.bins + 1)
    for drops, label in LABELS.items():
        images = runs.values("features", drops=drops)[0].reshape(setting.drawn, setting.drawn, SIDE, SIDE)
        tiles = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=LEVELS)
        panels[drops].imshow(
            np.concatenate(np.concatenate(tiles, axis=1), axis=1), cmap="gray", interpolation="nearest"
        )
        panels[drops].set(xticks=[], yticks=[], title=f"{setting.drawn**2} features, {label}")
        histogram = runs.values("histogram", drops=drops).mean(axis=0)
        panels["histogram"].stairs(histogram, edges, label=label)
    panels["histogram"].set(yscale="log", xlabel="activation of a hidden unit", ylabel="share")
    panels["histogram"].legend(frameon=False)


EXPERIMENT = Experiment(
    name="dropout_features",
    claim="Dropout makes features local and activations sparse",
    source="Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, figures 7 and 8",
    passes="With dropout the mean activation is at most half of that without, and the share of a feature's "
    "energy in its best 7x7 pixels is higher by more than 2 standard deviations over the seeds.",
    minutes=8,
    setting=Setting(),
    quick=Setting(samples=10_000, steps=400, evaluations=1, lr=0.003),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    data=("mnist",),
    notes="Activations are those on the test images; the paper prints means of 2.0 without and 0.7 with "
    "dropout. The features are those of the most active units. The initial weights are small, so that what "
    "is seen of a feature is learned. The rate of --quick was chosen after a look at its results.",
)
