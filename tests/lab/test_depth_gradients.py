"""The experiment on gradients and depth, with few layers, and its claims about made-up gradients."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.depth_gradients import EXPERIMENT, GROWTH, NORMS, Setting

SHORT = Setting(hidden=(100,) * 4, batch=32)


def made(**changes):
    """Gradients of the ten layers as they should be, but for the ratios given as activation_norm."""
    ratios = {"sigmoid_none": 1e-6, "sigmoid_batch": 1.5, "sigmoid_layer": 1e-4, "relu_batch": GROWTH**9}

    def result(seed, activation, norm):
        ratio = (ratios | changes).get(f"{activation}_{norm or 'none'}", 1.0)
        return {"gradient": ratio ** np.linspace(1, 0, 10)}

    return made_runs(EXPERIMENT, Setting(), result)


def test_every_layer_has_a_gradient():
    runs = runs_of(EXPERIMENT, SHORT)
    for activation in SHORT.activations:
        for norm in NORMS:
            gradients = runs.values("gradient", activation=activation, norm=norm)
            assert gradients.shape == (2, 4)
            assert np.all(gradients > 0)
            assert np.any(gradients[0] != gradients[1])


def test_only_sigmoids_without_batch_norm_lose_the_gradient():
    gradients = runs_of(EXPERIMENT, SHORT)

    def ratio(activation, norm):
        values = gradients.values("gradient", activation=activation, norm=norm)
        return values[:, 1] / values[:, 3]  # over two layers: (1/4)**2 for sigmoids

    assert np.all(np.abs(ratio("sigmoid", None) * 16 - 1) < 0.5)
    assert np.all(ratio("sigmoid", "layer") < 0.5)
    for activation, norm in [("sigmoid", "batch"), ("relu", None), ("tanh", "layer")]:
        assert np.all(ratio(activation, norm) > 0.5)


def test_claims_hold_for_gradients_as_published():
    assert failed(EXPERIMENT, Setting(), made()) == []


@pytest.mark.parametrize(
    ("cell", "ratio"),
    [
        ("sigmoid_none", 2e-4),
        ("sigmoid_batch", 0.9),
        ("sigmoid_batch", 11),
        ("sigmoid_layer", 0.1),
        ("tanh_layer", 0.05),
        ("relu_none", 0.05),
        ("relu_none", 11),
    ],
)
def test_a_claim_fails_for_other_gradients(cell, ratio):
    (claim,) = failed(EXPERIMENT, Setting(), made(**{cell: ratio}))
    activation, norm = cell.split("_")
    assert f"{activation}, {'no' if norm == 'none' else norm} norm" in claim


def test_growth_is_that_of_a_layer():
    (claim,) = failed(EXPERIMENT, Setting(), made(relu_batch=1.1**9))
    assert claim.startswith("growth")


def test_the_figure_has_a_panel_for_each_activation():
    pytest.importorskip("matplotlib")
    runs = runs_of(EXPERIMENT, SHORT, seeds=1)
    assert [axes.get_title() for axes in draw(EXPERIMENT, SHORT, runs)] == [*SHORT.activations]
