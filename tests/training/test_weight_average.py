"""The moving average of the weights, against its formula; in validation, at the end, after a resume."""

import ml_dtypes
import numpy as np
import pytest
from helpers.training import small_trainer, state_of, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses, nn
from trimtab.callbacks import Callback, Checkpoint, EarlyStopping, WeightAverage
from trimtab.optim import SGD
from trimtab.trainer import Trainer


@pytest.fixture
def data(rng):
    return two_classes(rng)


class Record(Callback):
    """Keeps the weights after each step, and those that validation uses."""

    def __init__(self):
        self.weights, self.validated = [], []

    def on_batch_end(self, trainer, batch, logs):
        self.weights.append(trainer.model.state_dict())

    def on_epoch_end(self, trainer, epoch, logs):
        self.validated.append(trainer.validated_state())


def by_formula(weights, decay):
    """The average of arrays in float64."""
    t = len(weights)
    factors = decay ** np.arange(t - 1, -1, -1.0)
    return np.tensordot(factors / factors.sum(), np.stack(weights).astype(np.float64), 1)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999, 1.0])
def test_the_average_is_that_of_the_formula(decay, data):
    record = Record()
    learner = small_trainer(record, WeightAverage(decay))
    learner.fit(*data, epochs=3, batch_size=8, progress=False)
    assert learner.callbacks[1].count == 15
    for name, array in learner.model.state_dict().items():
        expected = by_formula([weights[name] for weights in record.weights], decay)
        assert_allclose(array, expected, rtol=2e-5, atol=1e-6)
    if decay == 0:
        assert_array_equal(learner.model[0].weight.value, record.weights[-1]["0.weight"])


def test_training_is_the_same_without_it(data):
    with_average, without = Record(), Record()
    options = {"validation_data": data, "epochs": 2, "progress": False}
    small_trainer(with_average, WeightAverage(0.9)).fit(*data, **options)
    small_trainer(without).fit(*data, **options)
    for one, other in zip(with_average.weights, without.weights, strict=True):
        for name, array in other.items():
            assert_array_equal(one[name], array)


def test_validation_uses_the_average(data):
    record = Record()
    learner = small_trainer(record, WeightAverage(0.8))
    learner.fit(*data, validation_data=data, epochs=3, batch_size=8, progress=False)
    other = small_trainer()
    for epoch, weights in enumerate(record.validated):
        other.model.load_state_dict(weights)
        assert other.evaluate(*data)["loss"] == learner.history["val_loss"][epoch]
        steps = [step["0.weight"] for step in record.weights[: 5 * (epoch + 1)]]
        assert_allclose(weights["0.weight"], by_formula(steps, 0.8), rtol=1e-5, atol=1e-6)
    assert learner.evaluate(*data)["loss"] == learner.history["val_loss"][-1]


def test_the_average_may_begin_later(data):
    record = Record()
    learner = small_trainer(record, WeightAverage(1.0, start_from_epoch=2))
    learner.fit(*data, validation_data=data, epochs=4, batch_size=8, progress=False)
    assert learner.callbacks[1].count == 10
    assert_array_equal(record.validated[1]["0.weight"], record.weights[9]["0.weight"])
    expected = np.mean([weights["0.weight"] for weights in record.weights[10:]], axis=0)
    assert_allclose(learner.model[0].weight.value, expected, rtol=1e-5, atol=1e-6)


def test_skipped_batches_do_not_count(data):
    x = data[0].copy()
    x[3] = np.nan
    record = Record()
    learner = small_trainer(record, WeightAverage(0.5))
    learner.fit(x, data[1], nan="skip", batch_size=8, shuffle=False, progress=False)
    assert learner.callbacks[1].count == 4
    steps = [weights["0.weight"] for weights in record.weights[1:]]
    assert_allclose(learner.model[0].weight.value, by_formula(steps, 0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("masters", [False, True])
def test_16_bit_weights_are_averaged_in_float32_and_come_back_exactly(dtype, masters, data):
    def learner(*callbacks):
        model = nn.Sequential(nn.Linear(3, 2, rng=0, dtype=dtype))
        return Trainer(model, losses.CrossEntropy(), SGD(model, 0.1, masters=masters), callbacks, rng=0)

    record, plain, average = Record(), Record(), WeightAverage(0.9)
    options = {"validation_data": data, "epochs": 3, "batch_size": 8, "progress": False}
    learner(record, average).fit(*data, **options)
    learner(plain).fit(*data, **options)
    assert_array_equal(record.weights[-1]["0.weight"], plain.weights[-1]["0.weight"])
    assert average.average["0.weight"].dtype == np.float32
    expected = by_formula([weights["0.weight"] for weights in record.weights], 0.9)
    assert_allclose(average.average["0.weight"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("number", [1, 3, 5, 8])
def test_a_resumed_training_has_the_same_average(number, data, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.safetensors"

    class Save(Callback):
        left = number

        def on_batch_end(self, trainer, batch, logs):
            self.left -= 1
            if self.left == 0:
                trainer.save(path)
                trainer.stop()

    options = {"validation_data": data, "epochs": 3, "batch_size": 8, "progress": False}
    whole = small_trainer(WeightAverage(0.9))
    whole.fit(*data, **options)
    small_trainer(WeightAverage(0.9), Save()).fit(*data, **options)
    resumed = small_trainer(WeightAverage(0.9))
    resumed.fit(*data, resume=path, **options)
    assert state_of(resumed) == state_of(whole)
    # `Save` may come before: then the average has not seen the batch that the file ends with
    small_trainer(Save(), WeightAverage(0.9)).fit(*data, **options)
    resumed = small_trainer(WeightAverage(0.9))
    resumed.fit(*data, resume=path, **options)
    assert state_of(resumed) == state_of(whole)


def test_a_checkpoint_has_the_weights_and_the_average(data, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.safetensors"
    options = {"validation_data": data, "batch_size": 8, "progress": False}
    whole = small_trainer(WeightAverage(0.9))
    whole.fit(*data, epochs=4, **options)
    small_trainer(WeightAverage(0.9), Checkpoint(path)).fit(*data, epochs=2, **options)
    resumed = small_trainer(WeightAverage(0.9))
    resumed.fit(*data, resume=path, epochs=4, **options)
    assert state_of(resumed) == state_of(whole)


def test_a_training_that_ended_with_the_average_cannot_be_resumed(data, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.safetensors"
    learner = small_trainer(WeightAverage(0.9))
    learner.fit(*data, epochs=2, batch_size=8, progress=False)
    learner.save(path)
    with pytest.raises(ValueError, match="whose weights a callback has replaced at its end"):
        small_trainer().fit(*data, resume=path, epochs=3, batch_size=8, progress=False)


@pytest.mark.parametrize("average_first", [True, False])
def test_best_weights_are_averaged_ones(average_first, data):
    stopping = EarlyStopping("val_loss", mode="max", patience=99, restore_best_weights=True)
    callbacks = [WeightAverage(0.7), stopping]
    learner = small_trainer(*(callbacks if average_first else callbacks[::-1]))
    learner.fit(*data, validation_data=data, epochs=4, batch_size=8, progress=False)
    assert stopping.best_epoch < 4  # the loss falls, so that the largest one is an earlier one
    assert learner.evaluate(*data)["loss"] == stopping.best


def test_an_error_in_validation_restores_the_weights(data):
    learner = small_trainer(WeightAverage(0.1))
    before = []

    class Keep(Callback):
        def on_batch_end(self, trainer, batch, logs):
            before.append(trainer.model.state_dict())

        def on_fit_end(self, trainer):
            after = trainer.model.state_dict()
            assert all(np.array_equal(after[name], array) for name, array in before[-1].items())

    learner.callbacks.insert(0, Keep())
    learner.loss.metrics["fails"] = lambda output, target: 1 / (len(output) - len(data[0]))
    with pytest.raises(ZeroDivisionError):
        learner.fit(*data, validation_data=data, batch_size=8, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.5}, "decay must be between 0 and 1, got 1.5"),
        ({"decay": None}, "decay must be a number, got None"),
        ({"start_from_epoch": -1}, "start_from_epoch must be finite and >= 0, got -1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises((TypeError, ValueError), match=f"^WeightAverage: {message}"):
        WeightAverage(**options)
