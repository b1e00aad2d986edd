"""The experiment on dropout and the architecture, with small nets, and its claims on made-up errors."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.dropout_architectures import EXPERIMENT, Setting, network

SMALL = Setting(nets=((2, 16), (3, 8)), samples=100, batch=20, steps=60, evaluations=2)


def made(gains=None):
    """Errors of 5 %, and with dropout 4 % unless a net has another gain."""

    def result(seed, layers, width, drops):
        gain = (gains or {}).get((layers, width), 1.0) + 0.1 * (seed - 1)
        return {"error": np.linspace(50, 5 - drops * gain, Setting().evaluations)}

    return Setting(), made_runs(EXPERIMENT, Setting(), result)


def test_six_nets_of_two_to_four_hidden_layers():
    nets = Setting().nets
    assert len({*nets}) == 6
    assert {layers for layers, _ in nets} == {2, 3, 4}
    assert network(Setting(), 3, 512, True).widths == (784, 512, 512, 512, 10)
    rates = [(net.input_dropout, net.dropout) for net in (network(SMALL, 2, 16, drops) for drops in (0, 1))]
    assert rates == [(0, 0), (0.2, 0.5)]


def test_small_nets_learn():
    runs = runs_of(EXPERIMENT, SMALL)
    for layers, width in SMALL.nets:
        error = runs.values("error", layers=layers, width=width, drops=False)
        assert error.shape == (2, 2)
        assert np.all(error[:, -1] < 80)
        assert np.any(error != runs.values("error", layers=layers, width=width, drops=True))


def test_claims_hold_if_every_net_gains():
    assert failed(EXPERIMENT, *made()) == []
    assert [round(claim.measured, 9) for claim in EXPERIMENT.claims(*made())] == [1] * 6


def test_the_claim_fails_for_the_net_that_loses():
    (claim,) = failed(EXPERIMENT, *made({(3, 512): -0.1}))
    assert claim.startswith("3 x 512")


def test_the_figure_has_curves_of_every_net():
    pytest.importorskip("matplotlib")
    panels = draw(EXPERIMENT, *made())
    assert panels[1].get_legend_handles_labels()[1] == [
        f"{layers} x {width}" for layers, width in Setting().nets
    ]
