"""The experiment on batch norm and sigmoids, with few steps, and its claims about made-up curves."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.bn_fig1 import EXPERIMENT, NORMS, Setting, cells, steps_to

SHORT = Setting(hidden=(30, 30), batch=30, steps=200, lr=1.0, early=100, every=50)
LONG = Setting(steps=5_000)  # 51 points


def made(final=0.97, plain_steps=3_000, small_plain=0.11, small_batch=0.9):
    """Curves that jump: with batch norm, to 96 % after 1,000 steps."""

    def result(seed, init_sd, norm):
        steps = LONG.every * np.arange(51)
        if init_sd == LONG.small_init_sd:
            accuracy = np.where(steps == LONG.early, small_batch if norm else small_plain, 0.5)
        elif norm:
            accuracy = np.where(steps >= 1_000, 0.96, 0.1)
            accuracy[-1] = final
        else:
            accuracy = np.where(steps >= plain_steps, 0.97, 0.1)
        return {"accuracy": accuracy, "percentiles": np.outer(1 + steps, [-1, 0, 1])}

    return made_runs(EXPERIMENT, LONG, result)


def test_only_the_net_with_batch_norm_learns_from_small_weights():
    runs = runs_of(EXPERIMENT, SHORT)
    for cell in cells(SHORT):
        accuracy, percentiles = runs.values("accuracy", **cell), runs.values("percentiles", **cell)
        assert accuracy.shape == (2, 5)
        assert percentiles.shape == (2, 5, 3)
        assert np.all(np.diff(percentiles, axis=2) > 0)
        if cell["init_sd"] == SHORT.small_init_sd:
            has_norm = cell["norm"] == "batch"
            assert np.all((accuracy[:, -1] > 0.8) == has_norm)
            assert not has_norm or np.all(np.ptp(percentiles[:, -1], axis=1) > 1)


def test_steps_are_those_to_the_first_point_that_reaches_the_accuracy():
    curves = np.array([[0.1, 0.9, 0.8, 0.95], [0.95, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.89]])
    assert steps_to(Setting(every=20), 0.9, curves).tolist() == [20, 0, 60]


def test_claims_hold_for_curves_as_published():
    assert failed(EXPERIMENT, LONG, made()) == []


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"final": 0.969}, "gain of accuracy by batch norm at the end, points, initial sd 0.1"),
        ({"plain_steps": 2_900}, "steps to 90 % without batch norm / with it, initial sd 0.1"),
        ({"small_plain": 0.16}, "accuracy without norm after 3000 steps, %, initial sd 0.01"),
        ({"small_batch": 0.87}, "accuracy with batch norm after 3000 steps, %, initial sd 0.01"),
    ],
)
def test_a_claim_fails_for_another_curve(change, claim):
    assert failed(EXPERIMENT, LONG, made(**change)) == [claim]


def test_a_net_that_never_reaches_90_percent_takes_all_steps():
    assert failed(EXPERIMENT, LONG, made(plain_steps=10**9)) == []


def test_the_figure_has_accuracies_and_percentiles():
    pytest.importorskip("matplotlib")
    panels = draw(EXPERIMENT, LONG, made())
    assert [len(axes.lines) for axes in panels] == [4 * 3, 3, 3]
    assert len(NORMS) == 2
