"""ReduceLROnPlateau: when the rates are reduced, and by how much."""

from math import inf, nan

import numpy as np
import pytest
from helpers.training import Script
from trimtab import nn
from trimtab.callbacks import Callback, Checkpoint, ReduceLROnPlateau
from trimtab.losses import MSE
from trimtab.optim import SGD, Cosine
from trimtab.trainer import Trainer

X, Y = np.ones((2, 1)), np.zeros((2, 1))


class Rates(Callback):
    """Keeps the rates of the groups after each epoch; comes after the callback that is tested."""

    def on_fit_begin(self, trainer, epochs, batches):
        self.seen = []

    def on_epoch_end(self, trainer, epoch, logs):
        self.seen.append([group.lr for group in trainer.optimizer.groups])


def scripted(values, *callbacks, lr=1.0, monitor="val_loss"):
    """A trainer whose metric takes the given values."""
    model = nn.Sequential(nn.Linear(1, 1, rng=0), nn.Linear(1, 1, rng=1))
    return Trainer(model, MSE(), SGD(model, lr), [Script(values, monitor), *callbacks], rng=0)


def fit(trainer, epochs, **options):
    trainer.fit(X, Y, validation_data=(X, Y), epochs=epochs, progress=False, **options)


def rates(values, reduce, **options):
    seen = Rates()
    fit(scripted(values, reduce, seen, **options), len(values))
    return seen.seen


# values of the metric, options, and how often the rate has been halved after each epoch
SEQUENCES = {
    "better each time": ([4, 3, 2, 1], {"patience": 1}, [0, 0, 0, 0]),
    "patience 0": ([4, 4, 4, 4], {"patience": 0}, [0, 1, 2, 3]),
    "patience 1 is as 0": ([4, 4, 4, 4], {"patience": 1}, [0, 1, 2, 3]),
    "patience 2": ([4, 4, 4, 4, 4, 4], {"patience": 2}, [0, 0, 1, 1, 2, 2]),
    "waiting restarts with each improvement": ([4, 5, 3, 5, 5], {"patience": 2}, [0, 0, 0, 0, 1]),
    "waiting restarts with each reduction": ([4, 5, 5, 5], {"patience": 2}, [0, 0, 1, 1]),
    "by min_delta is not better": ([4, 3, 2, 0.5], {"patience": 1, "min_delta": 1}, [0, 1, 1, 1]),
    "min_delta is 1e-4 by default": ([1, 1 - 0.9e-4, 1 - 1.1e-4], {"patience": 1}, [0, 1, 1]),
    "by the threshold is not better": (
        [4, 2.2, 1.9, 1],
        {"patience": 1, "threshold": 0.5, "min_delta": 0},
        [0, 1, 1, 2],
    ),
    "threshold and min_delta": ([4, 2.9, 1.9], {"patience": 1, "threshold": 0.1, "min_delta": 2}, [0, 1, 1]),
    "threshold of a negative value": ([-4, -5, -7], {"patience": 1, "threshold": 0.5}, [0, 1, 1]),
    "larger is better": ([1, 2, 2, 3], {"patience": 1, "mode": "max"}, [0, 0, 1, 1]),
    "larger by a threshold": ([4, 5, 7], {"patience": 1, "mode": "max", "threshold": 0.5}, [0, 1, 1]),
    "NaN is never better": ([nan, 4, nan, 3], {"patience": 1}, [1, 1, 2, 2]),
    "infinity is not better": ([inf, 4], {"patience": 1}, [1, 1]),
    "cooldown does not count": ([4] * 7, {"patience": 1, "cooldown": 2}, [0, 1, 1, 1, 2, 2, 2]),
    "cooldown and patience": ([4] * 8, {"patience": 2, "cooldown": 1}, [0, 0, 1, 1, 1, 2, 2, 2]),
    "an improvement in the cooldown counts": (
        [4, 4, 3, 3.5, 3.5],
        {"patience": 1, "cooldown": 1},
        [0, 1, 1, 2, 2],
    ),
}


@pytest.mark.parametrize("label", SEQUENCES)
def test_rates_are_reduced_after_the_patience(label):
    values, options, halvings = SEQUENCES[label]
    reduce = ReduceLROnPlateau(factor=0.5, **options)
    assert rates(values, reduce) == [[0.5**count] for count in halvings]
    assert reduce.reductions == halvings[-1]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("options", [{}, {"cooldown": 2}, {"cooldown": 1, "threshold": 0.3}, {"min_lr": 0.2}])
def test_rates_are_those_of_pytorch(mode, options, rng):
    """Its patience is smaller by one."""
    torch = pytest.importorskip("torch")
    values = rng.uniform(1, 4, 40).tolist()
    reduce = ReduceLROnPlateau(factor=0.5, patience=2, mode=mode, min_delta=0, **options)
    ours = rates(values, reduce)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, mode, factor=0.5, patience=1, eps=0, **({"threshold": 0} | options)
    )
    for value, (rate,) in zip(values, ours, strict=True):
        schedule.step(value)
        assert rate == theirs.param_groups[0]["lr"]


def test_every_group_is_reduced_to_no_less_than_the_smallest_rate():
    reduce = ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.2)
    groups = {"body": 1.0, "head": 0.25, "small": 0.1}
    model = nn.Sequential(*(nn.Linear(1, 1, rng=0) for _ in groups))
    own = {
        name: {"parameters": layer, "lr": lr} for layer, (name, lr) in zip(model, groups.items(), strict=True)
    }
    seen = Rates()
    fit(Trainer(model, MSE(), SGD(own, 1.0), [Script([4] * 4), reduce, seen], rng=0), 4)
    assert seen.seen == [[1.0, 0.25, 0.1], [0.5, 0.2, 0.1], [0.25, 0.2, 0.1], [0.2, 0.2, 0.1]]


def test_the_defaults_are_those_of_keras():
    reduce = ReduceLROnPlateau()
    assert rates([4] * 12, reduce, lr=0.5)[9:] == [[0.5], [0.05], [0.05]]


def test_another_metric_can_be_monitored():
    assert rates([1, 1], ReduceLROnPlateau("loss", 0.5, 1), monitor="loss") == [[1.0], [0.5]]


def test_every_fit_starts_over():
    reduce = ReduceLROnPlateau(factor=0.5, patience=2)
    trainer = scripted([4, 4], reduce)
    for _ in range(2):
        fit(trainer, 2)
        assert (reduce.wait, reduce.reductions, reduce.best, trainer.optimizer.lr) == (1, 0, 4, 1.0)


@pytest.mark.parametrize("stopped", [1, 2, 3, 4, 5])
def test_a_resumed_training_is_reduced_as_an_uninterrupted_one(stopped, tmp_path):
    pytest.importorskip("safetensors")
    values, path = [4, 4, 4, 3, 4, 4, 4, 4], tmp_path / "run.safetensors"

    def learner(*callbacks):
        reduce = ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1)
        return scripted(values, reduce, *callbacks), reduce

    whole, expected = learner()
    fit(whole, len(values))
    fit(learner(Checkpoint(path))[0], stopped)
    resumed, reduce = learner()
    fit(resumed, len(values), resume=path)
    assert resumed.optimizer.lr == whole.optimizer.lr < 1
    assert vars(reduce) | {"_monitor": 0} == vars(expected) | {"_monitor": 0}
    assert reduce.best == expected.best


def test_a_schedule_is_refused_before_training():
    trainer = scripted([1], ReduceLROnPlateau(), lr=Cosine(0.1, 5))
    before = trainer.model.state_dict()
    with pytest.raises(
        ValueError,
        match=r"^ReduceLROnPlateau: optimizer must have numbers as learning rates, "
        r"got the schedule Cosine\(.*\) in group '0'$",
    ):
        fit(trainer, 1)
    assert all(np.array_equal(array, before[name]) for name, array in trainer.model.state_dict().items())


def test_an_unknown_metric_is_refused_before_training():
    with pytest.raises(
        ValueError, match=r"^ReduceLROnPlateau: monitor must be one of loss, val_loss, got 'error'$"
    ):
        fit(scripted([1], ReduceLROnPlateau("error")), 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"factor": 1.0}, ValueError, "factor must be finite, > 0 and < 1, got 1.0"),
        ({"factor": 0}, ValueError, "factor must be finite, > 0 and < 1, got 0"),
        ({"factor": "x"}, TypeError, "factor must be a number, got 'x'"),
        ({"patience": -1}, ValueError, "patience must be at least 0, got -1"),
        ({"patience": 1.5}, TypeError, "patience must be an int, got 1.5"),
        ({"cooldown": -1}, ValueError, "cooldown must be at least 0, got -1"),
        ({"min_lr": -1}, ValueError, "min_lr must be finite and >= 0, got -1"),
        ({"min_delta": -1}, ValueError, "min_delta must be finite and >= 0, got -1"),
        ({"threshold": nan}, ValueError, "threshold must be finite and >= 0, got nan"),
        ({"mode": "up"}, ValueError, "mode must be 'auto', 'min' or 'max', got 'up'"),
        ({"monitor": 3}, TypeError, "monitor must be the name of a metric, got 3"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=f"^ReduceLROnPlateau: {message}$"):
        ReduceLROnPlateau(**options)
