"""The parts that experiments share: progress, nets, timing, claims, the registry."""

import io
import json
import math
import sys
from dataclasses import asdict, fields
from itertools import islice

import numpy as np
import pytest
import trimtab as tt
from trimtab import nn, optim
from trimtab.bench.load import Load
from trimtab.datasets import Dataset
from trimtab.lab import nets, registry, speed
from trimtab.lab.experiment import (
    SHOWN,
    Claim,
    Experiment,
    Run,
    Runs,
    above,
    at_least,
    at_most,
    below,
    between,
    deviation,
    in_deviations,
)
from trimtab.lab.progress import RunsBar, silent
from trimtab.lab.store import plain

# ---- the registry ----


@pytest.mark.parametrize("name", registry.names())
def test_experiments_are_named_as_their_files_and_have_every_text(name):
    experiment = registry.find(name)
    assert isinstance(experiment, Experiment)
    assert experiment.name == name
    assert all([experiment.claim, experiment.source, experiment.passes])
    assert "\n" not in experiment.claim
    assert 0 < experiment.minutes <= 40
    assert experiment.seeds >= 1 and type(experiment.setting) is type(experiment.quick)
    for setting in (experiment.setting, experiment.quick):
        json.dumps(asdict(setting), allow_nan=False)
        assert all(plain(cell) == cell for cell in experiment.cells(setting))


def test_there_are_three_seeds_unless_an_experiment_says_otherwise():
    defaults = {field.name: field.default for field in fields(Experiment)}
    assert (defaults["seeds"], defaults["quick_seeds"], defaults["data"]) == (3, 3, ())


def test_all_stands_for_every_experiment_and_none_comes_twice():
    first = registry.names()[0]
    assert [one.name for one in registry.chosen([first, "all", first])] == registry.names()


def test_listing_loads_no_optional_library(run_python):
    code = "import sys; from trimtab.lab import command; command.show_list(); print(*sys.modules)"
    loaded = run_python(code).splitlines()[-1].split()
    assert not {"matplotlib", "torch", "sklearn", "tqdm", "joblib"} & {*loaded}


def test_the_deviation_over_the_seeds_is_0_for_one():
    values = np.array([[1.0, 5], [2, 5], [6, 5]])
    np.testing.assert_allclose(deviation(values), [np.sqrt(7), 0])
    assert deviation(values[:1]).tolist() == [0, 0]
    assert in_deviations(values[:, 0]) == pytest.approx(3 / np.sqrt(7))
    assert math.isnan(in_deviations(values[:1, 0]))


# ---- claims ----


@pytest.mark.parametrize(
    ("wanted", "text", "inside", "outside"),
    [
        (below(2), "< 2", [1.9, -math.inf], [2.0, 3.0]),
        (above(2), "> 2", [2.1, math.inf], [2.0, 1.0]),
        (at_most(2), "<= 2", [2.0, 1.0], [2.1]),
        (at_least(0.25), ">= 0.25", [0.25, 1.0], [0.2]),
        (between(1, 10), "1 .. 10", [1.0, 5.0, 10.0], [0.9, 10.1]),
    ],
)
def test_claims_hold_inside_the_range_only(wanted, text, inside, outside):
    assert Claim("", 0.0, wanted).as_json()["wanted"] == text
    assert all(Claim("", number, wanted).holds is True for number in inside)
    assert all(Claim("", number, wanted).holds is False for number in [*outside, math.nan])


def test_nothing_is_asserted_of_what_is_shown():
    assert Claim("", math.nan, SHOWN).holds is None


def test_claims_of_a_mean_have_the_standard_deviation_of_the_seeds():
    claim = Claim.of_mean("", np.array([1.0, 2.0, 6.0]), above(2.5), exact=True)
    assert (claim.measured, claim.holds, claim.exact) == (3.0, True, True)
    assert claim.spread == pytest.approx(math.sqrt(7))
    assert Claim.of_mean("", np.array([1.0])).spread is None


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_claims_of_numbers_that_are_not_finite_are_json(number):
    found = Claim.of_mean("", np.array([1.0, number]), below(1)).as_json()
    assert (found["measured"], found["spread over seeds"], found["holds"]) == (None, None, False)


def test_values_are_those_of_the_matching_cells():
    runs = Runs([Run({"p": p, "q": 0}, seed, {"r": [p, seed]}, 2.0) for p in (0.2, 0.5) for seed in (1, 0)])
    assert runs.values("r", p=0.5).tolist() == [[0.5, 1], [0.5, 0]]
    assert runs.values("r", q=0).shape == (4, 2)
    assert runs.seeds == [0, 1]
    assert runs.seconds == 8.0
    with pytest.raises(KeyError, match=r"no run of the cell {'p': 0.3}"):
        runs.values("r", p=0.3)


# ---- progress ----


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_terminal_shows_a_bar_with_the_time_left(monkeypatch):
    pytest.importorskip("tqdm")
    stream = terminal(monkeypatch)
    with RunsBar("calm", 4, 1) as bar:
        assert list(bar(range(3))) == [0, 1, 2]
        assert bar._bar.n == pytest.approx(2)
        bar.finish_run()
        assert bar._bar.n == 2
        list(bar("ab")), list(bar("ab"))  # two loops are one run, too
        assert bar._bar.n == 3
        assert next(bar("ab")) == "a"
        bar.finish_run()
        bar._bar.refresh()
    assert "calm:  75%" in stream.getvalue()
    assert "3.0 of 4 runs" in stream.getvalue() and "left" in stream.getvalue()


def test_a_terminal_without_tqdm_shows_lines(monkeypatch):
    stream = terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with RunsBar("calm", 2, 0) as bar:
        assert list(bar([5])) == list(silent([5])) == [5]
        bar.finish_run()
    assert "calm: 1 of 2 runs\n" in stream.getvalue()


# ---- nets ----


def test_an_mlp_has_its_layers_in_order():
    net = nets.MLP((6, 16, 8, 3), activation="tanh", norm="batch", input_dropout=0.2, dropout=0.5)
    kinds = [type(layer) for layer in net.build(0).layers]
    hidden = [nn.Linear, nn.BatchNorm, nn.Tanh, nn.Dropout]
    assert kinds == [nn.Dropout, *hidden, *hidden, nn.Linear]
    model = net.build(0)
    assert [layer.p for layer in model.layers if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    assert model[1].bias is None and model[-1].bias is not None
    assert model[-1].weight.value.shape == (3, 8)


def test_the_weights_of_an_mlp_come_from_the_seed_and_have_the_wanted_scale():
    net = nets.MLP((100, 200, 10), init_sd=0.03)
    one, same, other = (net.build(seed)[0].weight.value for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert one.std() == pytest.approx(0.03, rel=0.03)
    assert nets.MLP((100, 200, 10)).build(0)[0].weight.value.std() == pytest.approx(math.sqrt(0.02), rel=0.03)


def test_batches_are_whole_and_each_epoch_has_every_sample_once():
    batches = [*islice(nets.minibatches(11, 4, 3), 6)]
    assert [len(batch) for batch in batches] == [4] * 6
    epochs = [np.concatenate(batches[start : start + 2]) for start in (0, 2, 4)]
    assert all(len(set(epoch)) == 8 and set(epoch) <= set(range(11)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(batches[0], next(nets.minibatches(11, 4, 3)))


@pytest.fixture
def blobs(rng):
    labels = np.arange(90) % 3
    x = (np.eye(3)[labels] + 0.1 * rng.standard_normal((90, 3))).astype(np.float32)
    return Dataset(x[:60], labels[:60], x[60:], labels[60:])


def test_training_returns_the_curves_and_shows_nothing_but_its_epochs(blobs, capsys):
    seen = []

    def progress(steps):
        for step in steps:
            seen.append(step)
            yield step

    model = nets.MLP((3, 16, 3)).build(0)
    curves = nets.train(
        model, optim.SGD(model, 0.1), blobs, epochs=5, batch_size=10, seed=0, progress=progress
    )
    assert seen == [0, 1, 2, 3, 4]
    assert capsys.readouterr() == ("", "")
    assert {*curves} == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert [len(values) for values in curves.values()] == [5] * 4
    assert curves["val_accuracy"][-1] > 0.9
    assert curves["loss"][-1] < curves["loss"][0]


@pytest.mark.parametrize("batch_size", [10, 100])
def test_an_epoch_may_have_any_number_of_steps(blobs, batch_size):
    seen = []

    def count(batch, rng):
        seen.append(len(batch))
        return batch

    model = nets.MLP((3, 16, 3)).build(0)
    curves = nets.train(
        model,
        optim.SGD(model, 0.1),
        blobs,
        epochs=2,
        batch_size=batch_size,
        seed=0,
        progress=silent,
        steps=20,
        augment=count,
    )
    assert len(curves["val_loss"]) == 2
    assert seen.count(min(batch_size, 60)) == 40
    assert curves["val_accuracy"][-1] > 0.9


def test_ctrl_c_ends_a_training_as_an_interrupt(blobs, monkeypatch):
    model = nets.MLP((3, 16, 3)).build(0)
    monkeypatch.setattr("trimtab.trainer.Loop.run", lambda loop: None)  # as after Ctrl-C in the first batch
    with pytest.raises(KeyboardInterrupt):
        nets.train(model, optim.SGD(model, 0.1), blobs, epochs=1, batch_size=10, seed=0, progress=silent)


# ---- the time in PyTorch ----

STEPS = [
    speed.Step(nets.MLP((5, 16, 8, 3), activation, norm, 0.2 * dropped, 0.5 * dropped), 4, 0.9 * dropped)
    for activation in nets.ACTIVATIONS
    for norm in (None, *nets.NORMS)
    for dropped in (0, 1)
]


@pytest.mark.parametrize("step", STEPS[::7], ids=str)
def test_the_step_in_pytorch_has_the_same_parameters(step):
    torch = pytest.importorskip("torch")
    speed.in_torch(step, torch)()
    speed.ours(step)()
    theirs = [tuple(one.shape) for one in speed.torch_net(step.net, torch.nn).parameters()]
    assert theirs == [one.value.shape for one in step.net.build(0).parameters()]


@pytest.mark.parametrize("step", [step for step in STEPS if not step.net.dropout][::2], ids=str)
def test_the_net_in_pytorch_computes_the_same(step, rng):
    torch = pytest.importorskip("torch")
    model, net = step.net.build(1), speed.torch_net(step.net, torch.nn)
    for ours, its in zip(model.parameters(), net.parameters(), strict=True):
        its.data = torch.from_numpy(ours.value)
    x = rng.standard_normal((7, 5), np.float32)
    np.testing.assert_allclose(model.forward(x), net(torch.from_numpy(x)).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("others", "ratio"), [(0.4, 1 + speed.STEPS), (0.6, math.nan)])
def test_the_time_in_pytorch_is_a_multiple_of_ours_unless_others_take_the_cpus(others, ratio, monkeypatch):
    torch = pytest.importorskip("torch")
    before, clock = torch.get_num_threads(), iter(range(10**6))
    seen = []
    monkeypatch.setattr(speed, "ours", lambda step: lambda: seen.append(torch.get_num_threads()))
    monkeypatch.setattr(speed, "in_torch", lambda step, torch: lambda: next(clock))  # each step takes longer
    monkeypatch.setattr(speed, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(speed.Load, "since", lambda start: Load(1.0, 0.9, others))
    tt.set_num_threads(1)
    found = speed.times_as_long_in_torch(STEPS[0])
    assert found == ratio or (math.isnan(found) and math.isnan(ratio))
    assert torch.get_num_threads() == before
    assert {*seen} == {1}


def test_there_is_no_time_in_pytorch_without_it(monkeypatch):
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    assert speed.times_as_long_in_torch(STEPS[0]) is None


def test_results_are_as_json_gives_them_back():
    given = {"a": np.arange(3), "b": np.float32(0.5), "c": (1, 2), "d": np.bool_(True), "e": math.inf}
    assert plain(given) == {"a": [0, 1, 2], "b": 0.5, "c": [1, 2], "d": True, "e": math.inf}
    with pytest.raises(TypeError, match=r"lists and arrays, got {1}"):
        plain({"a": {1}})


def test_drawn_samples_keep_their_labels_and_depend_on_the_seed():
    numbers = np.arange(50)
    data = Dataset(numbers[:, None].astype("f4"), numbers, numbers[:3, None].astype("f4"), numbers[:3])
    some = nets.drawn(data, 20, seed=1)
    assert some.x_train[:, 0].tolist() == some.y_train.tolist()
    assert len({*some.y_train.tolist()}) == 20
    assert some.y_train.tolist() == nets.drawn(data, 20, seed=1).y_train.tolist()
    assert some.y_train.tolist() != nets.drawn(data, 20, seed=2).y_train.tolist()
    assert some.y_test is data.y_test
