"""The experiment on dropout and the number of samples, with few steps, and its claims on made-up errors."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab import nn
from trimtab.lab.experiments.dropout_vs_n import EXPERIMENT, Setting, network

SMALL = Setting(sizes=(20, 200), widths=(784, 16, 16, 10), batch=50, steps=60, evaluations=3)


def made(gains):
    """Errors of 10 %, and with dropout less by the gain of the size, with a spread over the seeds."""

    def result(seed, size, drops):
        return {"error": np.array([50, 10 - drops * (gains.get(size, 0) + 0.1 * (seed - 1))])}

    return Setting(), made_runs(EXPERIMENT, Setting(), result)


def test_dropout_is_all_that_differs():
    nets = [network(SMALL, drops).build(0) for drops in (False, True)]
    rates = [[layer.p for layer in net if isinstance(layer, nn.Dropout)] for net in nets]
    assert rates == [[], [0.2, 0.5, 0.5]]
    weights = [[parameter.value for parameter in net.parameters()] for net in nets]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))


def test_more_samples_make_a_smaller_error():
    runs = runs_of(EXPERIMENT, SMALL)
    few, many = (runs.values("error", size=size, drops=False) for size in SMALL.sizes)
    assert few.shape == many.shape == (2, 3)
    assert np.all(many[:, -1] < few[:, -1])
    assert np.all((many >= 0) & (few <= 100))
    assert np.any(runs.values("error", size=200, drops=True) != many)


def test_claims_hold_for_gains_as_published():
    assert failed(EXPERIMENT, *made({1_000: 1.0, 10_000: 0.1})) == []
    sizes = dict(zip(Setting().sizes, EXPERIMENT.claims(*made({1_000: 2.0})), strict=True))
    assert (sizes[1_000].measured, sizes[100].measured) == pytest.approx((2.0, 0.0))
    assert sizes[1_000].spread == pytest.approx(0.1)


@pytest.mark.parametrize(("size", "gain"), [(1_000, 0.9), (10_000, -0.1)])
def test_a_claim_fails_for_smaller_gains(size, gain):
    (claim,) = failed(EXPERIMENT, *made({1_000: 1.5, 10_000: 0.5} | {size: gain}))
    assert claim.endswith(f"N = {size:,}")


def test_the_figure_has_errors_and_gains():
    pytest.importorskip("matplotlib")
    left, right = draw(EXPERIMENT, *made({}))
    assert left.get_legend_handles_labels()[1] == ["no dropout", "dropout"]
    assert "gain" in right.get_ylabel()
