"""Batches whose loss or gradients are not finite."""

from math import inf, isfinite, nan

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from trimtab import nn
from trimtab.callbacks import Callback, EarlyStopping
from trimtab.losses import CrossEntropy, Loss
from trimtab.optim import SGD
from trimtab.trainer import Trainer


@pytest.fixture
def data(rng):
    """Batch 2 of 5 has a NaN."""
    x = rng.standard_normal((50, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    x[25, 1] = nan
    return x, y


FIT = {"batch_size": 10, "shuffle": False, "progress": False}


def trainer(loss=None, **options):
    whitening = nn.Whitening(3)
    model = nn.Sequential(nn.BatchNorm(3, momentum=None), whitening, nn.Linear(3, 2, rng=1))
    return Trainer(model, loss or CrossEntropy(), SGD(model, 0.1, momentum=0.9, **options), rng=0)


def same_state(one, other):
    for name, array in one.model.state_dict().items():
        assert_array_equal(array, other.model.state_dict()[name])


def without_the_batch(data):
    keep = np.r_[0:20, 30:50]
    return data[0][keep], data[1][keep]


class Faulty(Loss):
    """Cross entropy with another loss or gradient in one batch."""

    def __init__(self, loss=None, gradient=None, at=1):
        self.calls, self.at, self.given = 0, at, (loss, gradient)

    def __call__(self, output, target):
        loss, gradient, weight = CrossEntropy()(output, target)
        own, factor = self.given
        if output.shape[0] > 1 and self.calls == self.at:
            loss = loss if own is None else own
            gradient = gradient if factor is None else gradient * factor
        self.calls += output.shape[0] > 1
        return loss, gradient, weight


def test_training_stops_with_the_state_before_the_batch(data):
    learner, other = trainer(), trainer()
    message = "fit: loss must be finite, got nan in epoch 1, batch 2: its samples have NaN or Inf; nan='skip'"
    with pytest.raises(FloatingPointError, match=message):
        learner.fit(*data, **FIT)
    other.fit(data[0][:20], data[1][:20], **FIT)
    same_state(learner, other)
    assert learner.optimizer.steps == 2


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_loss_that_is_not_finite_stops_training(value, data):
    x, y = np.nan_to_num(data[0]), data[1]
    message = f"loss must be finite, got {value} in epoch 1, batch 1: try a lower learning rate or max_grad"
    with pytest.raises(FloatingPointError, match=message):
        trainer(Faulty(value)).fit(x, y, **FIT)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy warns of infinity - infinity
@pytest.mark.parametrize("factor", [nan, inf])
def test_gradients_that_are_not_finite_stop_training_before_the_update(factor, data):
    x, y = np.nan_to_num(data[0]), data[1]
    learner = trainer(Faulty(gradient=factor))
    with pytest.raises(
        FloatingPointError, match="gradients must be finite, got NaN or Inf in epoch 1, batch 1"
    ):
        learner.fit(x, y, **FIT)
    other = trainer()
    other.fit(x[:10], y[:10], **FIT)
    same_state(learner, other)


@pytest.mark.parametrize("how", ["nan", "optimizer"])
def test_a_skipped_batch_changes_nothing(how, data):
    learner = trainer(skip_nonfinite=how == "optimizer")
    history = learner.fit(*data, nan="stop" if how == "optimizer" else "skip", **FIT)
    other = trainer()
    assert history == other.fit(*without_the_batch(data), **FIT)
    same_state(learner, other)
    assert learner.skipped == 1
    assert learner.optimizer.skipped == (how == "optimizer")
    assert learner.optimizer.steps == 4


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy warns of infinity - infinity
@pytest.mark.parametrize("how", ["nan", "optimizer"])
def test_a_skipped_batch_whose_gradients_overflow_changes_nothing(how, data):
    x, y = np.nan_to_num(data[0]), data[1]
    learner = trainer(Faulty(gradient=inf, at=2), skip_nonfinite=how == "optimizer")
    history = learner.fit(x, y, nan="stop" if how == "optimizer" else "skip", **FIT)
    other = trainer(Faulty(at=99))
    assert history == other.fit(*without_the_batch((x, y)), **FIT)
    same_state(learner, other)
    assert learner.skipped == 1


def test_callbacks_see_skipped_batches(data):
    seen = []

    class Look(Callback):
        def on_batch_end(self, trainer, batch, logs):
            seen.append(isfinite(logs["loss"]))

    learner = trainer()
    learner.callbacks.append(Look())
    learner.fit(*data, nan="skip", **FIT)
    assert seen == [True, True, False, True, True]


def test_training_with_nan_can_be_allowed(data):
    learner = trainer()
    history = learner.fit(*data, nan="ignore", **FIT)
    assert not isfinite(history["loss"][0])
    assert not np.isfinite(learner.model[2].weight.value).any()
    assert learner.optimizer.steps == 5


def test_the_number_of_skipped_batches_is_that_of_the_fit(data):
    learner = trainer()
    learner.fit(*data, nan="skip", epochs=2, **FIT)
    assert learner.skipped == 2
    learner.fit(*without_the_batch(data), **FIT)
    assert learner.skipped == 0


def test_other_values_of_nan_are_refused(data):
    with pytest.raises(ValueError, match="fit: nan must be 'stop', 'skip' or 'ignore', got 'raise'"):
        trainer().fit(*data, nan="raise", **FIT)


@pytest.mark.parametrize("how", [{"nan": "skip"}, {"skip_nonfinite": True}])
def test_means_are_nan_where_every_batch_is_skipped(how, data):
    x, y = data
    options = {name: value for name, value in how.items() if name != "nan"}
    learner, stopper = trainer(**options), EarlyStopping("loss", patience=2)
    learner.callbacks.append(stopper)
    history = learner.fit(np.full_like(x, nan), y, epochs=5, **FIT, nan=how.get("nan", "stop"))
    assert_array_equal(history["loss"], [nan, nan])
    assert_array_equal(history["accuracy"], [nan, nan])
    assert (stopper.stopped_epoch, learner.skipped) == (2, 10)
