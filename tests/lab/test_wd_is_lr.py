"""The experiment on decay as a learning rate, with a small net, and its claims about made-up differences."""

import numpy as np
import pytest
from helpers.lab import draw, failed, made_runs, runs_of, synthetic_data
from trimtab.lab.experiments.wd_is_lr import EXPERIMENT, LABELS, Setting, logits, network

SHORT = Setting(samples=200, widths=(784, 12, 8, 10), batch=20, steps=30, decay=0.05)


def made(**changes):
    """Differences as they should be, but for those given."""
    largest = {"growing_rate": 1e-13, "neither": 0.5, "growing_rate_with_eps": 1e-3} | changes

    def result(seed, **cell):
        curves = {name: np.zeros(6) for name in LABELS}
        for name, curve in curves.items():
            curve[3] = largest[name.replace(", ", "_").replace(" ", "_")]
        return curves

    return made_runs(EXPERIMENT, Setting(), result)


def test_training_with_decay_is_training_at_a_growing_rate():
    runs = runs_of(EXPERIMENT, SHORT)
    same, neither, with_eps = (runs.values(name) for name in LABELS)
    assert same.shape == (2, SHORT.steps)
    assert same.max() < 1e-11
    assert np.all(neither[:, 0] == 0)  # before the first step
    assert np.all(neither[:, -1] > 1e-3)
    assert 1e-11 < with_eps.max() < neither.max()


def test_the_weights_before_a_batch_norm_decay():
    net, normalized = network(SHORT, 0.125, 3)
    assert [weight.value.shape for weight in normalized] == [(12, 784), (8, 12)]
    assert [layer.eps for layer in net if hasattr(layer, "eps")] == [0.125] * 2
    assert {parameter.value.dtype for parameter in net.parameters()} == {np.dtype(np.float64)}


def test_the_logits_are_those_before_each_step():
    found = logits(SHORT, 0, synthetic_data(), 0.0, 0.0, False)
    assert found.shape == (SHORT.steps, SHORT.batch, 10)
    net, _ = network(SHORT, 0.0, 0)
    x = synthetic_data().mnist.x_train[: SHORT.samples].astype(np.float64)
    first = np.random.default_rng(0).permutation(SHORT.samples)[: SHORT.batch]
    np.testing.assert_array_equal(found[0], net.forward(x[first]))


def test_claims_hold_for_rounding_alone():
    assert failed(EXPERIMENT, Setting(), made()) == []


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"growing_rate": 2e-9}, "largest difference of the logits, no decay, growing rate"),
        ({"growing_rate": np.nan}, "largest difference of the logits, no decay, growing rate"),
        ({"neither": 0.09}, "largest difference of the logits, no decay, constant rate"),
    ],
)
def test_claims_fail_otherwise(changes, claim):
    assert failed(EXPERIMENT, Setting(), made(**changes)) == [claim]


def test_the_figure_has_a_line_for_each_training_and_seed():
    pytest.importorskip("matplotlib")
    (axes,) = draw(EXPERIMENT, Setting(), made())
    assert len(axes.lines) == 3 * 3 + 1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [*LABELS.values()]
