"""The experiment on weight decay before a batch norm, with few steps, and its claims about made-up runs."""

from math import sqrt

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.bn_equilibrium import EXPERIMENT, Setting, angle, cells

SHORT = Setting(
    widths=(784, 16, 16, 10), steps=300, batch=50, rates_and_decays=((0.5, 0.05),), window=100, settled=100
)


def made(factor=1.0, late=1.0, growth=1e-7):
    """Rotations of a multiple of the predicted angle; the norm changes by a factor near the end."""

    def result(seed, lr, decay):
        norm = np.ones((20, 2))
        norm[-5:, 1] *= late
        rotation = np.full((20, 2), sqrt(2 * lr * decay))
        rotation[:, seed % 2] *= factor
        return {"norm": norm, "rotation": rotation, "smallest growth": growth}

    setting = Setting(steps=200, settled=100, window=10)
    return setting, made_runs(EXPERIMENT, setting, result)


def test_the_angle_of_two_arrays():
    assert angle(np.array([[1.0, 0], [0, 0]]), np.array([[3.0, 0], [3, 0]])) == pytest.approx(np.pi / 4)


def test_a_small_net_comes_to_the_balance():
    runs = runs_of(EXPERIMENT, SHORT)
    decayed, plain = cells(SHORT)
    assert plain == {"lr": 0.5, "decay": 0.0}
    rotation = runs.values("rotation", **decayed)
    assert rotation.shape == (2, 3, 2)
    assert np.all(np.abs(rotation[:, -1] / sqrt(2 * 0.5 * 0.05) - 1) < 0.2)
    assert np.all(runs.values("norm", **decayed)[:, -1] < 0.85 * runs.values("norm", **decayed)[:, 0])
    assert np.all(runs.values("smallest growth", **plain) > 0)
    assert np.all(np.diff(runs.values("norm", **plain), axis=1) > 0)


def test_claims_hold_in_the_balance():
    assert failed(EXPERIMENT, *made()) == []


@pytest.mark.parametrize("factor", [0.96, 1.04])
def test_the_rotation_of_a_single_layer_counts(factor):
    claims = failed(EXPERIMENT, *made(factor=factor))
    assert len(claims) == 3
    assert all(claim.startswith("rotation per step") for claim in claims)


@pytest.mark.parametrize("late", [0.94, 1.06])
def test_a_norm_that_has_not_settled_is_reported(late):
    claims = failed(EXPERIMENT, *made(late=late))
    assert len(claims) == 3
    assert all(claim.startswith("change of the norm") for claim in claims)


def test_without_decay_the_norm_must_never_shrink():
    (claim,) = failed(EXPERIMENT, *made(growth=-1e-9))
    assert claim.endswith("lr 0.1, no decay")


def test_the_figure_has_norm_and_rotation():
    pytest.importorskip("matplotlib")
    setting, runs = made()
    assert [len(axes.lines) for axes in draw(EXPERIMENT, setting, runs)] == [8, 8 + 3]
