"""Steps of several batches equal those of one large batch; training resumes between them."""

import numpy as np
import pytest
from helpers.training import linear_trainer, state_of
from numpy.testing import assert_allclose
from trimtab import losses, nn
from trimtab.callbacks import Callback
from trimtab.optim import SGD
from trimtab.trainer import Trainer


def classifier(rng=0, dtype=np.float64, **options):
    model = nn.Sequential(nn.Linear(3, 8, rng=0, dtype=dtype), nn.Tanh(), nn.Linear(8, 3, rng=1, dtype=dtype))
    loss = losses.CrossEntropy(ignore_index=-1, class_weight=[1.0, 2.5, 0.3])
    return Trainer(model, loss, SGD(model, 0.1, momentum=0.9, **options), rng=rng)


@pytest.fixture
def data(rng):
    x = rng.standard_normal((47, 3))
    return x, rng.integers(-1, 3, 47)  # a quarter is ignored


@pytest.mark.parametrize(("size", "accumulate"), [(4, 3), (1, 5), (6, 2), (20, 4)])
def test_a_step_of_several_batches_equals_one_of_a_large_batch(size, accumulate, data):
    parts, whole = classifier(), classifier()
    history = parts.fit(*data, epochs=3, batch_size=size, accumulate=accumulate, progress=False)
    expected = whole.fit(*data, epochs=3, batch_size=size * accumulate, progress=False)
    assert parts.optimizer.steps == whole.optimizer.steps == 3 * -(-47 // (size * accumulate))
    for name, values in expected.items():
        assert_allclose(history[name], values, rtol=1e-12)
    for name, array in whole.model.state_dict().items():
        assert_allclose(parts.model.state_dict()[name], array, rtol=1e-11, atol=1e-14)


def test_batches_where_nothing_counts_add_nothing(data):
    x, y = data[0], np.where(np.arange(47) < 12, -1, data[1])
    parts, whole = classifier(), classifier()
    parts.fit(x, y, batch_size=6, accumulate=4, shuffle=False, progress=False)
    whole.fit(x, y, batch_size=24, shuffle=False, progress=False)
    for name, array in whole.model.state_dict().items():
        assert_allclose(parts.model.state_dict()[name], array, rtol=1e-11, atol=1e-14)


def test_one_batch_a_step_has_the_bits_of_no_accumulation(data):
    one, other = classifier(), classifier()
    one.fit(*data, batch_size=16, epochs=2, progress=False)
    other.fit(*data, batch_size=47, epochs=2, accumulate=9, progress=False)
    assert one.optimizer.steps == 6 and other.optimizer.steps == 2
    plain = classifier()
    plain.fit(*data, batch_size=47, epochs=2, progress=False)
    assert state_of(other)[0] == state_of(plain)[0]


def test_16_bit_gradients_are_accumulated_in_float32(rng):
    """2048 + 1 is 2048 in float16: the mean of 2049 gradients would stay where it is."""
    x = np.ones((64, 1))
    model = nn.Sequential(nn.Linear(1, 1, bias=False, rng=0, dtype=np.float16))
    model[0].weight.value[...] = 0

    class Slope(losses.Loss):
        def __call__(self, output, target):
            return 0.0, np.asarray(target, np.float16)[:, None] / len(output)

    slopes = np.where(np.arange(64) == 0, 1024, 0.25)
    Trainer(model, Slope(), SGD(model, 1.0)).fit(
        x, slopes, batch_size=1, accumulate=64, shuffle=False, progress=False
    )
    assert model[0].weight.value[0, 0] == -np.float16(slopes.mean())


def test_callbacks_see_one_batch_for_each_step(data):
    seen = []

    class Look(Callback):
        def on_fit_begin(self, trainer, epochs, batches):
            seen.append(batches)

        def on_batch_end(self, trainer, batch, logs):
            seen.append((batch, logs["loss"]))

    learner = classifier()
    learner.callbacks.append(Look())
    history = learner.fit(*data, batch_size=10, accumulate=2, shuffle=False, progress=False)
    assert [item if isinstance(item, int) else item[0] for item in seen] == [3, 0, 1, 2]
    counted = [
        np.array([1.0, 2.5, 0.3, 0.0])[data[1][part]].sum() for part in np.split(np.arange(47), [20, 40])
    ]
    assert_allclose(np.average([loss for _, loss in seen[1:]], weights=counted), history["loss"][0])


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_training_stopped_between_steps_resumes(number, data, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "run.safetensors"
    options = {"epochs": 3, "batch_size": 5, "accumulate": 3, "progress": False}

    class Stop(Callback):
        left = number

        def on_batch_end(self, trainer, batch, logs):
            self.left -= 1
            if self.left == 0:
                trainer.stop()

    whole, stopped, resumed = classifier(), classifier(), classifier(rng=9)
    whole.fit(*data, **options)
    stopped.callbacks.append(Stop())
    stopped.fit(*data, **options)
    assert stopped.optimizer.steps == number
    stopped.save(path)
    resumed.fit(*data, **options, resume=path)
    assert state_of(resumed) == state_of(whole)
    with pytest.raises(ValueError, match=r"fit: accumulate must be 3 as in .*, got 2"):
        classifier().fit(*data, **(options | {"accumulate": 2}), resume=path)
    batches = [(data[0], data[1])]
    with pytest.raises(ValueError, match=r"fit: x must be an array as in .*, got an iterable of batches"):
        classifier().fit(batches, epochs=options["epochs"], accumulate=3, progress=False, resume=path)


def test_a_step_with_a_bad_batch_is_skipped_as_a_whole(data):
    x = data[0].copy()
    x[13] = np.nan  # in the second of the two batches of the first step
    learner, other = linear_trainer(), linear_trainer()
    options = {"batch_size": 10, "shuffle": False, "progress": False}
    learner.fit(x, x[:, 0], accumulate=2, nan="skip", **options)
    other.fit(x[20:], x[20:, 0], accumulate=2, **options)
    assert learner.skipped == 1
    assert state_of(learner)[0] == state_of(other)[0]
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 0: its samples have NaN"):
        linear_trainer().fit(x, x[:, 0], accumulate=2, **options)
