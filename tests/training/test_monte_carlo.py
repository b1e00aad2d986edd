"""Monte-Carlo dropout: mean and spread of passes in which dropout is active."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from helpers.training import small_trainer, state_of
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses, nn
from trimtab.optim import SGD
from trimtab.trainer import Trainer


def sampler(*layers, dtype=np.float64):
    model = nn.Sequential(*layers, nn.Linear(3, 2, rng=0, dtype=dtype))
    return Trainer(model, losses.MSE(), SGD(model, 0.1), rng=0)


@pytest.fixture
def x(rng):
    return rng.standard_normal((10, 3))


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_mean_and_spread_are_those_of_the_passes(samples, x):
    learner = sampler(nn.Dropout(0.4), nn.GaussianDropout(0.3))
    found = learner.predict(x, samples=samples, rng=5)
    model = learner.model.eval(dropout=True).use_rng(5)
    outputs = np.stack([model.forward(x) for _ in range(samples)])
    assert_allclose(found.mean, outputs.mean(axis=0), rtol=1e-12)
    assert_allclose(found.std, outputs.std(axis=0), rtol=1e-9, atol=1e-15)


def test_a_batch_goes_through_all_passes_before_the_next(x):
    learner = sampler(nn.Dropout(0.4))
    found = learner.predict(x, batch_size=6, samples=3, rng=1)
    model = learner.model.eval(dropout=True).use_rng(1)
    parts = [np.stack([model.forward(part) for _ in range(3)]).mean(axis=0) for part in (x[:6], x[6:])]
    assert_allclose(found.mean, np.concatenate(parts), rtol=1e-12)


def test_spread_is_that_of_dropout_in_theory():
    """The variance of w x kept / (1 - p) is (w x)² p / (1 - p)."""
    learner = sampler(nn.Dropout(0.2))
    weight = learner.model[1].weight.value
    weight[...] = [[2, 0, 0], [0, 3, 0]]
    found = learner.predict(np.ones((1, 3)), samples=4000, rng=0)
    assert_allclose(found.mean, [[2, 3]], rtol=0.05)
    assert_allclose(found.std, [[2 * 0.5, 3 * 0.5]], rtol=0.05)


def test_passes_draw_from_the_generator_of_the_trainer_or_the_given_one(x):
    one, other = sampler(nn.Dropout()), sampler(nn.Dropout())
    first, second = one.predict(x, samples=3), one.predict(x, samples=3)
    assert_array_equal(first, other.predict(x, samples=3))
    assert not np.array_equal(first.mean, second.mean)
    before = one.rng.bit_generator.state
    assert_array_equal(one.predict(x, samples=3, rng=7), one.predict(x, samples=3, rng=7))
    assert one.rng.bit_generator.state == before
    layer = nn.Dropout(0.5)
    learner = sampler(layer)
    layer.rng = np.random.default_rng(1)
    learner.predict(x, samples=2)
    assert layer.rng.bit_generator.state == np.random.default_rng(1).bit_generator.state


def test_batch_norm_evaluates_and_no_mode_changes(x):
    learner = small_trainer(layers=[nn.Dropout(0.5)])
    learner.fit(x, np.arange(10) % 2, progress=False)
    for prepare in (learner.model.train, learner.model.eval, learner.model[1].eval):
        prepare()
        before = state_of(learner)
        with_one = learner.predict(
            x[:1], samples=5, rng=3
        )  # a batch norm in training would refuse one sample
        assert_array_equal(with_one, learner.predict(x[:1], samples=5, rng=3))
        assert state_of(learner) == before
        assert not any("saved" in vars(module) for _, module in learner.model.modules())


def test_memory_does_not_grow_with_the_passes():
    learner = sampler(nn.Dropout(0.5))
    x = np.ones((20_000, 3))

    def peak(samples):
        tracemalloc.start()
        learner.predict(x, samples=samples)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)
    assert peak(40) < 1.2 * peak(3)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_results_have_the_dtype_of_the_output(dtype, x):
    found = sampler(nn.Dropout(0.5), dtype=dtype).predict(x, samples=3)
    assert found.mean.dtype == found.std.dtype == dtype
    empty = sampler(nn.Dropout(0.5), dtype=dtype).predict(x[:0], samples=3)
    assert empty.mean.shape == empty.std.shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": -1}, "samples must be at least 0, got -1"),
        ({"samples": 2.0}, "samples must be an int, got 2.0"),
        ({"samples": True}, "samples must be an int, got True"),
        ({"samples": 2, "rng": "a"}, "rng must be a seed, a generator or None, got 'a'"),
    ],
)
def test_wrong_arguments_are_refused(options, message, x):
    with pytest.raises((TypeError, ValueError), match=f"^predict: {message}"):
        sampler(nn.Dropout(0.5)).predict(x, **options)


def test_a_model_that_never_draws_has_no_spread(x):
    with pytest.raises(ValueError, match=r"^predict: samples must be 0 without a layer that draws, got 3"):
        sampler().predict(x, samples=3)
