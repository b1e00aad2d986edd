"""The experiment on the stopping time, with few samples, and its claims about made-up errors."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.early_stopping_theory import stopping_time
from trimtab.lab.experiments.yao_stop import EXPERIMENT, Setting, cells, function

SMALL = Setting(sizes=(16, 64), past=(1000, 50), times=12, points=50)


def made(slopes=(-0.3, -0.4), late=5.0):
    """Errors that fall as a power of m, and grow by a factor after t*."""

    def result(seed, size, theta, past):
        error = size ** slopes[theta > 0] * (1 + 0.1 * seed)
        errors = error * np.array([0.9, 1.0, late])
        return {"times": [1, 3, 1000], "errors": errors, "stop": 3, "error": error}

    return SMALL, made_runs(EXPERIMENT, SMALL, result)


def test_the_function_is_the_integral_of_the_kernel():
    x, t = np.linspace(0, 1, 11), (np.arange(2000) + 0.5) / 2000
    np.testing.assert_allclose(function(x), np.minimum.outer(x, t).mean(axis=1), atol=1e-6)


def test_errors_are_those_of_the_descent_and_grow_after_the_stop():
    runs = runs_of(EXPERIMENT, SMALL)
    for cell in cells(SMALL):
        times, errors = (runs.values(name, **cell)[0] for name in ("times", "errors"))
        stop = stopping_time(cell["size"], 1, cell["theta"])
        assert (times[0], times[-1]) == (1, cell["past"] * stop)
        assert runs.values("error", **cell)[0] == errors[[*times].index(stop)]
        assert errors[-1] > errors.min()
        norm = np.sqrt(np.mean(function(np.linspace(0, 1, 1000)) ** 2))
        assert errors[0] < norm  # of f_0 = 0
    late = runs.values("errors", size=64, theta=0.0)[:, -1]
    assert np.all((late > 0.05) & (late < 0.3))  # towards the noise


def test_without_noise_later_is_better():
    setting = Setting(sizes=(64,), past=(1000, 50), noise=0.0)
    errors = runs_of(EXPERIMENT, setting, seeds=1).values("errors", theta=0.0)
    assert np.all(np.diff(errors) < 0)


def test_claims_hold_for_errors_that_fall_as_they_must():
    assert failed(EXPERIMENT, *made()) == []
    claims = EXPERIMENT.claims(*made())
    assert [round(claim.measured, 9) for claim in claims] == [-0.3, -0.4, 5.0, round(1 / 0.9, 9)]


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"slopes": (-0.24, -0.3)}, "slope of the error at t* over m, theta 0"),
        ({"slopes": (-0.3, -0.24)}, "slope of the error at t* over m, theta 0.5"),
        ({"late": 2.9}, "theta 0, m = 64: error at 1,000 t* / error at t*"),
    ],
)
def test_a_claim_fails_for_other_errors(changes, claim):
    assert failed(EXPERIMENT, *made(**changes)) == [claim]


def test_the_figure_has_a_curve_for_each_size_and_each_theta():
    pytest.importorskip("matplotlib")
    left, right = draw(EXPERIMENT, *made())
    assert {"m = 16", "m = 64", "t*"} == {*left.get_legend_handles_labels()[1]}
    assert {"theta 0", "theta 0.5", "slope of the bound"} == {*right.get_legend_handles_labels()[1]}
