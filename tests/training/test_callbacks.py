"""Early stopping, the CSV log and the progress bar."""

import copy
import csv
import pickle
import sys
from math import inf, nan
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.training import Script, small_trainer
from numpy.testing import assert_array_equal
from trimtab import nn
from trimtab.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping, Monitor, ProgressBar
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD
from trimtab.trainer import Trainer

UP, DOWN = "max", "min"


def scripted(values, *callbacks, name="val_loss", epochs=None):
    """Train a single weight, which counts the finished epochs, while a metric takes the given values."""
    model = nn.Linear(1, 1, bias=False, rng=0)
    model.weight.value[...] = 0

    class CountEpochs(Callback):
        def on_epoch_begin(self, trainer, epoch):
            model.weight.value[...] = epoch

    trainer = Trainer(
        model, CrossEntropy(), SGD(model, lr=0.0), [CountEpochs(), Script(values, name), *callbacks], rng=0
    )
    x, y = np.ones((2, 1)), np.zeros(2, int)
    trainer.fit(x, y, validation_data=(x, y), epochs=epochs or len(values), progress=False)
    return trainer


# values of the metric, options, the epoch that ends training (0: none), the best epoch
SEQUENCES = {
    "better each time": ([4, 3, 2, 1], {}, 0, 4),
    "patience 0 ends at the first that is not better": ([4, 3, 3, 2], {}, 3, 2),
    "patience 0 does not end at the first epoch": ([4, 3], {}, 0, 2),
    "patience 1 is as 0": ([4, 3, 3, 2], {"patience": 1}, 3, 2),
    "patience 2": ([4, 5, 3, 5, 5, 1], {"patience": 2}, 5, 3),
    "waiting restarts with each improvement": ([4, 5, 3, 5, 2, 5], {"patience": 2}, 0, 5),
    "as good is not better": ([4, 4, 4, 4], {"patience": 3}, 4, 1),
    "by less than min_delta is not better": ([4, 3.5, 3.1, 2.9], {"min_delta": 1, "patience": 9}, 0, 4),
    "by just min_delta is not better": ([4, 3, 3], {"min_delta": 1, "patience": 2}, 3, 1),
    "min_delta counts from the best": ([4, 3.5, 3.2, 3.1], {"min_delta": 1, "patience": 3}, 4, 1),
    "larger is better": ([1, 2, 2, 3], {"mode": UP}, 3, 2),
    "larger by min_delta": ([1, 1.5, 2.5], {"mode": UP, "min_delta": 1, "patience": 2}, 0, 3),
    "NaN first": ([nan, 4, 3], {"patience": 2}, 0, 3),
    "NaN is never the best": ([nan, nan, 4, 5, 5], {"patience": 3}, 0, 3),
    "NaN counts as waiting": ([4, nan, nan, 3], {"patience": 2}, 3, 1),
    "NaN at the first epoch with patience 0": ([nan, 4], {}, 1, 0),
    "only NaN": ([nan] * 4, {"patience": 3}, 3, 0),
    "NaN where larger is better": ([nan, 1, nan, 2], {"mode": UP, "patience": 2}, 0, 4),
    "infinity is no improvement": ([inf, inf, 4], {"patience": 3}, 0, 3),
    "the good infinity ends all improvement": ([-inf, 1, -inf], {"patience": 2}, 3, 1),
    "start_from_epoch ignores values": ([1, 2, 5, 4, 6], {"start_from_epoch": 2}, 5, 4),
    "start_from_epoch does not wait": ([1, 2, 2, 2], {"start_from_epoch": 3}, 0, 4),
    "start_from_epoch beyond the end": ([1, 2, 3], {"start_from_epoch": 9}, 0, 0),
    "baseline not reached": ([9, 8, 8, 7], {"baseline": 5, "patience": 3}, 3, 2),
    "never on an improving epoch": ([9, 8, 7, 6, 6], {"baseline": 5, "patience": 2}, 5, 4),
    "baseline reached in time": ([9, 4, 6, 6, 6], {"baseline": 5, "patience": 3}, 5, 2),
    "baseline is to be beaten by min_delta": (
        [9, 4.5, 4.5],
        {"baseline": 5, "min_delta": 1, "patience": 3},
        3,
        2,
    ),
    "baseline where larger is better": ([1, 6, 2, 2], {"baseline": 5, "mode": UP, "patience": 2}, 4, 2),
}


@pytest.mark.parametrize("label", SEQUENCES)
@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping_ends_after_its_patience(label, restore):
    values, options, stopped, best = SEQUENCES[label]
    stopping = EarlyStopping(restore_best_weights=restore, **options)
    trainer = scripted(values, stopping)
    last = stopped or len(values)
    assert len(trainer.history["val_loss"]) == last
    assert (stopping.stopped_epoch, stopping.best_epoch) == (stopped, best)
    assert stopping.best == (values[best - 1] if best else inf)
    assert trainer.model.weight.value == (best if restore and best else last)


def test_early_stopping_starts_over_with_each_fit():
    stopping = EarlyStopping()
    for _ in range(2):
        scripted([3, 2, 2, 1], stopping)
        assert stopping.stopped_epoch == 3
    scripted([9, 8], stopping)
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch, stopping.wait) == (8, 2, 0, 0)


def test_best_weights_are_restored_after_an_error():
    class Fails(Callback):
        def on_epoch_begin(self, trainer, epoch):
            if epoch == 3:
                raise ArithmeticError

    stopping = EarlyStopping(patience=9, restore_best_weights=True)
    models = []

    class Keep(Callback):
        def on_fit_begin(self, trainer, epochs, batches):
            models.append(trainer.model)

    with pytest.raises(ArithmeticError):
        scripted([1, 2, 3], Keep(), stopping, Fails())
    assert models[0].weight.value == 1


def test_best_weights_of_an_earlier_fit_are_not_restored():
    class Fails(Callback):
        def on_fit_begin(self, trainer, epochs, batches):
            raise ArithmeticError

    trainer = scripted([1, 2, 3], EarlyStopping(patience=9, restore_best_weights=True))
    trainer.model.weight.value[...] = 7
    trainer.callbacks.insert(0, Fails())
    with pytest.raises(ArithmeticError):
        trainer.fit(np.ones((2, 1)), [0, 0], validation_split=0.5, progress=False)
    assert trainer.model.weight.value == 7


def test_best_weights_include_running_statistics():
    model = nn.Sequential(nn.BatchNorm(1), nn.Linear(1, 2, rng=0))
    stopping = EarlyStopping("loss", patience=9, restore_best_weights=True)
    seen = []

    class Keep(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            seen.append(trainer.model.state_dict())

    trainer = Trainer(
        model, CrossEntropy(), SGD(model, lr=0.1), [Script([2, 1, 3], "loss"), stopping, Keep()], rng=0
    )
    trainer.fit(np.arange(4.0)[:, None], [0, 1, 0, 1], epochs=3, progress=False)
    assert not np.array_equal(seen[1]["0.running_mean"], seen[2]["0.running_mean"])
    for name, array in model.state_dict().items():
        assert_array_equal(array, seen[1][name])


@pytest.mark.parametrize("make", [EarlyStopping, lambda monitor: Checkpoint("never.safetensors", monitor)])
def test_an_unknown_metric_is_refused_before_training_with_the_known_ones(make):
    pytest.importorskip("safetensors")
    with pytest.raises(
        ValueError,
        match=r"monitor must be one of loss, accuracy, val_loss, val_accuracy, got 'val_error'$",
    ):
        scripted([1], make("val_error"))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("loss", DOWN),
        ("val_loss", DOWN),
        ("error", DOWN),
        ("accuracy", UP),
        ("val_accuracy", UP),
        ("val_top_5", UP),
        ("top_5_accuracy", UP),
    ],
)
def test_mode_auto_follows_the_name_of_the_metric(name, mode):
    monitor = Monitor("test", name, "auto")
    assert monitor.best == (inf if mode == DOWN else -inf)
    assert [monitor.improves(value) for value in (1, 2, 0)] == [True, mode == UP, mode == DOWN]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "down"}, "EarlyStopping: mode must be 'auto', 'min' or 'max', got 'down'"),
        ({"monitor": "flosses"}, "EarlyStopping: mode must be 'min' or 'max' for 'flosses', got 'auto'"),
        ({"min_delta": -1}, "EarlyStopping: min_delta must be finite and >= 0, got -1"),
        ({"min_delta": nan}, "EarlyStopping: min_delta must be finite and >= 0, got nan"),
        ({"baseline": nan}, "EarlyStopping: baseline must be finite, got nan"),
        ({"patience": -1}, "EarlyStopping: patience must be finite and >= 0, got -1"),
        ({"start_from_epoch": -1}, "EarlyStopping: start_from_epoch must be finite and >= 0, got -1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        EarlyStopping(**options)


# ---- the log ----


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_csv_has_the_history_and_is_complete_after_each_epoch(tmp_path):
    path = tmp_path / "log.csv"
    lengths = []

    class Look(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            lengths.append(len(read_rows(path)))

    values = [1 / 3, nan, -inf]
    trainer = scripted(values, CSVLogger(path), Look())
    header, *rows = read_rows(path)
    assert header == ["epoch", *trainer.metric_names]
    assert lengths == [2, 3, 4]
    assert [int(row[0]) for row in rows] == [1, 2, 3]
    logged = np.array([float(row[header.index("val_loss")]) for row in rows])
    assert_array_equal(logged, values)


@pytest.mark.parametrize("path", [3, None])
def test_the_path_of_a_log_is_any_path_object(path):
    with pytest.raises(TypeError, match=f"^CSVLogger: path must be a path, got {path}"):
        CSVLogger(path)


# ---- the progress bar ----


def test_options_of_the_progress_bar_are_checked(monkeypatch):
    opened, closed = [], []

    def bar(**options):
        opened.append(options)
        return SimpleNamespace(
            update=lambda: False, close=lambda: closed.append(1), set_postfix=lambda *given, **options: None
        )

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=bar))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    scripted([1, 2], ProgressBar("first", leave=False))
    scripted([1, 2], ProgressBar())
    assert [(options["desc"], options["leave"], options["total"]) for options in opened] == [
        ("first", False, 2),
        (None, True, 2),
    ]
    assert len(closed) == 2


def test_without_a_terminal_there_is_a_line_for_each_epoch(capsys):
    scripted([0.25, 2], ProgressBar())
    scripted([1], ProgressBar("run 3"))
    scripted([1], ProgressBar(leave=False))
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.partition(": loss")[0] for line in lines] == ["epoch 1/2", "epoch 2/2", "run 3: epoch 1/1"]
    assert [line.partition("val_loss ")[2].partition(",")[0] for line in lines] == [
        "0.2500",
        "2.0000",
        "1.0000",
    ]


def test_notebooks_have_a_bar_of_their_own(monkeypatch):
    opened = []

    def bar(**options):
        opened.append(options["total"])
        return SimpleNamespace(update=lambda: 0, close=lambda: 0, set_postfix=lambda *given, **options: None)

    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=bar))
    scripted([1, 2], ProgressBar())
    assert opened == [2]
    shell.config = {"TerminalIPythonApp": {}}
    scripted([1, 2], ProgressBar(leave=False))
    assert opened == [2]


def test_a_bar_without_a_known_length_counts(monkeypatch):
    opened = []

    def bar(**options):
        opened.append((options["total"], options["initial"]))
        return SimpleNamespace(update=lambda: 0, close=lambda: 0, set_postfix=lambda *given, **options: None)

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=bar))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    learner = small_trainer()
    learner.fit(batch for batch in [(np.ones((4, 3)), [0, 1, 0, 1])])
    assert opened == [(None, 0)]


def test_a_copy_of_a_progress_bar_has_no_bar_of_its_own(monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    copies = []

    class Copies(Callback):
        def on_batch_end(self, trainer, batch, logs):
            copies.append(copy.deepcopy(bar))
            copies.append(pickle.loads(pickle.dumps(bar)))

    bar = ProgressBar("kept", leave=False)
    scripted([1], bar, Copies())
    assert [(vars(other)["_bar"], other.description, other.leave) for other in copies] == [
        (None, "kept", False)
    ] * 2


# habits of other libraries


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("on_train_begin", "on_fit_begin"),
        ("on_train_start", "on_fit_begin"),
        ("on_fit_start", "on_fit_begin"),
        ("on_train_end", "on_fit_end"),
        ("on_epoch_start", "on_epoch_begin"),
        ("on_train_epoch_start", "on_epoch_begin"),
        ("on_train_epoch_end", "on_epoch_end"),
        ("on_validation_end", "on_epoch_end"),
        ("on_validation_epoch_end", "on_epoch_end"),
        ("on_test_end", "on_epoch_end"),
        ("on_batch_start", "on_batch_begin"),
        ("on_train_batch_begin", "on_batch_begin"),
        ("on_train_batch_start", "on_batch_begin"),
        ("on_train_batch_end", "on_batch_end"),
        ("on_save_checkpoint", "state_dict"),
        ("on_load_checkpoint", "on_resume"),
    ],
)
def test_hooks_of_other_libraries_are_refused_by_name(name, hook):
    with pytest.raises(TypeError, match=f"^Mine: {name} is not a hook here: write {hook}$"):
        type("Mine", (EarlyStopping,), {name: lambda self: None})
    assert hasattr(Callback, hook)


@pytest.mark.parametrize(
    ("name", "hook", "message"),
    [
        ("on_epoch_begin", lambda epoch, logs=None: 0, r"trainer, epoch, got \(epoch, logs=None\)"),
        ("on_epoch_end", lambda epoch, logs: 0, r"trainer, epoch, logs, got \(epoch, logs\)"),
        ("on_batch_end", lambda batch, logs, more=None: 0, r"trainer, batch, logs, got \(batch, logs, more"),
        ("on_fit_end", lambda: 0, r"trainer, got \(\)"),
        ("on_fit_begin", lambda trainer: 0, r"trainer, epochs, batches, got \(trainer\)"),
    ],
)
def test_hooks_without_the_trainer_are_refused_before_training(name, hook, message, rng):
    callback = Callback()
    setattr(callback, name, hook)
    learner = small_trainer(EarlyStopping("loss"), callback)
    with pytest.raises(TypeError, match=rf"^fit: Callback\.{name} must take {message}"):
        learner.fit(rng.standard_normal((4, 3)), [0, 1, 0, 1], progress=False)
    assert learner.optimizer.steps == 0


def test_hooks_may_have_other_names_and_more_parameters(rng):
    seen = []
    callback = Callback()
    callback.on_epoch_end = lambda learner, number, values, extra=3: seen.append((number, extra))
    callback.on_batch_end = lambda *everything: seen.append(len(everything))
    callback.on_fit_end = type("Compiled", (), {"__call__": print, "__signature__": 3})()
    small_trainer(callback).fit(rng.standard_normal((4, 3)), [0, 1, 0, 1], progress=False)
    assert seen == [3, (1, 3)]
