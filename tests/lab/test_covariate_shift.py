"""The experiment on shifted inputs, with a small net, and its claims about made-up accuracies."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.covariate_shift import EXPERIMENT, SHIFTS, Setting, accuracies

SHORT = Setting(samples=300, widths=(784, 30, 30, 10), batch=30, epochs=5)


def made(before=0.6, after=0.8, negated=0.9, shift="noisy"):
    """Accuracies of 90 %, after a shift 60 %, adapted 80 %, but for those of the given shift."""

    def result(seed, norm):
        lost = dict.fromkeys(SHIFTS, 0.6) | {"as they are": 0.9, shift: before}
        adapted = dict.fromkeys(SHIFTS, 0.8) | {"as they are": 0.9, shift: after}
        return {"before": lost} | ({"after": adapted, "negated": negated} if norm else {})

    return made_runs(EXPERIMENT, Setting(), result)


def test_shifts_keep_the_range_and_the_dtype(rng):
    x = rng.random((100, 784), np.float32)
    for shift in SHIFTS.values():
        shifted = shift(x, rng)
        assert shifted.dtype == np.float32
        assert shifted.min() >= 0
        assert shifted.max() <= 1
    one = np.array([[0, 0.3, 0.8]], np.float32)
    assert np.allclose(SHIFTS["brightened"](one, rng), [[0.5, 0.8, 1]])
    assert np.allclose(SHIFTS["faded"](one, rng), [[0, 0.06, 0.16]])
    assert np.allclose(SHIFTS["inverted"](one, rng), [[1, 0.7, 0.2]])
    assert SHIFTS["as they are"](one, rng) is one
    gray = np.full((100, 784), 0.5, np.float32)
    half_normal = np.clip(0.5 + 0.5 * np.random.default_rng(0).standard_normal(10**6), 0, 1)
    assert SHIFTS["noisy"](gray, rng).std() == pytest.approx(half_normal.std(), rel=0.02)


def test_adaptation_undoes_positive_affine_maps_and_inversion_only_with_negated_weights():
    runs = runs_of(EXPERIMENT, SHORT)
    own = accuracies(runs, "batch", "before", "as they are")
    assert np.all(own > 90)
    assert np.all(accuracies(runs, None, "before", "as they are") > 90)
    for shift in ("as they are", "faded"):
        assert np.all(np.abs(accuracies(runs, "batch", "after", shift) - own) <= 2)
    assert np.all(accuracies(runs, "batch", "before", "inverted") < 50)
    assert np.all(accuracies(runs, "batch", "after", "inverted") < 50)
    assert np.all(np.abs(100 * runs.values("negated", norm="batch") - own) <= 2)


def test_claims_hold_for_accuracies_that_recover():
    assert failed(EXPERIMENT, Setting(), made()) == []


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"before": 0.81, "after": 0.9}, "loss of accuracy, points, noisy"),
        ({"after": 0.74}, "share that adaptation recovers, %, noisy"),
        ({"after": 0.0, "shift": "inverted"}, "share that adaptation recovers, %, inverted"),
        (
            {"negated": 0.89},
            "accuracy, points, inverted with the first weights negated, too - as they are, both adapted",
        ),
    ],
)
def test_a_claim_fails_for_other_accuracies(change, claim):
    assert failed(EXPERIMENT, Setting(), made(**change)) == [claim]


def test_the_figure_has_bars_for_each_shift():
    pytest.importorskip("matplotlib")
    (axes,) = draw(EXPERIMENT, Setting(), made())
    assert [text.get_text() for text in axes.get_xticklabels()] == [*SHIFTS]
    assert len(axes.patches) == 2 * len(SHIFTS) + len(SHIFTS)
