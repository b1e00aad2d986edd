"""Errors of a fit change nothing, and callbacks that began are ended; optimizers, models and copies."""

import copy
import pickle
import signal

import numpy as np
import pytest
from helpers.training import small_trainer, state_of, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses, nn
from trimtab.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping, ProgressBar
from trimtab.optim import SGD
from trimtab.trainer import Trainer


@pytest.fixture
def data(rng):
    return two_classes(rng)


def everything(learner):
    return state_of(learner), list(learner.metric_names)


def folder_contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Raises(Callback):
    def __init__(self, hook, error=ArithmeticError):
        self.error = error
        setattr(self, hook, self.fail)

    def fail(self, *arguments):
        raise self.error(type(self).__name__)


class Log(Callback):
    def __init__(self, log, name):
        self.log, self.name = log, name

    def on_fit_begin(self, trainer, epochs, batches):
        self.log.append(f"begin {self.name}")

    def on_fit_end(self, trainer):
        self.log.append(f"end {self.name}")


def wrong_at(index, value):
    def change(arguments):
        y = arguments["y"].copy()
        y[index] = value
        return {"y": y}

    return change


FAILURES = {
    "a label beyond the classes": (
        wrong_at(39, 2),
        "fit: y: labels must be classes from 0 to 1, got 2 at sample",
    ),
    "a negative label": (wrong_at(39, -1), "labels must be classes from 0 to 1, got -1 at sample 39"),
    "names of classes": (lambda a: {"y": a["y"].astype(str)}, "fit: y: labels must be class ids or prob"),
    "labels in objects": (lambda a: {"y": a["y"].astype(object)}, "fit: y: labels must be class ids or prob"),
    "real labels": (lambda a: {"y": a["y"] * 1.0}, "fit: y: class ids must be integers, got dtype float64"),
    "too many columns of labels": (
        lambda a: {"y": np.eye(3, dtype=int)[a["y"]]},
        r"fit: y: labels must have shape \(40,\), or \(40, 2\) where they are prob.*, got \(40, 3\)",
    ),
    "two of a hot": (
        lambda a: {"y": np.full((40, 2), 2)},
        r"fit: y: labels of shape \(40, 2\) must be one-hot, got 2",
    ),
    "features": (lambda a: {"x": a["x"][:, :2]}, r"Linear\(3, 8\): x must have shape \(1, 3\), got \(1, 2\)"),
    "masked samples": (
        lambda a: {"x": np.ma.masked_array(a["x"])},
        "fit: x must be a plain array, got a Masked",
    ),
    "masked labels": (
        lambda a: {"y": np.ma.masked_array(a["y"])},
        "fit: y must be a plain array, got a Masked",
    ),
    "a list of masked samples": (
        lambda a: {"x": [np.ma.masked_array(row) for row in a["x"]]},
        "fit: x must be a plain array, got a MaskedArray",
    ),
    "a matrix": (lambda a: {"x": np.matrix(a["x"])}, "fit: x must be a plain array, got a matrix"),
    "objects": (lambda a: {"x": a["x"].astype(object)}, "fit: x must be real numbers, got dtype object"),
    "a scalar": (lambda a: {"x": 1.0}, r"fit: x must have an axis of samples, got shape \(\)"),
    "validation labels": (
        lambda a: {"validation_data": (a["x"], a["y"] + 1)},
        "fit: y of validation_data: labels must be classes from 0 to 1, got 2 at sample",
    ),
    "masked validation samples": (
        lambda a: {"validation_data": (np.ma.masked_array(a["x"]), a["y"])},
        "fit: x of validation_data must be a plain array",
    ),
    "validation features": (
        lambda a: {"validation_data": (a["x"][:, :1], a["y"])},
        r"x must have shape \(1, 3\)",
    ),
    "what augments": (lambda a: {"augment": "flip"}, "fit: augment must be callable, got 'flip'"),
    "NaN to split": (lambda a: {"validation_split": np.nan}, "fit: validation_split must be finite, got nan"),
    "a file that is not there": (lambda a: {"resume": "nowhere.safetensors"}, "nowhere"),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("label", FAILURES)
def test_wrong_arguments_of_a_fit_change_nothing(label, data, tmp_path):
    pytest.importorskip("safetensors")
    change, message = FAILURES[label]
    path = tmp_path / "log.csv"
    learner = small_trainer(CSVLogger(path), Checkpoint(tmp_path / "a.safetensors"))
    learner.fit(*data, epochs=2, progress=False)
    learner.model[1].eval()
    before, files = everything(learner), folder_contents(tmp_path)
    arguments = {"x": data[0], "y": data[1], "progress": False}
    with pytest.raises((TypeError, ValueError, OSError), match=message):
        learner.fit(**(arguments | change(arguments)))
    assert everything(learner) == before
    assert folder_contents(tmp_path) == files


BAD_CALLBACKS = {
    "metric": (
        lambda folder: EarlyStopping("val_loss"),
        "EarlyStopping: monitor must be one of loss, accuracy",
    ),
    "metric of a checkpoint": (
        lambda folder: Checkpoint(folder / "b.safetensors", "val_loss"),
        "Checkpoint: monitor must be one of loss, accuracy, got 'val_loss'",
    ),
    "folder of a log": (
        lambda folder: CSVLogger(folder / "no" / "a.csv"),
        "CSVLogger: path must be in an existing folder, got '.*a.csv'",
    ),
    "folder as a log": (lambda folder: CSVLogger(folder), "CSVLogger: path must be a file, got the folder"),
    "folder of a checkpoint": (
        lambda folder: Checkpoint(folder / "{epoch}" / "b.safetensors"),
        "Checkpoint: path must be in an existing folder, got '.*{epoch}",
    ),
    "folder as a checkpoint": (
        lambda folder: Checkpoint(folder),
        "Checkpoint: path must be a file, got the folder",
    ),
    "unknown field": (
        lambda folder: Checkpoint(folder / "{val_loss}.safetensors"),
        "Checkpoint: path must have no fields but epoch, loss, accuracy, got '.*{val_loss}.*': 'val_loss'",
    ),
    "format": (
        lambda folder: Checkpoint(folder / "{loss:d}"),
        "path must have no fields but .*format code 'd'",
    ),
    "open brace": (
        lambda folder: Checkpoint(folder / "{loss"),
        "path must have no fields but .*expected '}'",
    ),
    "numbered field": (lambda folder: Checkpoint(folder / "{}"), "path must have no fields but "),
    "its own check": (lambda folder: Raises("check_fit"), "Raises"),
    "its beginning": (lambda folder: Raises("on_fit_begin"), "Raises"),
}


@pytest.mark.parametrize("label", BAD_CALLBACKS)
def test_a_callback_that_fails_before_training_changes_nothing(label, data, tmp_path):
    pytest.importorskip("safetensors")
    make, message = BAD_CALLBACKS[label]
    path, saved = tmp_path / "log.csv", tmp_path / "a.safetensors"
    learner = small_trainer(CSVLogger(path), Checkpoint(saved))
    learner.fit(*data, epochs=2, progress=False)
    learner.model[0].weight.value[...] = 3
    learner.callbacks.append(make(tmp_path))
    for resume in (None, saved):
        before, files = everything(learner), folder_contents(tmp_path)
        with pytest.raises((ValueError, ArithmeticError), match=message):
            learner.fit(*data, epochs=3, progress=False, resume=resume)
        assert everything(learner) == before
        assert folder_contents(tmp_path) == files


def test_the_check_of_the_model_before_training_draws_nothing(data):
    learner = small_trainer(layers=[nn.Dropout(0.5)])
    learner.fit(*data, progress=False)
    learner.model.eval(dropout=True)
    before = everything(learner)
    with pytest.raises(ValueError, match="labels must be classes from 0 to 1"):
        learner.fit(data[0], data[1] + 1, progress=False)
    assert everything(learner) == before


def test_the_same_callback_twice_is_refused(data):
    bar = EarlyStopping("loss")
    with pytest.raises(
        ValueError, match=r"fit: callbacks must be different objects, got \['EarlyStopping\(loss"
    ):
        small_trainer(bar, bar).fit(*data, progress=False)


def test_only_callbacks_that_began_are_ended(data):
    log = []
    with pytest.raises(ArithmeticError):
        small_trainer(Log(log, "a"), Raises("on_fit_begin"), Log(log, "b")).fit(*data, progress=False)
    assert log == ["begin a", "end a"]
    log.clear()
    with pytest.raises(ValueError):
        small_trainer(Log(log, "a"), EarlyStopping("no_loss")).fit(*data, progress=False)
    assert log == []


def test_every_callback_is_ended_and_the_first_error_is_raised(data):
    log = []

    class Second(Raises):
        pass

    ends = [Log(log, "a"), Raises("on_fit_end", OSError), Second("on_fit_end", KeyError), Log(log, "b")]
    with pytest.raises(OSError, match=r"^Raises") as caught:
        small_trainer(*ends).fit(*data, progress=False)
    assert log == ["begin a", "begin b", "end a", "end b"]
    assert caught.value.__notes__ == ["Second: on_fit_end: KeyError: 'Second'"]
    with pytest.raises(ArithmeticError) as caught:
        small_trainer(Raises("on_batch_end"), *ends).fit(*data, progress=False)
    assert caught.value.__notes__ == [
        "Raises: on_fit_end: OSError: Raises",
        "Second: on_fit_end: KeyError: 'Second'",
    ]


def test_stop_lasts_for_one_fit(data):
    learner = small_trainer()
    learner.stop()
    assert learner.fit(*data, epochs=2, progress=False).epochs == 2

    class Stop(Callback):
        def on_batch_begin(self, trainer, batch):
            trainer.stop()

    learner.callbacks.append(Stop())
    assert learner.fit(*data, epochs=2, progress=False).epochs == 0
    learner.callbacks.clear()
    assert learner.fit(*data, epochs=2, progress=False).epochs == 2


def test_an_ignored_interrupt_stays_ignored(data):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen = []

    class Look(Callback):
        def on_batch_end(self, trainer, batch, logs):
            seen.append(signal.getsignal(signal.SIGINT))

    try:
        small_trainer(Look()).fit(*data, progress=False)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert {*seen} == {signal.SIG_IGN}


# ---- the optimizer and the model ----


def test_a_replaced_layer_needs_another_optimizer(data):
    learner = small_trainer()
    first, second, last = learner.model.layers
    learner.model.layers = (first, second, nn.Linear(8, 2, rng=5))
    with pytest.raises(
        ValueError, match=r"fit: optimizer must hold parameters of the model, got .* of another: aft"
    ):
        learner.fit(*data, progress=False)
    learner.model.layers = (first, second, nn.Linear(8, 8, rng=5), last)
    with pytest.raises(
        ValueError, match=r"fit: optimizer must hold .*2.weight.*, which the model got after it was"
    ):
        learner.fit(*data, progress=False)
    learner.optimizer = SGD(learner.model, 0.1)
    learner.fit(*data, progress=False)


def test_an_optimizer_may_train_a_part_of_the_model(data):
    learner = small_trainer()
    learner.optimizer = SGD(learner.model[2], 0.1)
    before = learner.model.state_dict()
    learner.fit(*data, progress=False)
    after = learner.model.state_dict()
    assert_array_equal(after["0.weight"], before["0.weight"])
    assert not np.array_equal(after["2.weight"], before["2.weight"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": None}, TypeError, "Trainer: model must be a Module, got None"),
        ({"optimizer": SGD}, TypeError, "Trainer: optimizer must be an optimizer, got <class"),
        ({"optimizer": 0.1}, TypeError, "Trainer: optimizer must be an optimizer, got 0.1"),
        ({"rng": 1.5}, TypeError, "Trainer: rng must be a seed, a generator or None, got 1.5"),
        ({"rng": -1}, ValueError, "Trainer: rng must be a seed, a generator or None, got -1"),
    ],
)
def test_parts_of_a_trainer_are_checked(change, error, message):
    model = nn.Linear(2, 2)
    arguments = {"model": model, "loss": losses.CrossEntropy(), "optimizer": SGD(model, 0.1)}
    with pytest.raises(error, match=message):
        Trainer(**(arguments | change))


def test_a_legacy_generator_is_taken(data):
    histories = []
    for _ in range(2):
        learner = small_trainer()
        other = Trainer(learner.model, learner.loss, learner.optimizer, rng=np.random.RandomState(5))
        histories.append(other.fit(*data, epochs=2, batch_size=8, progress=False))
    assert histories[0] == histories[1]
    assert histories[0] != small_trainer().fit(*data, epochs=2, batch_size=8, progress=False)


# ---- copies ----


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda learner: pickle.loads(pickle.dumps(learner))])
def test_a_copy_is_independent_and_has_the_same_bits(copied, data):
    learner = small_trainer(EarlyStopping("loss", patience=9), ProgressBar("bar"), CSVLogger("unused.csv"))
    learner.callbacks.pop()
    learner.fit(*data, epochs=2, progress=False)
    other = copied(learner)
    before = everything(learner)
    other.fit(*data, epochs=2, progress=False)
    assert everything(learner) == before
    learner.fit(*data, epochs=2, progress=False)
    assert everything(learner) == everything(other)
    assert other.callbacks[0].best == learner.callbacks[0].best


def test_a_copy_has_no_samples(data):
    learner = small_trainer()
    size = len(pickle.dumps(learner))
    x = np.repeat(data[0], 100, axis=0)
    learner.fit(x, np.repeat(data[1], 100), progress=False)
    learner.predict(x)
    assert len(pickle.dumps(learner)) < size + 2000
    assert_allclose(learner.predict(x[:1]), learner.predict(x)[:1], rtol=1e-5)


@pytest.mark.parametrize("place", [0, 1])
def test_a_schedule_that_has_ended_is_refused_before_the_fit(data, place):
    """The next step of every group needs a rate, before callbacks begin."""
    model = nn.Sequential(nn.Linear(data[0].shape[1], 2, rng=0))
    groups = [
        {
            "parameters": [parameter],
            "lr": lambda step, ends=index == place: -1.0 if ends and step > 2 else 0.1,
        }
        for index, parameter in enumerate(model.parameters())
    ]
    log = []
    learner = Trainer(model, losses.CrossEntropy(), SGD(groups, 0.1), [Log(log, "log")], rng=0)
    learner.fit(*data, epochs=1, batch_size=-(-len(data[0]) // 3), progress=False)
    before = state_of(learner)
    with pytest.raises(ValueError, match=r"^SGD: lr must be finite and >= 0, got -1.0$"):
        learner.fit(*data, epochs=1, progress=False)
    assert log == ["begin log", "end log"]
    assert state_of(learner) == before
