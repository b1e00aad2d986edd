"""The experiment on the features of autoencoders, with a small one, and its claims on made-up activations."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.dropout_features import EXPERIMENT, LEVELS, Setting, concentration

SMALL = Setting(samples=200, hidden=16, batch=20, steps=60, evaluations=2, lr=0.01, drawn=2, bins=10)


def made(ratio=0.4, rises=(0.04, 0.05, 0.06)):
    """Activations of 2 and a concentration of 0.1 without dropout."""

    def result(seed, drops):
        return {
            "activation": 2 * (ratio if drops else 1),
            "active": 0.5,
            "concentration": 0.1 + drops * rises[seed],
            "histogram": np.full(Setting().bins, 0.02),
            "features": np.zeros((64, 784), int),
        }

    return Setting(), made_runs(EXPERIMENT, Setting(), result)


def test_concentration_is_the_largest_share_of_a_square(rng):
    features = rng.standard_normal((5, 784))
    features[0, :] = 1  # spread evenly
    features[1, :] = 0
    features[1, 27 * 28 + 27] = -3  # one pixel, in a corner
    images = features.reshape(-1, 28, 28) ** 2
    expected = [
        max(image[i : i + 7, j : j + 7].sum() for i in range(22) for j in range(22)) / image.sum()
        for image in images
    ]
    np.testing.assert_allclose(concentration(features, 7), expected)
    assert expected[:2] == [49 / 784, 1]


def test_results_of_small_autoencoders():
    runs = runs_of(EXPERIMENT, SMALL)
    for drops in (False, True):
        loss = runs.values("loss", drops=drops)
        assert loss.shape == (2, 2)
        assert np.all(loss[:, 1] < loss[:, 0])
        assert np.all(runs.values("activation", drops=drops) > 0)
        share = runs.values("histogram", drops=drops).sum(axis=1)
        assert np.all((share > 0.8) & (share <= 1.0 + 1e-12))
        features = runs.values("features", drops=drops)
        assert features.shape == (2, 4, 784)
        assert np.all(np.abs(features).max(axis=2) == LEVELS)
        active = runs.values("active", drops=drops)
        zeros = runs.values("histogram", drops=drops)[:, 0]
        assert np.all(active >= 1 - zeros - 1e-12)


def test_claims_hold_for_sparse_activations_and_local_features():
    assert failed(EXPERIMENT, *made()) == []
    measured = [claim.measured for claim in EXPERIMENT.claims(*made())]
    np.testing.assert_allclose(measured, [2, 0.8, 0.4, 0.5, 0.5, 0.1, 0.05, 5])


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"ratio": 0.51}, "ratio of the two"),
        ({"rises": (0.01, 0.02, 0.03)}, "the rise, in standard deviations over the seeds"),
    ],
)
def test_a_claim_fails_otherwise(changes, claim):
    assert failed(EXPERIMENT, *made(**changes)) == [claim]


def test_the_figure_has_features_and_a_histogram():
    pytest.importorskip("matplotlib")
    titles = [axes.get_title() for axes in draw(EXPERIMENT, *made())]
    assert titles == ["64 features, no dropout", "64 features, dropout", ""]
