"""The table of regularizers, with few steps, and its claims on made-up errors."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments import regulariser_table
from trimtab.lab.experiments.regulariser_table import EXPERIMENT, PUBLISHED, Setting, network
from trimtab.optim import SGD

SMALL = Setting(samples=105, widths=(784, 16, 16, 10), epochs=8, batch=20)


def made(changes=None):
    """The errors that are published, with deviations of 0.1 between the seeds."""

    def result(seed, regularizer):
        error = (PUBLISHED | (changes or {}))[regularizer]
        noise = 0.1 * (seed - 1) * regularizer.endswith("L2")
        return {"error": np.linspace(20, error + noise, Setting().epochs)}

    return Setting(), made_runs(EXPERIMENT, Setting(), result)


def test_each_regularizer_is_what_its_name_says(monkeypatch):
    seen = {}

    def optimizer(model, lr, **options):
        seen[name] = options
        assert lr(0) == SMALL.lr
        assert lr(8 * 6) == 0  # after the last step
        return SGD(model, lr, **options)

    monkeypatch.setattr(regulariser_table, "SGD", optimizer)
    for name in PUBLISHED:
        one = replace(EXPERIMENT, cells=lambda setting, name=name: [{"regularizer": name}])
        runs_of(one, SMALL, seeds=1)
    assert {name: (o["weight_decay"], o["max_norm"]) for name, o in seen.items()} == {
        "L2": (1e-4, None),
        "max-norm": (0.0, 3.0),
        "dropout + L2": (1e-4, None),
        "dropout + max-norm": (0.0, 3.0),
    }
    assert [network(SMALL, name).dropout for name in PUBLISHED] == [0, 0, 0.5, 0.5]


def test_small_nets_learn():
    runs = runs_of(EXPERIMENT, SMALL)
    for name in PUBLISHED:
        error = runs.values("error", regularizer=name)
        assert error.shape == (2, 8)
        assert np.all(error[:, -1] < 85)


def test_claims_hold_for_the_published_errors():
    assert failed(EXPERIMENT, *made()) == []
    measured = [claim.measured for claim in EXPERIMENT.claims(*made())]
    np.testing.assert_allclose(measured, [*PUBLISHED.values(), 2.7, 1, 2])


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"max-norm": 1.83}, "error with L2 less that with max-norm, in sd"),
        ({"dropout + L2": 1.56}, "error with max-norm less that with dropout + L2, in sd"),
        (
            {"dropout + max-norm": 1.36, "dropout + L2": 1.3},
            "test error, %, dropout + max-norm (published 1.05)",
        ),
    ],
)
def test_a_claim_fails_for_other_errors(changes, claim):
    assert failed(EXPERIMENT, *made(changes)) == [claim]


def test_a_wrong_order_within_the_noise_is_none():
    assert failed(EXPERIMENT, *made({"max-norm": 1.8})) == []


def test_the_figure_has_a_curve_for_each_regularizer():
    pytest.importorskip("matplotlib")
    left, right = draw(EXPERIMENT, *made())
    assert left.get_legend_handles_labels()[1] == [*PUBLISHED]
    assert len(right.get_xticklabels()) == len(PUBLISHED)
