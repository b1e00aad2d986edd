"""The experiment on learning rates and initial weights, with few steps, and its claims on made-up grids."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.init_lr_robustness import EXPERIMENT, NORMS, Setting, accuracies

SHORT = Setting(
    samples=300, widths=(784, 20, 20, 10), batch=30, epochs=5, rates=(0.3, 1e6), init_sds=(0.001, 0.05)
)


def made(plain_limit=0.1, batch_limit=0.3):
    """Accuracies that are good up to a learning rate, for the initial weights of 0.1 and more."""

    def result(seed, norm, init_sd, lr):
        good = init_sd >= 0.1 and lr <= (batch_limit if norm == "batch" else plain_limit)
        return {"accuracy": 0.8 if good else 0.79}

    return made_runs(EXPERIMENT, Setting(), result)


def measured(runs):
    return {claim.claim: claim.measured for claim in EXPERIMENT.claims(Setting(), runs)}


def test_batch_norm_learns_from_small_weights_and_diverging_is_chance():
    runs = runs_of(EXPERIMENT, SHORT)
    found = {norm: accuracies(SHORT, runs, norm) for norm in NORMS}
    for norm in NORMS:
        assert found[norm].shape == (2, 2, 2)  # seeds, initial weights, rates
        assert np.all(found[norm][:, 1, 0] > 80)
        assert np.all(found[norm][:, :, 1] < 40)
    assert np.all(found["batch"][:, 0, 0] > 80)
    assert np.all(found[None][:, 0, 0] < 40)


def test_grids_are_by_initial_weights_and_rates():
    runs = made_runs(EXPERIMENT, Setting(), lambda seed, norm, init_sd, lr: {"accuracy": init_sd + lr / 10})
    found = accuracies(Setting(), runs, "batch")
    assert found.shape == (3, 6, 8)
    assert found[0, 1, -1] == pytest.approx(100 * (0.01 + 0.3))


def test_the_claim_holds_if_twice_as_many_cells_are_good():
    # of three rows: 0.001 .. 0.01 are 3 cells each, 0.001 .. 0.1 are 5, 0.001 .. 0.3 are 6
    runs = made(plain_limit=0.01, batch_limit=0.3)
    assert failed(EXPERIMENT, Setting(), runs) == []
    found = measured(runs)
    assert found["cells of 48 with an accuracy of at least 80 %, batch norm / no norm"] == 2
    assert found["cells of 48 with an accuracy of at least 80 %, no norm"] == 9
    assert found["largest learning rate that leads there, batch norm"] == 0.3
    assert found["largest learning rate that leads there, no norm"] == 0.01
    claim = "cells of 48 with an accuracy of at least 80 %, batch norm / no norm"
    assert failed(EXPERIMENT, Setting(), made(plain_limit=0.01, batch_limit=0.1)) == [claim]


def test_a_grid_without_a_good_cell_counts_as_one():
    found = measured(made(plain_limit=0, batch_limit=0.3))
    assert found["cells of 48 with an accuracy of at least 80 %, batch norm / no norm"] == 18
    assert found["largest learning rate that leads there, no norm"] == 0


def test_the_figure_has_a_grid_for_each_norm():
    pytest.importorskip("matplotlib")
    panels = draw(EXPERIMENT, Setting(), made())
    assert [axes.get_title() for axes in panels] == [*NORMS.values()]
    assert [len(axes.texts) for axes in panels] == [48, 48, 48]
