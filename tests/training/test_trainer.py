"""The training loop: results, history, hooks, interrupts and progress."""

import os
import signal
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.callbacks import Callback
from trimtab.losses import CrossEntropy, top_k
from trimtab.optim import SGD
from trimtab.trainer import History, Trainer, batch_slices


class Recorder(Callback):
    """Records the names of the hooks in the order of their calls; `act` may interfere."""

    def __init__(self, act=lambda hook, trainer: None):
        self.hooks = []
        for hook in (name for name in dir(Callback) if name.startswith("on_")):
            setattr(
                self, hook, lambda trainer, *details, hook=hook: (self.hooks.append(hook), act(hook, trainer))
            )


@pytest.fixture
def data(rng):
    x = rng.standard_normal((65, 2)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def trainer(callbacks=(), norm=True, seed=0):
    layers = [
        nn.Linear(2, 16, rng=seed),
        *([nn.BatchNorm(16)] if norm else []),
        nn.ReLU(),
        nn.Linear(16, 2, rng=seed),
    ]
    model = nn.Sequential(*layers)
    return Trainer(model, CrossEntropy(), SGD(model, lr=0.1, momentum=0.9), callbacks, rng=seed)


@pytest.mark.parametrize(
    ("samples", "size", "lengths"),
    [
        (6, 3, [3, 3]),
        (8, 3, [3, 3, 2]),
        (7, 3, [3, 4]),
        (1, 3, [1]),
        (2, 3, [2]),
        (4, 3, [4]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_single_sample_left_over_joins_the_last_batch(samples, size, lengths):
    parts = batch_slices(samples, size)
    assert [part.stop - part.start for part in parts] == lengths
    assert_array_equal(np.concatenate([np.arange(samples)[part] for part in parts]), np.arange(samples))


def test_training_learns(data):
    learner = trainer()
    history = learner.fit(*data, epochs=40, progress=False)
    assert list(history) == ["loss", "accuracy"]
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert learner.evaluate(*data)["accuracy"] > 0.9


def test_an_epoch_is_forward_backward_and_step_for_each_batch(data):
    x, y = data
    learner, other = trainer(norm=False), trainer(norm=False)
    history = learner.fit(x, y, epochs=1, batch_size=32, shuffle=False, progress=False)
    losses = []
    for part in (slice(0, 32), slice(32, 65)):
        value, gradient, _ = other.loss(other.model(x[part]), y[part])
        other.model.backward(gradient)
        other.optimizer.step()
        losses.append(value)
    for name, array in learner.model.state_dict().items():
        assert_array_equal(array, other.model.state_dict()[name])
    assert_allclose(history["loss"], [np.average(losses, weights=[32, 33])], rtol=1e-12)


def test_a_seed_determines_the_run_and_its_shuffling(data):
    runs = [trainer(seed=seed).fit(*data, epochs=2, progress=False) for seed in (0, 0)]
    assert runs[0] == runs[1]
    assert runs[0] != trainer().fit(*data, epochs=2, shuffle=False, progress=False)


def test_evaluate_is_the_mean_over_all_samples(data):
    learner = trainer()
    learner.fit(*data, progress=False)
    x, y = data
    logits = learner.model.eval()(x)
    value = learner.loss(logits, y).loss
    result = learner.evaluate(x, y, batch_size=16)
    assert_allclose(result["loss"], value, rtol=1e-6)
    assert_allclose(result["accuracy"], np.mean(logits.argmax(axis=1) == y), rtol=1e-12)
    assert_allclose(learner.predict(x, batch_size=16), logits, atol=1e-6)


def test_evaluation_restores_the_mode_of_every_module(data):
    learner = trainer()
    learner.model.train()
    learner.model[1].eval()
    before = learner.model.state_dict()
    learner.evaluate(*data)
    learner.predict(data[0])
    assert [module.training for _, module in learner.model.modules()] == [True, True, False, True, True]
    for name, array in learner.model.state_dict().items():
        assert_array_equal(array, before[name])


def test_validation_split_without_shuffle_holds_out_the_end(data):
    x, y = data
    options = {"epochs": 2, "shuffle": False, "progress": False}
    split = trainer().fit(x, y, validation_split=0.2, **options)
    given = trainer().fit(x[:52], y[:52], validation_data=(x[52:], y[52:]), **options)
    assert split == given
    assert list(split) == ["loss", "accuracy", "val_loss", "val_accuracy"]


def test_samples_are_converted_to_the_dtype_of_the_model(data):
    x, y = data
    runs = [trainer().fit(samples, y, progress=False) for samples in (x, x.astype(np.float64), x.tolist())]
    assert runs[0] == runs[1] == runs[2]


def test_augmentation_sees_every_batch_and_the_generator(data):
    x, y = data
    learner = trainer()
    seen = []

    def augment(batch, rng):
        assert rng is learner.rng
        seen.append(len(batch))
        return batch

    learner.fit(x, y, augment=augment, progress=False)
    assert seen == [32, 33]


def test_hooks_are_called_in_order(data):
    recorder = Recorder()
    trainer([recorder]).fit(*data, epochs=2, progress=False)
    batch = ["on_batch_begin", "on_batch_end"]
    epoch = ["on_epoch_begin", *batch, *batch, "on_epoch_end", "on_checkpoint"]
    assert recorder.hooks == ["on_fit_begin", *epoch, *epoch, "on_fit_end"]


def test_a_callback_stops_after_the_epoch(data):
    recorder = Recorder(lambda hook, trainer: trainer.stop() if hook == "on_epoch_end" else None)
    assert len(trainer([recorder]).fit(*data, epochs=5, progress=False)["loss"]) == 1
    assert recorder.hooks[-1] == "on_fit_end"


def test_an_error_calls_the_hook_at_the_end_of_the_fit(data):
    def fail(hook, trainer):
        if hook == "on_batch_end":
            raise ArithmeticError

    recorder = Recorder(fail)
    learner = trainer([recorder])
    with pytest.raises(ArithmeticError):
        learner.fit(*data, progress=False)
    assert recorder.hooks[-1] == "on_fit_end"
    assert learner.model.wants_dx


def test_interrupt_ends_after_the_batch_and_returns_the_history(data):
    def interrupt(hook, trainer):
        if hook == "on_batch_begin" and trainer.history.get("loss"):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    recorder = Recorder(interrupt)
    history = trainer([recorder]).fit(*data, epochs=5, progress=False)
    assert len(history["loss"]) == 1
    assert recorder.hooks[-3:] == ["on_batch_begin", "on_batch_end", "on_fit_end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_is_immediate(data):
    def interrupt(hook, trainer):
        if hook in ("on_batch_begin", "on_batch_end"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer([Recorder(interrupt)]).fit(*data, progress=False)


def test_a_fit_may_run_outside_the_main_thread(data):
    histories = []
    thread = threading.Thread(target=lambda: histories.append(trainer().fit(*data, progress=False)))
    thread.start()
    thread.join()
    assert histories == [trainer().fit(*data, progress=False)]


def test_progress_bar_counts_batches_and_shows_metrics(data, capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    trainer().fit(*data, epochs=3)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "epoch=3/3" in shown
    assert "loss=" in shown


def test_progress_bar_shows_the_means_of_the_epoch_so_far(data, monkeypatch):
    shown = []

    class Bar:
        """A progress bar that is drawn at every update."""

        def __init__(self, **options):
            self.update = lambda: True
            self.close = lambda: None
            self.set_postfix = lambda postfix, refresh: shown.append(postfix)

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    losses = []

    class Keep(Callback):
        def on_batch_end(self, trainer, batch, logs):
            losses.append(logs["loss"])

    trainer([Keep()]).fit(*data, epochs=2)
    means = [losses[0], np.average(losses[:2], weights=[32, 33])]
    means += [means[1], losses[2], np.average(losses[2:], weights=[32, 33])]
    means += [means[4]]
    assert [postfix["epoch"] for postfix in shown] == ["1/2"] * 3 + ["2/2"] * 3
    assert [postfix["loss"] for postfix in shown] == [f"{mean:.4f}" for mean in means]


def test_metrics_are_those_of_the_loss(data):
    learner = trainer()
    learner.loss.metrics = {"top_1": top_k(1), "top_2": top_k(2)} | learner.loss.metrics
    history = learner.fit(*data, validation_split=0.5, epochs=2, progress=False)
    assert tuple(history) == learner.metric_names
    assert [*history][:4] == ["loss", "top_1", "top_2", "accuracy"]
    assert history["val_top_1"] == history["val_accuracy"]
    assert history["val_top_2"] == [1, 1]
    assert [*learner.evaluate(*data)] == [*history][:4]


def test_training_works_without_tqdm(data, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert trainer().fit(*data, epochs=1) == trainer().fit(*data, epochs=1, progress=False)
    out, err = capsys.readouterr()
    assert out.startswith("epoch 1/1: loss ") and err == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "fit: epochs must be at least 1, got 0"),
        ({"batch_size": -1}, "fit: batch_size must be at least 1, got -1"),
        ({"y": [0, 1]}, r"y must have 65 entries as x, got shape \(2,\)"),
        ({"x": np.zeros((0, 2)), "y": []}, r"x must hold at least one sample, got shape \(0, 2\)"),
        ({"validation_split": 1.0}, "validation_split must leave samples on both sides, got 1.0"),
        ({"validation_split": -0.5}, "validation_split must leave samples on both sides, got -0.5"),
        (
            {"validation_data": (np.zeros((0, 2)), [])},
            r"x of validation_data must hold at least one sample, got shape \(0, 2\)",
        ),
        (
            {"validation_data": (np.zeros((3, 2)), [0, 1])},
            r"y of validation_data must have 3 entries as x, got shape \(2,\)",
        ),
        (
            {"validation_data": (np.zeros((2, 2)), [0, 1]), "validation_split": 0.5},
            "validation_split must be 0 with validation_data, got 0.5",
        ),
    ],
)
def test_wrong_arguments_are_refused(change, message, data):
    learner = trainer()
    before = learner.model.state_dict()
    with pytest.raises(ValueError, match=message):
        learner.fit(**({"x": data[0], "y": data[1], "progress": False} | change))
    for name, array in learner.model.state_dict().items():
        assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 1.5}, TypeError, "epochs must be an int, got 1.5"),
        ({"batch_size": 32.0}, TypeError, "batch_size must be an int, got 32.0"),
        ({"x": [["a", "b"]] * 65}, TypeError, "x must be real numbers, got dtype <U1"),
        ({"x": np.ones((65, 2), complex)}, TypeError, "x must be real numbers, got dtype complex128"),
        ({"x": [[1.0, 2.0], [3.0]]}, ValueError, "x must have samples of one shape, got setting an array"),
        (
            {"validation_data": np.ones((65, 2))},
            TypeError,
            "validation_data must be samples and t",
        ),
        (
            {"validation_data": ([], [], [], [])},
            TypeError,
            "validation_data must be samples and t",
        ),
    ],
)
def test_arguments_of_wrong_types_are_refused(change, error, message, data):
    with pytest.raises(error, match=f"^fit: {message}"):
        trainer().fit(**({"x": data[0], "y": data[1], "progress": False} | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": CrossEntropy}, TypeError, "loss must be a Loss, got <class"),
        ({"optimizer": SGD(nn.Linear(2, 2), 0.1)}, ValueError, "optimizer must hold parameters of the model"),
        ({"callbacks": None}, TypeError, "callbacks must be a sequence of Callback, got None"),
        ({"callbacks": Callback()}, TypeError, "callbacks must be a sequence of Callback, got <"),
        ({"callbacks": [Callback]}, TypeError, r"callbacks must be a sequence of Callback, got \[<class"),
    ],
)
def test_parts_of_a_trainer_are_checked(change, error, message):
    model = nn.Linear(2, 2)
    arguments = {"model": model, "loss": CrossEntropy(), "optimizer": SGD(model, 0.1)}
    Trainer(**arguments)
    with pytest.raises(error, match=f"^Trainer: {message}"):
        Trainer(**(arguments | change))


def test_history_plots_training_and_validation():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    panels = History(loss=[2.0, 1.0], val_loss=[3.0, 2.0], accuracy=[0.5, 0.6]).plot()
    assert [panel.get_ylabel() for panel in panels] == ["loss", "accuracy"]
    assert [list(line.get_ydata()) for line in panels[0].lines] == [[2.0, 1.0], [3.0, 2.0]]
    pyplot.close("all")
