"""Samples of every kind, the modes of a model, several threads."""

import threading
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from helpers.training import small_trainer, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses, nn
from trimtab.callbacks import Callback
from trimtab.optim import SGD
from trimtab.trainer import Trainer


@pytest.fixture
def data(rng):
    return two_classes(rng)


class Fails(Callback):
    def on_batch_end(self, trainer, batch, logs):
        raise ArithmeticError


# ---- samples ----


def test_no_samples_give_no_predictions():
    assert small_trainer().predict(np.zeros((0, 3))).shape == (0, 2)


@pytest.mark.parametrize("dtype", [">f4", "f8", "f2", ml_dtypes.bfloat16, "i8", "u1", "?"])
def test_samples_may_have_every_real_dtype(dtype, rng):
    x = rng.integers(0, 2, (40, 3)).astype(dtype)
    y = np.arange(40) % 2
    plain = x.astype(np.float32)
    learner, other = small_trainer(), small_trainer()
    assert learner.fit(x, y, progress=False) == other.fit(plain, y, progress=False)
    assert learner.evaluate(x, y) == other.evaluate(plain, y)
    assert_array_equal(learner.predict(x), other.predict(plain))


def test_a_memory_map_is_read_batch_by_batch(data, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, data[0].astype(np.float64))
    mapped = np.load(path, mmap_mode="r")
    sizes = []

    class Look(nn.Module):
        def forward(self, x):
            sizes.append(x.nbytes)
            assert type(x) is np.ndarray
            self.saved = None
            return x

        def backward(self, dy):
            return dy

    model = nn.Sequential(Look(), nn.Linear(3, 2, rng=0))
    learner = Trainer(model, losses.CrossEntropy(), SGD(model, 0.1), rng=0)
    history = learner.fit(mapped, data[1], batch_size=8, progress=False)
    assert max(sizes) == 8 * 3 * 4
    plain = nn.Sequential(nn.Linear(3, 2, rng=0))
    other = Trainer(plain, losses.CrossEntropy(), SGD(plain, 0.1), rng=0)
    assert history == other.fit(*data, batch_size=8, progress=False)


@pytest.mark.parametrize("split", [0.0, 0.5])
@pytest.mark.parametrize("loss", [losses.MSE(), losses.BinaryCrossEntropy(), losses.CrossEntropy()])
def test_targets_of_a_memory_map_are_not_copied_as_a_whole(loss, split, tmp_path):
    rows, columns = 8192, 256
    y = np.zeros((rows, columns), np.float32)
    y[:, 3] = 1
    np.save(tmp_path / "y.npy", y)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    x = np.zeros((rows, 2), np.float32)
    learner = small_trainer(loss=loss, outputs=columns, inputs=2)
    learner.fit(x[:64], y[:64], batch_size=32, progress=False)
    gathered = split * y.nbytes if isinstance(loss, losses.CrossEntropy) else 0  # for balanced weights
    tracemalloc.start()
    try:
        learner.fit(x, mapped, batch_size=32, validation_split=split, progress=False)
        assert tracemalloc.get_traced_memory()[1] < gathered + y.nbytes / 3
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", [0, 999, 3333, 3999])
def test_a_wrong_target_is_found_wherever_it_is(place):
    y = np.full((4000, 50), 0.02)
    y[place, 49] = -1.0
    x = np.zeros((4000, 3), np.float32)
    with pytest.raises(ValueError, match=r"^fit: y must be between 0 and 1, got -1.0$"):
        small_trainer(loss=losses.BinaryCrossEntropy(), outputs=50).fit(x, y)
    with pytest.raises(ValueError, match=rf"^fit: y: probabilities must [^$]* at sample {place}$"):
        small_trainer(outputs=50).fit(x, y)


def test_tensors_and_lists_are_taken(data):
    torch = pytest.importorskip("torch")
    x, y = data
    expected = small_trainer().fit(x, y, progress=False)
    assert small_trainer().fit(torch.from_numpy(x), torch.from_numpy(y), progress=False) == expected
    assert small_trainer().fit(x.tolist(), y.tolist(), progress=False) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: batch.astype(np.float64),
        lambda batch: batch.astype(np.float16),
        lambda batch: batch.tolist(),
        lambda batch: np.asfortranarray(batch),
    ],
)
def test_augmented_samples_are_converted_to_the_dtype_of_the_model(change, rng):
    x, y = rng.integers(-9, 9, (40, 3)).astype(np.float32), np.arange(40) % 2
    learner, other = small_trainer(), small_trainer()
    history = learner.fit(x, y, augment=lambda batch, rng: change(batch), progress=False)
    assert history == other.fit(x, y, progress=False)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda batch: batch[:-1], ValueError, r"must have 32 samples as the batch, got shape \(31, 3\)"),
        (lambda batch: None, TypeError, "must be real numbers, got dtype object"),
        (lambda batch: batch * 1j, TypeError, "must be real numbers, got dtype complex"),
        (np.ma.masked_array, TypeError, "must be a plain array, got a MaskedArray"),
    ],
)
def test_results_of_augmentations_are_checked(change, error, message, data):
    with pytest.raises(error, match=f"^fit: result of augment {message}"):
        small_trainer().fit(*data, augment=lambda batch, rng: change(batch), progress=False)


@pytest.mark.parametrize("source", ["arrays", "whole", "batches"])
def test_an_augmentation_in_place_leaves_the_samples_of_the_caller(source, data):
    x, y = data
    before = x.copy()

    def shift(batch, rng):
        batch += 1
        return batch

    def shifted(batch, rng):
        return batch + 1

    learner, other = small_trainer(), small_trainer()
    options = {"epochs": 3, "progress": False, "shuffle": source == "arrays"}
    for each, augment in ((learner, shift), (other, shifted)):
        if source == "batches":
            each.fit([(x[:20], y[:20]), (x[20:], y[20:])], augment=augment, **options)
        else:
            each.fit(x, y, augment=augment, batch_size=40, **options)
    assert_array_equal(x, before)
    assert learner.history == other.history

    def widen(batch, rng):
        batch[...] = 0
        return np.zeros((len(batch), 3), np.float32)

    learner.fit([(wide := np.ones((6, 4), np.float32), y[:6])], augment=widen, progress=False)
    assert_array_equal(wide, 1)


def test_augmentation_sees_each_batch_of_training_only(data):
    x, y = data
    x = np.repeat(np.arange(40, dtype=np.float32)[:, None], 3, axis=1)
    seen = []

    def augment(batch, rng):
        seen.append(batch[:, 0].copy())
        return batch

    learner = small_trainer()
    learner.fit(
        x, y, validation_data=(x[:5], y[:5]), augment=augment, epochs=3, batch_size=20, progress=False
    )
    epochs = [np.concatenate(seen[begin : begin + 2]) for begin in (0, 2, 4)]
    assert len(seen) == 6
    for epoch in epochs:
        assert_array_equal(np.sort(epoch), np.arange(40))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    seen.clear()
    small_trainer().fit(x, y, augment=augment, shuffle=False, batch_size=20, progress=False)
    assert_array_equal(np.concatenate(seen), np.arange(40))


@pytest.mark.parametrize("loss", [losses.MSE(), losses.Huber()])
def test_a_target_of_another_shape_than_the_output_is_refused(loss, data):
    loss.metrics["mae"] = lambda output, target: np.abs(output - target).mean()
    learner, other = small_trainer(loss=loss, outputs=1), small_trainer(loss=loss, outputs=1)
    with pytest.raises(
        ValueError, match=r"fit: y must have shape \(40, 1\) as the output of the model, got \(40, 3"
    ):
        learner.fit(data[0], data[0], progress=False)
    # not broadcast: one column for each sample
    history = learner.fit(data[0], data[1], progress=False)
    assert history == other.fit(data[0], data[1][:, None], progress=False)
    difference = learner.predict(data[0])[:, 0] - data[1]
    assert_allclose(learner.evaluate(*data)["mae"], np.abs(difference).mean(), rtol=1e-6)


def test_class_weights_must_be_those_of_the_classes(data):
    learner = small_trainer(loss=losses.CrossEntropy(class_weight=[1, 2, 3]))
    before = learner.model.state_dict()
    with pytest.raises(ValueError, match="CrossEntropy: class_weight must have 2 entries, got 3"):
        learner.fit(*data, progress=False)
    for name, array in learner.model.state_dict().items():
        assert_array_equal(array, before[name])


# ---- modes ----


def modes(model):
    return [module.training for _, module in model.modules()]


def test_layers_in_evaluation_mode_keep_it_in_training(data):
    learner = small_trainer()
    learner.model[1].eval()
    mean = learner.model[1].running_mean.copy()
    learner.fit(*data, epochs=2, validation_split=0.2, progress=False)
    assert_array_equal(learner.model[1].running_mean, mean)
    assert modes(learner.model) == [True, True, False, True]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_model_in_evaluation_mode_trains_and_returns_to_it(dropout, fails, data):
    learner = small_trainer(Fails() if fails else Callback(), layers=[nn.Dropout(0.5)])
    learner.model.eval(dropout=dropout)
    before, mean = modes(learner.model), learner.model[1].running_mean.copy()
    if fails:
        with pytest.raises(ArithmeticError):
            learner.fit(*data, progress=False)
    else:
        learner.fit(*data, progress=False)
    assert modes(learner.model) == before
    assert not np.array_equal(learner.model[1].running_mean, mean)


def test_a_callback_that_evaluates_does_not_end_training(data):
    class Evaluates(Callback):
        def on_batch_end(self, trainer, batch, logs):
            trainer.model.eval()

    learner, other = small_trainer(Evaluates()), small_trainer()
    learner.model[1].eval()
    other.model[1].eval()
    assert learner.fit(*data, epochs=2, progress=False) == other.fit(*data, epochs=2, progress=False)
    assert modes(learner.model) == modes(other.model)


def test_prediction_does_not_change_modes(data, monkeypatch):
    learner = small_trainer(layers=[nn.Dropout(0.5)])
    expected = learner.predict(data[0])
    state = learner.model.state_dict()
    assert_array_equal(learner.predict(data[0]), expected)
    learner.model.eval()
    assert_array_equal(learner.model(data[0]), expected)
    assert_array_equal(learner.predict(data[0]), expected)
    learner.model.train()
    learner.evaluate(*data)
    assert modes(learner.model) == [True] * 5
    for name, array in learner.model.state_dict().items():
        assert_array_equal(array, state[name])


def test_predictions_sample_dropout_on_request(data):
    learner = small_trainer(layers=[nn.Dropout(0.5)])
    learner.model.eval(dropout=True)
    assert np.ptp([learner.predict(data[0]) for _ in range(5)], axis=0).max() > 0
    assert len({learner.evaluate(*data)["loss"] for _ in range(5)}) > 1


def test_several_threads_predict_and_evaluate_at_once(data):
    learner = small_trainer(layers=[nn.Dropout(0.5)])
    expected, metrics = learner.predict(data[0], 8), learner.evaluate(*data, batch_size=8)
    right = []

    def work():
        for _ in range(50):
            right.append(np.array_equal(learner.predict(data[0], 8), expected))
            right.append(learner.evaluate(*data, batch_size=8) == metrics)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == 400
    assert all(right)


@pytest.mark.parametrize("method", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError)]
)
def test_batch_sizes_are_checked(method, size, error, data):
    arguments = data if method == "evaluate" else data[:1]
    with pytest.raises(error, match=f"^{method}: batch_size must be .*, got {size}"):
        getattr(small_trainer(), method)(*arguments, batch_size=size)
