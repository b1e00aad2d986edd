"""The experiment on weights before a batch norm, with few steps, and its claims about made-up curves."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.weight_growth import EXPERIMENT, LABELS, Setting, curves

SHORT = Setting(
    samples=300, widths=(784, 20, 20, 10), batch=30, steps=90, rates=(0.1, 0.01), decay=0.02, points=6
)


def made(growth=2.0, factor_step=1.0, factor_accuracy=0.0):
    """Curves: squares of 1 with L2, relative steps of the rates, accuracies of 80 % with an sd of 1."""
    rates = np.repeat([[0.1], [0.01], [0.001]], 2, axis=1)

    def result(seed):
        def training(square, step, accuracy):
            return {
                "square": np.linspace([1.0, 1.0], [3.0, square], 3),
                "relative step": rates * step,
                "accuracy": [0.1, 0.5, accuracy],
            }

        accuracy = 0.79 + 0.01 * seed
        worst = np.ones((3, 2))
        worst[1, 1] = factor_step
        with_l2 = training(1.0, 1.0, accuracy) | {"square": np.ones((3, 2))}
        with_factor = training(5.0, worst, accuracy + factor_accuracy)
        return {"L2": with_l2, "none": training(growth, 0.5, 0.7), "factor": with_factor}

    return made_runs(EXPERIMENT, Setting(), result)


def measured(runs):
    return {claim.claim: claim.measured for claim in EXPERIMENT.claims(Setting(), runs)}


def test_weights_grow_only_without_decay_and_the_factor_restores_the_relative_step():
    runs = runs_of(EXPERIMENT, SHORT)
    square = {name: curves(runs, name, "square") for name in LABELS}
    step = {name: curves(runs, name, "relative step") for name in LABELS}
    assert {name: curve.shape for name, curve in step.items()} == dict.fromkeys(LABELS, (2, 6, 2))
    assert curves(runs, "L2", "accuracy").shape == (2, 6)
    for name in ("none", "factor"):
        assert np.all(np.diff(square[name], axis=1) >= 0)
    assert np.all(square["none"][:, -1] > 1.5 * square["L2"][:, -1])
    assert np.all(square["factor"][:, -1] > square["none"][:, -1])
    start = np.array(step["L2"])[:, 0]
    assert np.allclose(step["factor"][:, 0], start, rtol=0.1)
    ends = [step[name][:, 2].mean() for name in ("factor", "none", "L2")]
    assert abs(ends[0] - ends[2]) < abs(ends[1] - ends[2])
    # the second rate is a tenth of the first
    assert np.all(step["none"][:, 4] < 0.4 * step["none"][:, 2])


def test_claims_hold_for_curves_as_published():
    assert failed(EXPERIMENT, Setting(), made()) == []


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"growth": 1.9}, "sum of the squared weights of a layer at the end, without L2 / with"),
        ({"factor_step": 0.89}, "the same, with the factor / with L2"),
        ({"factor_step": 1.11}, "the same, with the factor / with L2"),
        ({"factor_accuracy": 0.021}, "difference of accuracy, the factor and L2, in sd of the latter"),
        ({"factor_accuracy": -0.021}, "difference of accuracy, the factor and L2, in sd of the latter"),
    ],
)
def test_a_claim_fails_for_other_curves(change, claim):
    assert failed(EXPERIMENT, Setting(), made(**change)) == [claim]


def test_the_numbers_are_those_of_the_worst_layer():
    found = measured(made(growth=2.5, factor_step=1.05))
    assert found["sum of the squared weights of a layer at the end, without L2 / with"] == 2.5
    assert found["the same, without L2, at the end / at the start"] == 2.5
    assert found["the same, with the factor / with L2"] == pytest.approx(1.05)
    assert found["relative step at a rate, in a layer, without L2 / with"] == pytest.approx(0.5)


def test_the_figure_has_three_panels():
    pytest.importorskip("matplotlib")
    setting = Setting(points=3)
    assert [len(axes.lines) for axes in draw(EXPERIMENT, setting, made())] == [9, 9, 9]
