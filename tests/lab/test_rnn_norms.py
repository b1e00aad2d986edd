"""The experiment on norms in recurrent nets: the gradients of the net, and claims on made-up accuracies."""

import numpy as np
import pytest
import trimtab as tt
from helpers.lab import draw, failed, made_runs, runs_of
from trimtab.lab.experiments.rnn_norms import EXPERIMENT, NORMS, Recurrent, Setting, sequences

LENGTHS = np.array([6, 5, 4, 4, 3])  # one sequence alone in the last step
SMALL = Setting(
    samples=200, tests=80, pooling=4, units=12, batches=(8, 40), rates=(0.01, 0.03), epochs=2, late=0.5
)


def small_net(norm, rng):
    net = Recurrent(Setting(units=6), norm, 5, rng, np.float64)
    net.parameters["gamma"][:] = rng.uniform(0.5, 1.5, 6)
    net.parameters["beta"][:] = rng.standard_normal(6)
    return net, rng.standard_normal((5, 6, 5)), rng.standard_normal((5, 6))


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_through_time_are_those_of_differences(norm, rng):
    net, x, state = small_net(norm, rng)
    names = [*net.parameters]

    def forward(*values):
        net.parameters.update(zip(names, values, strict=True))
        net.means[:], net.variances[:] = 0, 1  # what one sequence alone is normalized with
        return net.forward(x, LENGTHS, state, training=True)

    def backward(dlogits, *values):
        forward(*values)
        found = net.backward(dlogits)
        return [found[name] for name in names]

    tt.gradcheck(forward, backward, [net.parameters[name] for name in names])


@pytest.mark.parametrize("norm", NORMS)
def test_a_sequence_ends_at_its_length(norm, rng):
    net, x, state = small_net(norm, rng)
    expected = net.forward(x, LENGTHS, state)
    for sample, length in enumerate(LENGTHS):
        x[sample, length:] = 1000
    np.testing.assert_array_equal(net.forward(x, LENGTHS, state), expected)
    alone = [net.forward(x[[i]], LENGTHS[[i]], state[[i]])[0] for i in range(5)]
    np.testing.assert_allclose(alone, expected, rtol=1e-9)


def test_the_net_is_a_tanh_of_the_norm_at_every_step(rng):
    net, x, state = small_net("layer", rng)
    p, h = net.parameters, state[0]
    for row in x[0]:
        a = p["W"] @ row + p["U"] @ h
        h = np.tanh((a - a.mean()) / np.sqrt(a.var() + 1e-5) * p["gamma"] + p["beta"])
    np.testing.assert_allclose(net.forward(x, LENGTHS, state)[0], p["V"] @ h + p["c"], rtol=1e-9)


def test_running_statistics_are_of_each_step_and_of_training_alone(rng):
    net, x, state = small_net("batch", rng)
    net.forward(x, LENGTHS, state)
    assert np.all(net.means == 0) and np.all(net.variances == 1)
    net.forward(x, LENGTHS, state, training=True)
    first = x[:, 0] @ net.parameters["W"].T + state @ net.parameters["U"].T
    np.testing.assert_allclose(net.means[0], 0.1 * first.mean(axis=0))
    assert np.all(net.means[1] != net.means[0])
    assert np.all(net.means[5:] == 0)  # steps with one sequence, and with none


def test_sequences_are_standardized_and_longest_first(rng):
    x, labels = rng.random((50, 784)).astype(np.float32), np.arange(50)
    images, same, lengths = sequences(Setting(pooling=2), x, labels, rng)
    assert images.shape == (50, 14, 14)
    assert images.mean() == pytest.approx(0, abs=1e-5) and images.std() == pytest.approx(1, abs=1e-4)
    assert np.array_equal(same, labels)
    assert (lengths.min(), lengths.max()) == (7, 14)
    assert np.all(np.diff(lengths) <= 0)


def test_small_nets_learn():
    runs = runs_of(EXPERIMENT, SMALL)
    for norm in NORMS:
        cell = {"norm": norm, "batch": 8, "lr": 0.03}
        assert np.all(runs.values("accuracy", **cell) > 20)
        same = runs.values("late", **cell) == runs.values("late, own", **cell)
        assert np.all(same) == (norm != "batch")


def made(**changes):
    """Accuracies of 90 % at all rates of layer norm and at the smaller ones of the others."""
    values = {"layer, 0.1": 90.0, "none, 0.1": 20.0, "batch, 0.1": 50.0, "layer, 16": 0.0} | changes

    def result(seed, norm, batch, lr):
        accuracy = values.get(f"{norm}, {lr}", 80.0) + values.get(f"{norm}, {batch}", 0.0)
        return {"accuracy": accuracy, "late": accuracy - 5, "late, own": accuracy - 3}

    return Setting(), made_runs(EXPERIMENT, Setting(), result)


def test_claims_hold_for_accuracies_as_published():
    assert failed(EXPERIMENT, *made()) == []
    measured = [round(claim.measured, 6) for claim in EXPERIMENT.claims(*made())]
    assert measured == [0.07, 0.07, 0, 0, 0, 10, 2, 10, 2]


@pytest.mark.parametrize(
    ("changes", "claims"),
    [
        ({"layer, 0.1": 59.0, "none, 0.1": 60.0}, ["batch 16: largest", "batch 128: largest"]),
        ({"batch, 0.1": 61.0, "layer, 0.1": 59.0}, ["batch 16: largest", "batch 128: largest"]),
        ({"layer, 16": -1.6}, ["accuracy at best rate, batch 128 less batch 16, layer"]),
        ({"layer, 16": 1.6}, ["accuracy at best rate, batch 128 less batch 16, layer"]),
    ],
)
def test_claims_fail_otherwise(changes, claims):
    found = failed(EXPERIMENT, *made(**changes))
    assert len(found) == len(claims)
    assert all(one.startswith(claim) for one, claim in zip(found, claims, strict=True))


def test_the_figure_has_a_panel_for_each_batch_size():
    pytest.importorskip("matplotlib")
    panels = draw(EXPERIMENT, *made())
    assert [axes.get_title() for axes in panels] == ["batch 16", "batch 128"]
    assert panels[0].get_legend_handles_labels()[1] == [*NORMS]
