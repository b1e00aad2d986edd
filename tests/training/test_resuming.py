"""A training saved at any point and resumed has the bits of an uninterrupted one, or is refused."""

import os
import signal

import numpy as np
import pytest
from helpers.training import jitter, state_of
from numpy.testing import assert_array_equal
from trimtab import nn
from trimtab.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from trimtab.losses import CrossEntropy, top_k
from trimtab.optim import SGD
from trimtab.trainer import Trainer
from trimtab.training import checkpoint_file as checkpoint

pytest.importorskip("safetensors")

EPOCHS, BATCHES = 4, 5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


@pytest.fixture
def fit(rng):
    x = rng.standard_normal((50, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)

    def run(trainer, **options):
        options = {"epochs": EPOCHS, "batch_size": 10, "validation_split": 0.0, "progress": False} | options
        trainer.fit(x, y, validation_data=(x[:9], y[:9]), augment=jitter, **options)
        return trainer

    return run


def learner(*callbacks, lr=0.1):
    model = nn.Sequential(
        nn.Linear(2, 8, rng=0), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2, rng=1)
    )
    return Trainer(model, CrossEntropy(), SGD(model, lr, momentum=0.9), callbacks, rng=3)


class Halve(Callback):
    """Halves the learning rate after each epoch."""

    def on_epoch_end(self, trainer, epoch, logs):
        trainer.optimizer.lr /= 2


class Count(Callback):
    """Counts what it sees, and remembers it."""

    HOOKS = ("on_epoch_begin", "on_batch_begin", "on_batch_end", "on_epoch_end", "on_checkpoint")

    def __init__(self):
        self.seen = dict.fromkeys(self.HOOKS, 0)
        for hook in self.HOOKS:
            setattr(self, hook, lambda *arguments, hook=hook: self.add(hook))

    def add(self, hook):
        self.seen[hook] += 1

    def state_dict(self):
        return {"seen": np.array([*self.seen.values()])}

    def on_resume(self, trainer, state):
        self.seen = dict(zip(self.HOOKS, state["seen"].tolist(), strict=True))


class At(Callback):
    """Runs a function in the n-th call of a hook."""

    def __init__(self, hook, number, act):
        self.left = number
        setattr(self, hook, lambda trainer, *arguments: self.count(trainer, act))

    def count(self, trainer, act):
        self.left -= 1
        if self.left == 0:
            act(trainer)


PLACES = [
    ("on_fit_begin", 1),
    ("on_epoch_begin", 1),
    ("on_epoch_begin", 3),
    ("on_batch_begin", 1),
    ("on_batch_begin", 8),
    ("on_batch_end", 1),
    ("on_batch_end", 8),
    ("on_batch_end", BATCHES),
    ("on_epoch_end", 1),
    ("on_epoch_end", 3),
    ("on_checkpoint", 2),
    ("on_epoch_end", EPOCHS),
    ("on_checkpoint", EPOCHS),
    ("on_fit_end", 1),
]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("hook", "number"), PLACES)
def test_a_training_saved_in_a_hook_resumes(hook, number, shuffle, fit, path):
    """Callbacks after the one that saves run the hook when training resumes."""
    whole = fit(learner(Halve(), Count(), Count()), shuffle=shuffle)
    saver = At(hook, number, lambda trainer: trainer.save(path))
    fit(learner(Count(), saver, Count(), Halve()), shuffle=shuffle)
    resumed = fit(learner(Count(), Count(), Halve()), resume=path, shuffle=shuffle)
    assert state_of(resumed) == state_of(whole)
    assert [callback.seen for callback in resumed.callbacks[:2]] == [whole.callbacks[1].seen] * 2


@pytest.mark.parametrize(("hook", "number"), PLACES[1:-1])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_training_saved_after_an_error_in_a_hook_resumes(hook, number, error, fit, path):
    def fail(trainer):
        raise error

    whole = fit(learner(Count(), Count(), Halve()))
    stopped = learner(Count(), At(hook, number, fail), Count(), Halve())
    with pytest.raises(error):
        fit(stopped)
    stopped.save(path)
    resumed = fit(learner(Count(), Count(), Halve()), resume=path)
    assert state_of(resumed) == state_of(whole)
    assert [callback.seen for callback in resumed.callbacks[:2]] == [
        callback.seen for callback in whole.callbacks[:2]
    ]


@pytest.mark.parametrize("number", [1, 5, 7, 10])
@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_a_training_saved_after_a_stop_resumes(how, number, fit, path):
    def stop(trainer):
        trainer.stop() if how == "stop" else os.kill(os.getpid(), signal.SIGINT)

    whole = fit(learner(Count()))
    stopped = fit(learner(At("on_batch_end", number, stop), Count()))
    assert stopped.optimizer.steps == number
    stopped.save(path)
    resumed = fit(learner(Count()), resume=path)
    assert state_of(resumed) == state_of(whole)
    assert resumed.callbacks[0].seen == whole.callbacks[0].seen


class Fails(nn.Module):
    """Fails in its n-th forward or backward in training, after the earlier layers have changed."""

    def __init__(self, where, number):
        self.where, self.left = where, number

    def count(self, where):
        if where == self.where and self.training:
            self.left -= 1
            if self.left == 0:
                raise MemoryError

    def forward(self, x):
        self.count("forward")
        self.saved = None
        return x

    def backward(self, dy):
        self.count("backward")
        return dy


def with_layer(layer, *callbacks):
    trainer = learner()
    model = nn.Sequential(*trainer.model.layers, layer)
    return Trainer(model, CrossEntropy(), SGD(model, 0.1, momentum=0.9), callbacks, rng=3)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_training_saved_after_an_error_in_a_layer_resumes(where, fit, path):

    whole = fit(with_layer(Fails("", 0)))
    stopped = with_layer(Fails(where, 8))
    with pytest.raises(MemoryError):
        fit(stopped)
    stopped.save(path)
    assert state_of(fit(with_layer(Fails("", 0)), resume=path)) == state_of(whole)
    assert state_of(fit(stopped, resume=path)) == state_of(whole)


class Numbers(Callback):
    """Lists the batches that begin."""

    def __init__(self):
        self.seen = []

    def on_batch_begin(self, trainer, batch):
        self.seen.append(batch)


def test_a_batch_that_failed_begins_again(fit, path):
    whole = fit(with_layer(Fails("", 0), Numbers()))
    stopped = with_layer(Fails("forward", 8), Numbers())
    with pytest.raises(MemoryError):
        fit(stopped)
    stopped.save(path)
    resumed = fit(with_layer(Fails("", 0), Numbers()), resume=path)
    assert resumed.callbacks[0].seen == whole.callbacks[0].seen[7:]


def test_an_interrupted_update_cannot_be_resumed(fit, path):
    def cut(trainer):
        def step():
            trainer.model[0].weight.value[...] *= 2
            raise KeyboardInterrupt

        trainer.optimizer.step = step

    stopped = learner(At("on_batch_end", 7, cut))
    with pytest.raises(KeyboardInterrupt):
        fit(stopped)
    stopped.save(path)
    learner().load(path)
    other = learner()
    before = state_of(other)
    with pytest.raises(
        ValueError, match=r"must be of a training that can be resumed, got one that ended in the mid"
    ):
        fit(other, resume=path)
    assert state_of(other) == before


def test_a_training_cannot_be_saved_within_a_batch(fit, path):
    trainer = learner()

    def save(batch, rng):
        trainer.save(path)
        return batch

    with pytest.raises(
        RuntimeError, match="save: training must be between two batches, got a call in the mid"
    ):
        trainer.fit(np.ones((4, 2)), [0, 1, 0, 1], augment=save, progress=False)
    assert not path.exists()
    trainer.save(path)


def test_restored_best_weights_cannot_be_resumed(fit, path):
    stopping = EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
    trainer = fit(learner(stopping))
    trainer.save(path)
    learner().load(path)
    with pytest.raises(ValueError, match="got one whose weights a callback has replaced at its end"):
        fit(learner(), resume=path, epochs=9)
    stays = fit(learner(EarlyStopping("loss", patience=9)))
    stays.save(path)
    assert state_of(fit(learner(), resume=path, epochs=6)) == state_of(fit(learner(), epochs=6))


def test_loading_and_saving_again_changes_nothing(fit, path):
    fit(learner(At("on_batch_end", 7, lambda trainer: trainer.stop()), Count())).save(path)
    again = learner(Count())
    again.load(path)
    second = path.with_name("second.safetensors")
    again.save(second)
    assert state_of(fit(learner(), resume=second)) == state_of(fit(learner()))


def test_the_learning_rate_is_part_of_the_state(path):
    one, other = learner(), learner()
    one.optimizer.lr = 0.003
    one.save(path)
    other.load(path)
    assert other.optimizer.lr == 0.003


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 25}, "fit: batch_size must be 10 as in .*run.safetensors, got 25"),
        ({"shuffle": False}, "fit: shuffle must be True as in .*run.safetensors, got False"),
        ({"validation_split": 0.5}, "validation_split must be 0"),
    ],
)
def test_other_arguments_are_refused(change, message, fit, path):
    fit(learner(At("on_batch_end", 7, lambda trainer: trainer.stop()))).save(path)
    trainer = learner()
    before = state_of(trainer)
    with pytest.raises(ValueError, match=message):
        fit(trainer, resume=path, **change)
    assert state_of(trainer) == before


def test_other_data_are_refused(fit, path):
    fit(learner(Checkpoint(path)))
    x = np.ones((40, 2))
    with pytest.raises(ValueError, match=r"fit: samples must be 50 as in .*run.safetensors, got 40"):
        learner().fit(
            x, [0] * 40, validation_data=(x, [0] * 40), batch_size=10, resume=path, progress=False, epochs=9
        )


CLASSES = np.arange(50) % 2


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            {"sample_weight": np.arange(50.0)},
            {"sample_weight": np.arange(50.0)[::-1]},
            "sample_weight must be 50 weights with the CRC-32 [0-9a-f]{8} as in .*, got 50 weights with the",
        ),
        ({"sample_weight": np.ones(50)}, {}, "sample_weight must be 50 weights .* as in .*, got None"),
        ({}, {"sample_weight": np.ones(50)}, "sample_weight must be None as in .*, got 50 weights with"),
        (
            {"class_weight": {0: 2.0}},
            {"class_weight": {0: 2.5}},
            r"class_weight must be \[2.0, 1.0\] as in .*, got \[2.5, 1.0\]",
        ),
        ({"class_weight": [1, 2]}, {}, r"class_weight must be \[1.0, 2.0\] as in .*, got None"),
        ({}, {"class_weight": "balanced"}, r"class_weight must be None as in .*, got \[1.0, 1.0\]"),
    ],
)
def test_other_weights_are_refused(before, after, message, rng, path):
    x = rng.standard_normal((50, 2)).astype(np.float32)
    stopped = learner(At("on_batch_end", 3, lambda trainer: trainer.stop()))
    stopped.fit(x, CLASSES, batch_size=10, progress=False, **before)
    stopped.save(path)
    other = learner()
    state = state_of(other)
    with pytest.raises(ValueError, match=f"^fit: {message}"):
        other.fit(x, CLASSES, batch_size=10, progress=False, resume=path, **after)
    assert state_of(other) == state


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"sample_weight": [0.0, 1.0] * 25}, {"sample_weight": np.array([-0.0, 1.0] * 25, np.float32)}),
        ({"class_weight": "balanced"}, {"class_weight": {0: 1, 1: 1.0}}),
    ],
)
def test_the_same_weights_in_another_form_are_taken(before, after, rng, path):
    x = rng.standard_normal((50, 2)).astype(np.float32)
    whole, stopped, resumed = (
        learner(),
        learner(At("on_batch_end", 3, lambda trainer: trainer.stop())),
        learner(),
    )
    whole.fit(x, CLASSES, batch_size=10, progress=False, **before)
    stopped.fit(x, CLASSES, batch_size=10, progress=False, **before)
    stopped.save(path)
    resumed.fit(x, CLASSES, batch_size=10, progress=False, resume=path, **after)
    assert state_of(resumed) == state_of(whole)


# ---- states of callbacks ----


def test_states_go_to_their_callbacks(fit, path):
    def callbacks():
        return [
            EarlyStopping("loss", patience=50),
            EarlyStopping("val_accuracy", patience=50),
            EarlyStopping("loss", mode="max", patience=50),
            Checkpoint(path),
        ]

    saved = fit(learner(*callbacks()))
    resumed = fit(learner(*reversed(callbacks()), CSVLogger(path.with_suffix(".csv"))), resume=path)
    for old, new in zip(saved.callbacks[:3], resumed.callbacks[3:0:-1], strict=True):
        assert (new.best, new.best_epoch, new.wait) == (old.best, old.best_epoch, old.wait)
        assert new.best_epoch > 0


@pytest.mark.parametrize(
    "other",
    [
        EarlyStopping("val_accuracy", patience=50),
        EarlyStopping("val_loss", mode="max", patience=50),
        EarlyStopping("loss", patience=50),
    ],
)
def test_another_metric_or_mode_starts_over(other, fit, path):
    fit(learner(EarlyStopping("val_loss", patience=50), Checkpoint(path)))
    resumed = fit(learner(other), resume=path, epochs=EPOCHS + 1)
    assert other.best == resumed.history[other._monitor.name][-1]
    assert other.best_epoch == EPOCHS + 1


def test_names_distinguish_callbacks(fit, path):
    def callbacks():
        one, other = EarlyStopping("loss", patience=50), EarlyStopping("loss", min_delta=9, patience=50)
        one.name, other.name = "one", "other"
        return one, other

    saved = fit(learner(*callbacks(), Checkpoint(path)))
    one, other = callbacks()
    fit(learner(other, one), resume=path)
    assert (one.wait, other.wait) == tuple(callback.wait for callback in saved.callbacks[:2])
    assert one.wait != other.wait


def test_a_state_of_another_kind_is_refused_and_changes_nothing(fit, path):
    counter, stopping = Count(), EarlyStopping("loss")
    counter.name = stopping.name = "mine"
    fit(learner(counter, Checkpoint(path)))
    trainer = learner(stopping)
    before = state_of(trainer)
    with pytest.raises(ValueError, match="fit: resume must have the whole state of mine, got no 'best'"):
        fit(trainer, resume=path)
    assert state_of(trainer) == before


def test_files_of_the_first_version_are_read(fit, path):
    fit(learner(Checkpoint(path)), epochs=2)
    groups, notes = checkpoint.read(path)
    groups = {"EarlyStopping.0": {"best": np.array(1.0)}} | {
        name: groups[name] for name in ("model", "optimizer")
    }
    checkpoint.write(path, groups, {name: notes[name] for name in ("rng", "history")})
    assert state_of(fit(learner(), resume=path)) == state_of(fit(learner()))


@pytest.mark.parametrize("name", ["rng", "history"])
def test_damaged_metadata_are_refused(name, fit, path):
    fit(learner(Checkpoint(path)))
    groups, notes = checkpoint.read(path)
    checkpoint.write(path, groups, {key: value for key, value in notes.items() if key != name})
    with pytest.raises(
        ValueError, match=f"load: .*run.safetensors must have whole notes, got KeyError.*{name}"
    ):
        learner().load(path)


def test_metrics_of_the_interrupted_epoch_are_complete(fit, path):
    def with_metric(*callbacks):
        trainer = learner(*callbacks)
        trainer.loss.metrics["top_2"] = top_k(2)
        return trainer

    whole = fit(with_metric())
    fit(with_metric(At("on_batch_end", 3, lambda trainer: trainer.stop()))).save(path)
    resumed = fit(with_metric(), resume=path)
    assert resumed.history == whole.history
    assert_array_equal(resumed.history["top_2"], 1)
