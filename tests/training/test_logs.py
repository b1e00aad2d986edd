"""What callbacks record: learning rates, appended CSV files, TensorBoard; and the end at NaN."""

import copy
import csv
import os
import pickle
import sys
from math import nan
from types import SimpleNamespace

import numpy as np
import pytest
from trimtab import extras, nn
from trimtab.callbacks import Callback, Checkpoint, CSVLogger, LearningRateLogger, StopOnNaN, TensorBoard
from trimtab.losses import MSE
from trimtab.optim import SGD, Cosine
from trimtab.trainer import Trainer

X = np.linspace(-1, 1, 12)[:, None]


def learner(*callbacks, lr=0.1, **options):
    model = nn.Sequential(nn.Linear(1, 1, rng=0), nn.Linear(1, 1, rng=1))
    return Trainer(model, MSE(), SGD(model, lr, **options), callbacks, rng=0)


def fit(trainer, epochs=3, x=X, **options):
    return trainer.fit(x, x, epochs=epochs, batch_size=4, progress=False, **options)


# ---- learning rates ----


def test_the_rate_of_the_last_update_is_in_history_and_logs(tmp_path):
    seen = []

    class Look(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            seen.append((logs["lr"], trainer.history["lr"][-1]))

    schedule = Cosine(0.1, 9)
    trainer = learner(Look(), LearningRateLogger(), CSVLogger(tmp_path / "log.csv"), lr=schedule)
    history = fit(trainer)
    assert history["lr"] == [schedule(2), schedule(5), schedule(8)]
    assert seen == [(rate, rate) for rate in history["lr"]]
    assert trainer.metric_names == ("loss", "lr")
    with open(tmp_path / "log.csv", newline="") as file:
        assert [float(row["lr"]) for row in csv.DictReader(file)] == history["lr"]


def test_a_rate_changed_after_an_epoch_counts_from_the_next():
    class Halve(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            trainer.optimizer.lr /= 2

    assert fit(learner(Halve(), LearningRateLogger()))["lr"] == [0.1, 0.05, 0.025]


def test_each_group_has_a_rate_of_its_own_name():
    trainer = learner(LearningRateLogger())
    first, second = trainer.model
    groups = {"body": {"parameters": first}, "head": {"parameters": second, "lr": 0.5}}
    trainer.optimizer = SGD(groups, lr=0.25)
    history = fit(trainer, 2)
    assert (history["lr_body"], history["lr_head"]) == ([0.25, 0.25], [0.5, 0.5])


def test_rates_go_on_when_a_training_is_resumed(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.safetensors"
    whole = fit(learner(LearningRateLogger(), lr=Cosine(0.1, 9)))
    fit(learner(LearningRateLogger(), Checkpoint(path), lr=Cosine(0.1, 9)), 2)
    assert fit(learner(LearningRateLogger(), lr=Cosine(0.1, 9)), resume=path) == whole


def test_a_name_that_is_taken_is_refused_before_training():
    class Loss(Callback):
        def measure(self, trainer):
            return {"loss": 1.0}

    for callbacks, name in (([Loss()], "loss"), ([LearningRateLogger(), LearningRateLogger()], "lr")):
        trainer = learner(*callbacks)
        before = trainer.model.state_dict()
        with pytest.raises(
            ValueError, match=f"^fit: .* must measure what has a name of its own, got '{name}'$"
        ):
            fit(trainer)
        assert all(np.array_equal(array, before[key]) for key, array in trainer.model.state_dict().items())


# ---- appended CSV files ----


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_appending_keeps_earlier_trainings(tmp_path):
    path = tmp_path / "log.csv"
    trainer = learner(CSVLogger(path, append=True))
    first = fit(trainer, 3)["loss"]
    second = fit(trainer, 2)["loss"]
    header, *written = rows(path)
    assert header == ["epoch", "loss"]
    assert [int(row[0]) for row in written] == [1, 2, 3, 1, 2]
    assert [float(row[1]) for row in written] == first + second
    fit(learner(CSVLogger(path)), 1)
    assert len(rows(path)) == 2


@pytest.mark.parametrize("beyond", [2, 3])
def test_an_appended_training_that_resumes_goes_on_in_its_own_rows(beyond, tmp_path):
    """Rows of epochs after the point at which it resumes are those of epochs that are trained again."""
    pytest.importorskip("safetensors")
    log, path = tmp_path / "log.csv", tmp_path / "run.safetensors"
    earlier = fit(learner(CSVLogger(log, append=True), lr=0.3), 4)["loss"]
    fit(learner(Checkpoint(path), CSVLogger(log, append=True)), 2)
    if beyond > 2:
        with open(log, "a") as file:
            file.write("3,99.0\n")
    whole = fit(learner(CSVLogger(log, append=True)), 4, resume=path)["loss"]
    written = rows(log)[1:]
    assert [int(row[0]) for row in written] == [1, 2, 3, 4] * 2
    assert [float(row[1]) for row in written] == earlier + whole


def test_a_log_that_begins_with_a_resumed_training_has_its_history(tmp_path):
    """Rows of another training stay."""
    pytest.importorskip("safetensors")
    log, path = tmp_path / "log.csv", tmp_path / "run.safetensors"
    earlier = fit(learner(CSVLogger(log, append=True), lr=0.3), 2)["loss"]
    fit(learner(Checkpoint(path)), 2)
    whole = fit(learner(CSVLogger(log, append=True)), 3, resume=path)["loss"]
    assert [float(row[1]) for row in rows(log)[1:]] == earlier + whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epoch,accuracy\n1,0.5\n", "must have the columns epoch, loss, got epoch, accuracy in "),
        (b"\xff\xfe\x00", "must be a CSV file, got "),
    ],
)
def test_another_file_is_refused_before_training(content, message, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^CSVLogger: path {message}"):
        fit(learner(CSVLogger(path, append=True)))
    assert path.read_bytes() == content


@pytest.mark.parametrize("append", [True, False])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_header_leaves_the_old_file(append, error, monkeypatch, tmp_path):
    path = tmp_path / "log.csv"
    fit(learner(CSVLogger(path)), 3)
    before = path.read_bytes()

    class Writer:
        def __init__(self, file, **options):
            self.file = file

        def writerows(self, rows):
            self.file.write("epoch,lo")
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(csv, "writer", Writer)
        with pytest.raises(error):
            fit(learner(CSVLogger(path, append=append)), 2)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_a_log_keeps_its_mode_and_its_link(tmp_path):
    path, link = tmp_path / "log.csv", tmp_path / "latest.csv"
    path.touch()
    path.chmod(0o604)
    link.symlink_to(path)
    fit(learner(CSVLogger(link)), 2)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o604
    assert len(rows(path)) == 3


def test_a_pipe_stays_one(tmp_path):
    path = tmp_path / "log.csv"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        fit(learner(CSVLogger(path)), 2)
        assert os.read(pipe, 1000).count(b"\n") == 3
    finally:
        os.close(pipe)
    assert path.is_fifo()


def test_a_folder_that_allows_no_new_file_is_refused_before_training(monkeypatch, tmp_path):
    path = tmp_path / "log.csv"
    path.touch()
    monkeypatch.setattr(os, "access", lambda place, mode: os.path.isfile(place))
    for callback in CSVLogger(path, append=True), CSVLogger(path):
        with pytest.raises(ValueError, match=r"^CSVLogger: path must be in a writable folder, got '.*csv'$"):
            fit(learner(callback))


def test_an_empty_file_gets_a_header(tmp_path):
    path = tmp_path / "log.csv"
    path.touch()
    fit(learner(CSVLogger(path, append=True)), 1)
    assert [row[0] for row in rows(path)] == ["epoch", "1"]


def test_a_file_saved_by_a_spreadsheet_is_continued(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes("\ufeffepoch,loss\r\n1,0.5\r\n".encode())
    fit(learner(CSVLogger(path, append=True)), 1)
    assert [row[0] for row in rows(path)] == ["epoch", "1", "1"]


def test_append_is_a_flag():
    with pytest.raises(TypeError, match=r"^CSVLogger: append must be a bool, got 1$"):
        CSVLogger("log.csv", append=1)


# ---- the end at NaN ----


def with_nan(*batches):
    """Samples in batches of 4, in order, of which some have a NaN."""
    x = np.ones((20, 1))
    for batch in batches:
        x[4 * batch] = nan
    return x


@pytest.mark.parametrize(
    ("policy", "batches", "patience", "steps"),
    [
        ("ignore", [1], 1, 2),
        ("skip", [1], 1, 1),
        ("skip", [1, 2, 3], 3, 1),
        ("skip", [1, 3], 2, None),
        ("skip", [], 1, None),
    ],
)
def test_training_ends_after_batches_without_a_finite_loss(policy, batches, patience, steps):
    stop = StopOnNaN(patience)
    trainer = learner(stop)
    history = fit(trainer, 2, with_nan(*batches), nan=policy, shuffle=False)
    assert stop.stopped_epoch == (0 if steps is None else 1)
    assert history.epochs == (2 if steps is None else 0)
    if steps is not None:
        assert trainer.optimizer.steps == steps


def test_skipped_updates_count_where_the_loss_is_finite():
    stop = StopOnNaN()
    trainer = learner(stop, skip_nonfinite=True)
    backward = trainer.model.backward

    def overflowing(gradient):
        result = backward(gradient)
        trainer.model[0].weight.grad[...] = np.inf
        return result

    vars(trainer.model)["backward"] = overflowing
    fit(trainer, 2)
    assert (stop.stopped_epoch, trainer.skipped, trainer.optimizer.skipped) == (1, 1, 1)


def test_by_default_the_error_of_the_trainer_comes_first():
    stop = StopOnNaN()
    with pytest.raises(FloatingPointError):
        fit(learner(stop), 1, with_nan(0))
    assert stop.stopped_epoch == 0


def test_a_training_that_was_ended_stays_ended(tmp_path):
    pytest.importorskip("safetensors")
    trainer = learner(StopOnNaN())
    fit(trainer, 2, with_nan(1), nan="skip", shuffle=False)
    trainer.save(tmp_path / "run.safetensors")
    stop = StopOnNaN()
    resumed = learner(stop)
    fit(resumed, 2, with_nan(1), nan="skip", shuffle=False, resume=tmp_path / "run.safetensors")
    assert (stop.stopped_epoch, stop.wait, resumed.history.epochs) == (1, 1, 0)


def test_the_patience_is_an_int_of_at_least_1():
    with pytest.raises(ValueError, match=r"^StopOnNaN: patience must be at least 1, got 0$"):
        StopOnNaN(0)
    with pytest.raises(TypeError, match=r"^StopOnNaN: patience must be an int, got 1.5$"):
        StopOnNaN(1.5)


# ---- TensorBoard ----


class Writer:
    """Stands for the writer of tensorboardX; keeps what it is told."""

    made = ()

    def __init__(self, folder, **options):
        self.folder, self.options, self.scalars, self.flushed, self.closed = folder, options, [], 0, 0
        Writer.made = (*Writer.made, self)

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))

    def flush(self):
        self.flushed += 1

    def close(self):
        self.closed += 1


@pytest.fixture
def writers(monkeypatch):
    monkeypatch.setattr(Writer, "made", ())
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    return lambda: Writer.made


def test_epochs_are_written_for_tensorboard(writers, tmp_path):
    board = TensorBoard(tmp_path / "new" / "run")
    history = fit(learner(board), 2, validation_data=(X, X))
    (writer,) = writers()
    assert (writer.folder, writer.options) == (str(tmp_path / "new" / "run"), {})
    assert (writer.flushed, writer.closed) == (2, 1)
    assert writer.scalars == [
        (tag, history[name][epoch - 1], epoch)
        for epoch in (1, 2)
        for name, tag in (("loss", "loss/training"), ("val_loss", "loss/validation"))
    ]


def test_batches_are_written_at_their_updates(writers, tmp_path):
    fit(learner(TensorBoard(tmp_path, every_batches=2)), 2)
    (writer,) = writers()
    steps = [step for tag, _, step in writer.scalars if tag == "loss/batch"]
    assert steps == [2, 5]


def test_a_resumed_training_replaces_later_events(writers, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.safetensors"
    fit(learner(TensorBoard(tmp_path), Checkpoint(path)), 2)
    fit(learner(TensorBoard(tmp_path)), 3, resume=path)
    assert [writer.options for writer in writers()] == [{}, {"purge_step": 3}]
    assert [step for _, _, step in writers()[1].scalars] == [3]


def test_files_are_closed_after_an_error(writers, tmp_path):
    class Fails(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fit(learner(TensorBoard(tmp_path), Fails()))
    assert [writer.closed for writer in writers()] == [1]


def test_copies_have_no_open_files(writers, tmp_path):
    copies = []

    class Copies(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            copies.extend([copy.deepcopy(board), pickle.loads(pickle.dumps(board))])

    board = TensorBoard(tmp_path, every_batches=3)
    fit(learner(board, Copies()), 1)
    assert [(vars(other)["_writer"], other.folder, other.every_batches) for other in copies] == [
        (None, str(tmp_path), 3)
    ] * 2


def test_a_missing_library_is_named_before_training(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(
        extras.MissingExtra, match=r'^tensorboardX is not installed: pip install "trimtab\[tensorb'
    ):
        fit(learner(TensorBoard(tmp_path)))


def test_a_folder_that_cannot_be_made_is_refused_before_training(writers, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^TensorBoard: folder must be writable, got '.*/file/run'$"):
        fit(learner(TensorBoard(tmp_path / "file" / "run")))
    assert not writers()


def test_options_of_tensorboard_are_checked():
    with pytest.raises(TypeError, match=r"^TensorBoard: folder must be a path, got 3$"):
        TensorBoard(3)
    with pytest.raises(ValueError, match=r"^TensorBoard: every_batches must be at least 1, got 0$"):
        TensorBoard("runs", 0)


def test_event_files_are_read_back(tmp_path):
    pytest.importorskip("tensorboardX")
    fit(learner(TensorBoard(tmp_path, every_batches=1)), 2)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    assert content.count(b"loss/training") == 2
    assert content.count(b"loss/batch") == 6
