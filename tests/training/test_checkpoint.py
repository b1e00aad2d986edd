"""Checkpoints: the callback, resumed training, and the file."""

import csv
import os
import re
import sys
from math import inf, nan

import numpy as np
import pytest
from helpers.training import Script, jitter, state_of
from numpy.testing import assert_array_equal
from trimtab import extras, nn
from trimtab.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD
from trimtab.trainer import Trainer
from trimtab.training import checkpoint_file as checkpoint

pytest.importorskip("safetensors")

GENERATORS = [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]


class Noise(nn.Module):
    """A layer that draws in training."""

    def forward(self, x):
        return x + self.rng.standard_normal(x.shape, np.float32) if self.training else x

    def backward(self, dy):
        return dy


class Stop(Callback):
    """Ends training in the middle of an epoch, as Ctrl-C would."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, trainer, batch, logs):
        if trainer.history.epochs + 1 == self.epoch:
            trainer.stop()


def decaying(step):
    return 0.1 / (1 + step)


def learner(callbacks=(), bits=np.random.PCG64, width=8):
    model = nn.Sequential(
        nn.Linear(2, width, rng=0), nn.BatchNorm(width), nn.ReLU(), nn.Linear(width, 2, rng=1), Noise()
    )
    sgd = SGD(model, lr=decaying, momentum=0.9, weight_decay=0.01)
    return Trainer(model, CrossEntropy(), sgd, callbacks, rng=np.random.Generator(bits(7)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


@pytest.fixture
def fit(rng):
    x = rng.standard_normal((33, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)

    def run(trainer, epochs, **options):
        options = {"validation_split": 0.2, "batch_size": 8, "augment": jitter, "progress": False} | options
        trainer.fit(x, y, epochs=epochs, **options)
        return trainer

    return run


@pytest.mark.parametrize("bits", GENERATORS, ids=lambda kind: kind.__name__)
def test_resumed_training_has_the_bits_of_an_uninterrupted_one(bits, fit, path):
    whole = fit(learner(bits=bits), 5)
    fit(learner([Checkpoint(path), Stop(3)], bits), 5)
    resumed = fit(learner(bits=bits), 5, resume=path)
    assert resumed.history.epochs == 5
    assert state_of(resumed) == state_of(whole)


def test_the_bits_depend_on_everything_that_is_saved(fit, path):
    """So the test above would notice what is not saved."""
    fit(learner([Checkpoint(path)]), 2)
    groups, notes = checkpoint.read(path)
    expected = state_of(fit(learner(), 4, resume=path))

    def resumed(groups, notes):
        checkpoint.write(path, groups, notes)
        return state_of(fit(learner(), 4, resume=path))

    assert resumed(groups, notes) == expected
    for group in ("model", "optimizer"):
        for name, array in groups[group].items():
            if not name.startswith("schedule."):  # text, which is checked when it is read
                assert resumed(groups | {group: groups[group] | {name: array + 1}}, notes) != expected, name
    assert resumed(groups, notes | {"rng": np.random.PCG64(8).state}) != expected
    assert resumed(groups, notes | {"history": {}}) != expected


def test_load_restores_what_save_wrote(fit, path):
    saved = fit(learner(), 2)
    saved.history["loss"][0] = nan
    saved.save(path)
    loaded = learner()
    loaded.load(path)
    assert state_of(loaded) == state_of(saved)


def test_a_finished_training_is_not_continued(fit, path):
    done = state_of(fit(learner([Checkpoint(path)]), 2))
    assert state_of(fit(learner(), 2, resume=path)) == done


def test_a_fit_without_resume_has_a_history_of_its_own(fit, path):
    trainer = fit(learner([Checkpoint(path)]), 2)
    trainer.load(path)
    assert fit(trainer, 1).history.epochs == 1


def test_the_patience_of_early_stopping_goes_on(fit, path):
    def callbacks(*more):
        # although the checkpoint comes first, it has the state after the epoch
        stopping = EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
        return [Checkpoint(path), stopping, *more]

    whole = fit(learner(callbacks()), 30)
    fit(learner(callbacks(Stop(5))), 30)
    resumed = fit(learner([*callbacks(), CSVLogger(path.with_suffix(".csv"))]), 30, resume=path)
    assert whole.callbacks[1].stopped_epoch > 5
    assert state_of(resumed) == state_of(whole)
    assert vars(resumed.callbacks[1])["wait"] == 9
    assert resumed.callbacks[1].best == whole.callbacks[1].best


def test_a_training_that_early_stopping_ended_is_not_continued(fit, path):
    def callbacks():
        return [EarlyStopping("loss", mode="max", patience=2, restore_best_weights=True), Checkpoint(path)]

    whole = fit(learner(callbacks()), 30)
    resumed = fit(learner(callbacks()), 30, resume=path)
    assert resumed.history == whole.history
    for name, array in resumed.model.state_dict().items():
        assert_array_equal(array, whole.model.state_dict()[name])


def test_only_the_best_checkpoint_is_kept(fit, path):
    values = [3, nan, 2, 4, 1, inf]
    files = path.with_name("best-{epoch:02}.safetensors")
    fit(learner([Script(values), Checkpoint(files, "val_loss")]), 6)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        f"best-{epoch:02}.safetensors" for epoch in (1, 3, 5)
    ]


def test_each_fit_has_its_own_best(fit, path):
    script = Script([1])
    trainer = learner([script, Checkpoint(path, "val_loss")])
    fit(trainer, 1)
    path.unlink()
    script.values = [2]
    fit(trainer, 1)
    assert path.exists()


def test_a_resumed_fit_keeps_the_best(fit, path):
    script = Script([3, 2, 4])
    trainer = learner([script, Checkpoint(path, "val_loss")])
    fit(trainer, 3)
    best = path.read_bytes()
    script.values = [2, 5, nan]
    fit(trainer, 3)
    assert path.read_bytes() == best
    script.values = [1]
    fit(trainer, 1)
    assert path.read_bytes() != best


def test_nan_is_never_the_best(fit, path):
    for values in ([nan], [nan, nan]):
        fit(learner([Script(values), Checkpoint(path, "val_loss")]), len(values))
        assert not path.exists()


def test_names_may_contain_metrics(fit, path):
    trainer = fit(learner([Checkpoint(path.with_name("w-{epoch:02d}-{val_loss:.3f}-{accuracy:.1f}.st"))]), 3)
    rows = zip(trainer.history["val_loss"], trainer.history["accuracy"], strict=True)
    expected = {f"w-{epoch:02d}-{loss:.3f}-{share:.1f}.st" for epoch, (loss, share) in enumerate(rows, 1)}
    assert {file.name for file in path.parent.iterdir()} == expected


def test_braces_in_the_folder_are_not_replaced(fit, tmp_path):
    folder = tmp_path / "{a}"
    folder.mkdir()
    fit(learner([Checkpoint(folder / "{epoch}.st")]), 1)
    assert [file.name for file in folder.iterdir()] == ["1.st"]


@pytest.mark.parametrize("keep", [1, 2, 9, None])
def test_the_newest_files_are_kept(keep, fit, path):
    other = path.with_name("run-0.st")
    other.write_text("of another program")
    fit(learner([Checkpoint(path.with_name("run-{epoch}.st"), keep=keep)]), 4)
    left = range(1, 5)[-keep:] if keep else range(1, 5)
    assert {file.name for file in path.parent.iterdir()} == {"run-0.st", *(f"run-{i}.st" for i in left)}


def test_a_resumed_training_goes_on_deleting_old_files(fit, path):
    def callbacks(*more):
        return [Checkpoint(path.with_name("run-{epoch}.st"), keep=2), *more]

    fit(learner(callbacks()), 3)
    fit(learner(callbacks()), 4, resume=path.with_name("run-3.st"))
    assert {file.name for file in path.parent.iterdir()} == {"run-3.st", "run-4.st"}


def test_a_failed_save_is_not_the_best(fit, path, monkeypatch):
    script = Script([2, 1])
    trainer = learner([script, Checkpoint(path, "val_loss")])
    fit(trainer, 1)
    saved = path.read_bytes()

    def fail(arrays, path, metadata):
        raise OSError(28, "No space left on device")

    script.values = [1]
    with monkeypatch.context() as patch:
        patch.setattr("safetensors.numpy.save_file", fail)
        with pytest.raises(OSError, match=r"checkpoint: No space left on device: '.*run.safetensors'"):
            fit(trainer, 1)
    assert path.read_bytes() == saved
    script.values = [1.5]
    fit(trainer, 1)
    assert path.read_bytes() != saved


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": 3}, TypeError, "Checkpoint: path must be a path, got 3"),
        ({"keep": 0}, ValueError, "Checkpoint: keep must be at least 1, got 0"),
        ({"keep": 1.5}, TypeError, "Checkpoint: keep must be an int, got 1.5"),
        ({"monitor": 3}, TypeError, "Checkpoint: monitor must be the name of a metric, got 3"),
        ({"monitor": "loss", "mode": "low"}, ValueError, "Checkpoint: mode must be 'auto', 'min' or 'max'"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Checkpoint(**({"path": "a.st"} | options))


def test_a_resumed_training_remembers_the_best(fit, path):
    best = path.with_name("best-{epoch}.safetensors")

    def callbacks():
        return [Script([2, 3, 3, 1]), Checkpoint(best, "val_loss"), Checkpoint(path)]

    fit(learner(callbacks()), 2)
    fit(learner(callbacks()), 4, resume=path)
    assert {file.name for file in path.parent.glob("best*")} == {"best-1.safetensors", "best-4.safetensors"}


def test_the_log_of_a_resumed_training_is_complete(fit, path):
    log = path.with_suffix(".csv")
    fit(learner([Checkpoint(path), CSVLogger(log)]), 2)
    log.write_text("lost\n")
    trainer = fit(learner([CSVLogger(log)]), 4, resume=path)
    with open(log, newline="") as file:
        header, *rows = csv.reader(file)
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    for column, name in enumerate(header[1:], start=1):
        assert [float(row[column]) for row in rows] == trainer.history[name]


def test_the_bar_of_a_resumed_training_starts_at_its_batch(fit, path, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fit(learner([Checkpoint(path)]), 2)
    fit(learner(), 3, resume=path, progress=True)
    bar = capsys.readouterr().err
    assert " 8/12 " in bar
    assert "12/12" in bar


# ---- the file ----


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3, order="F"),
        np.arange(12.0).reshape(4, 3)[::2].T,
        np.arange(6.0)[::-1],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.array(3),
        np.zeros((0, 2), np.float16),
    ],
    ids=["Fortran", "every other", "reversed", "byte-swapped", "0-d", "empty"],
)
def test_arrays_of_every_layout_are_restored(array, path):
    checkpoint.write(path, {"group": {"a/b.c": array}}, {"n": 1})
    groups, notes = checkpoint.read(path)
    (read,) = groups["group"].values()
    assert [*groups["group"]] == ["a/b.c"]
    assert notes == {"n": 1}
    assert read.shape == array.shape
    assert_array_equal(read, array)


def test_bfloat16_arrays_are_restored(path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3)
    checkpoint.write(path, {"group": {"a": array}}, {})
    read = checkpoint.read(path)[0]["group"]["a"]
    assert read.dtype == array.dtype
    assert_array_equal(read, array)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_file_has_the_mode_of_other_new_files(mask, path):
    before = os.umask(mask)
    try:
        for _ in range(2):
            checkpoint.write(path, {"group": {"a": np.ones(3)}}, {})
            other = path.with_name("other")
            other.touch()
            assert path.stat().st_mode == other.stat().st_mode
    finally:
        os.umask(before)


def test_a_link_is_followed_and_kept(path):
    link = path.with_name("latest")
    link.symlink_to(path)
    checkpoint.write(link, {}, "through the link")
    assert link.is_symlink()
    assert checkpoint.read(path)[1] == "through the link"


@pytest.mark.parametrize(
    ("name", "error"), [("no/a.st", FileNotFoundError), (".", OSError), ("file/a.st", OSError)]
)
def test_a_path_that_cannot_be_written_is_named(name, error, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(error, match=re.escape(str((tmp_path / name).resolve()))):
        checkpoint.write(tmp_path / name, {}, {})
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file(path, run_python):
    checkpoint.write(path, {}, "old")
    code = f"""
import resource, numpy as np
from trimtab.training import checkpoint_file as checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    checkpoint.write({str(path)!r}, {{"group": {{"a": np.ones(2**18)}}}}, "new")
except OSError as error:
    print(error)
"""
    assert str(path) in run_python(code)
    assert checkpoint.read(path)[1] == "old"
    assert [*path.parent.iterdir()] == [path]


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    def fail(arrays, path, metadata):
        path.write_bytes(b"the first half")
        raise OSError

    checkpoint.write(path, {}, "old")
    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError):
        checkpoint.write(path, {}, "new")
    assert checkpoint.read(path)[1] == "old"
    assert [*path.parent.iterdir()] == [path]


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def foreign(path):
    import safetensors.numpy

    safetensors.numpy.save_file({"a": np.ones(2)}, path, metadata={"format": "np"})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (truncated, ValueError, r"checkpoint: .*run\.safetensors must be whole, got "),
        (
            foreign,
            ValueError,
            r"run\.safetensors must have the notes trimtab\.checkpoint\.1, got \['format'\]",
        ),
        (lambda path: path.unlink(), FileNotFoundError, r"run\.safetensors"),
    ],
)
def test_damaged_files_are_refused_and_change_nothing(change, error, message, fit, path):
    fit(learner([Checkpoint(path)]), 1)
    change(path)
    trainer = fit(learner(), 1)
    before = state_of(trainer)
    for action in (trainer.load, lambda path: fit(trainer, 2, resume=path)):
        with pytest.raises(error, match=message):
            action(path)
        assert state_of(trainer) == before


def other_optimizer():
    trainer = learner()
    trainer.optimizer = SGD(trainer.model, lr=decaying)
    return trainer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: learner(width=4), r"must have the arrays of the model, got misshapen: 0\.weight \(8, 2\)"),
        (other_optimizer, r"must have the arrays of the optimizer, got extra: momentum\.0"),
        (
            lambda: learner(bits=np.random.SFC64),
            r"load: rng must be a PCG64 as in .*run\.safetensors, got <numpy\.random\._sfc64\.SFC64",
        ),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_changes_nothing(make, message, fit, path):
    fit(learner([Checkpoint(path)]), 1)
    trainer = make()
    before = state_of(trainer)
    with pytest.raises(ValueError, match=message):
        trainer.load(path)
    assert state_of(trainer) == before


def test_resuming_without_the_validation_data_is_refused(fit, path):
    fit(learner([Checkpoint(path)]), 1)
    message = r"fit: .*run\.safetensors must have the metrics loss, accuracy, got loss, accuracy, val_loss"
    with pytest.raises(ValueError, match=message):
        fit(learner(), 2, resume=path, validation_split=0.0)


def test_a_checkpoint_that_cannot_be_written_fails_before_training(fit, path, monkeypatch):
    trainer = learner([Checkpoint(path.parent / "nowhere" / "run.safetensors")])
    before = state_of(trainer)
    with pytest.raises(ValueError, match=r"Checkpoint: path must be in an existing folder, got '.*nowhere"):
        fit(trainer, 1)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    trainer.callbacks = [Checkpoint(path)]
    with pytest.raises(extras.MissingExtra, match=r'pip install "trimtab\[checkpoint\]"'):
        fit(trainer, 1)
    assert state_of(trainer) == before
