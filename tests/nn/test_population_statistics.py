"""Running statistics of batch norms over all samples, against one pass in training and the formula."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn


def statistics(model):
    return {name: array.copy() for name, array in model.buffers().items()}


def deep(dtype=np.float64, **options):
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, rng=0, dtype=dtype),
        nn.BatchNorm(3, dtype=dtype, activation="relu"),
        nn.Conv2d(3, 4, 2, rng=1, dtype=dtype),
        nn.BatchNorm(4, dtype=dtype, **options),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, 3, rng=2, dtype=dtype),
        nn.BatchNorm(3, dtype=dtype),
    )


@pytest.fixture
def images(rng):
    return rng.standard_normal((23, 2, 5, 5)) + 3


@pytest.mark.parametrize("batch_size", [1, 5, 22, 99])
def test_statistics_are_those_of_one_pass_over_all_samples(batch_size, images):
    model, whole = deep(unbiased=False), deep(unbiased=False)
    nn.update_batch_norm(model, images, batch_size)
    for layer in whole.layers:
        if isinstance(layer, nn.BatchNorm):
            layer.momentum = 1.0
    whole.forward(images)
    for name, array in statistics(whole).items():
        assert_allclose(statistics(model)[name], array, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("unbiased", "ddof"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("axis", [1, -1])
def test_statistics_are_mean_and_variance(unbiased, ddof, axis, rng):
    x = rng.standard_normal((9, 4, 4)) * [1, 5, 0.1, 3] + 100
    norm = nn.BatchNorm(4, axis=axis, unbiased=unbiased, dtype=np.float64)
    nn.update_batch_norm(norm, x, batch_size=4)
    over = tuple({0, 1, 2} - {axis % 3})
    assert_allclose(norm.running_mean, x.mean(axis=over), rtol=1e-13)
    assert_allclose(norm.running_var, x.var(axis=over, ddof=ddof), rtol=1e-11)


def test_renormalization_gets_a_standard_deviation(rng):
    x = rng.standard_normal((50, 3)) * 2
    norm = nn.BatchNorm(3, renorm=True, unbiased=False, eps=0.5, dtype=np.float64)
    nn.update_batch_norm(norm, x, batch_size=7)
    assert_allclose(norm.running_std, np.sqrt(x.var(axis=0) + 0.5), rtol=1e-12)
    y = norm.eval().forward(x)
    assert_allclose(y, (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.5), rtol=1e-10)


def test_layers_are_updated_in_the_order_of_the_pass(rng):
    class Backwards(nn.Module):
        def __init__(self):
            self.last, self.first = (nn.BatchNorm(2, dtype=np.float64, unbiased=False) for _ in range(2))
            self.unused = nn.BatchNorm(2)

        def forward(self, x):
            return self.last.forward(self.first.forward(x) * [2, 3] + 1)

    x = rng.standard_normal((40, 2)) * 7
    model = Backwards()
    nn.update_batch_norm(model, x, batch_size=16)
    assert_allclose(model.first.running_var, x.var(axis=0), rtol=1e-12)
    assert_allclose(model.last.running_mean, [1, 1], rtol=1e-12)
    assert_allclose(model.last.running_var, [4, 9], rtol=1e-5)
    assert_array_equal(model.unused.running_var, [1, 1])


def test_dropout_is_inactive_and_modes_stay(rng):
    x = rng.standard_normal((30, 4)).astype(np.float32)
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm(4))
    nn.update_batch_norm(model, x)
    assert_allclose(model[1].running_mean, x.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert all(module.training for _, module in model.modules())
    assert "saved" not in vars(model[1])


def test_frozen_layers_keep_their_statistics(rng):
    model = nn.Sequential(nn.BatchNorm(4, frozen=True), nn.BatchNorm(4))
    nn.update_batch_norm(model, rng.standard_normal((30, 4)) + 9)
    assert_array_equal(model[0].running_mean, np.zeros(4))
    assert_allclose(model[1].running_mean, 9, atol=1)


def test_equal_averages_go_on_after_the_batches(rng):
    x, new = rng.standard_normal((40, 2)), rng.standard_normal((10, 2)) + 5
    norm = nn.BatchNorm(2, momentum=None, dtype=np.float64)
    nn.update_batch_norm(norm, x, batch_size=10)
    assert norm.batches == 4
    norm.forward(new)
    assert_allclose(norm.running_mean, (4 * x.mean(axis=0) + new.mean(axis=0)) / 5, rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.ones((1, 2, 1)), {}, "x must give BatchNorm.* at least two values per channel, got 1"),
        (np.ones((0, 2)), {}, r"x must hold at least one sample, got shape \(0, 2\)"),
        (np.ones((3, 2)), {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ([["a"]], {}, "x must be real numbers, got dtype"),
    ],
)
def test_wrong_arguments_change_nothing(x, options, message):
    model = nn.Sequential(nn.BatchNorm(2), nn.BatchNorm(2))
    before = statistics(model)
    with pytest.raises((TypeError, ValueError), match=f"^update_batch_norm: {message}"):
        nn.update_batch_norm(model, x, **options)
    with pytest.raises(TypeError, match=r"^update_batch_norm: model must be a Module, got 3"):
        nn.update_batch_norm(3, x)
    for name, array in before.items():
        assert_array_equal(statistics(model)[name], array)


def test_an_error_in_a_later_layer_restores_the_statistics(rng):
    model = nn.Sequential(nn.BatchNorm(2), nn.Linear(3, 2), nn.BatchNorm(2))
    with pytest.raises(ValueError, match="Linear"):
        nn.update_batch_norm(model, rng.standard_normal((5, 2)))
    assert_array_equal(model[0].running_mean, np.zeros(2))


class Loader:
    """Yields the batches anew each time."""

    def __init__(self, batches):
        self.batches, self.passes = batches, 0

    def __iter__(self):
        self.passes += 1
        yield from self.batches


@pytest.mark.parametrize("paired", [True, False])
def test_batches_of_an_iterable_give_the_statistics_of_all(paired, images):
    parts = [images[:7], images[7:9], images[9:]]
    loader = Loader([(part, np.zeros(len(part))) if paired else part for part in parts])
    model, whole = deep(momentum=None), deep(momentum=None)
    nn.update_batch_norm(model, loader)
    nn.update_batch_norm(whole, images)
    for name, array in statistics(whole).items():
        if name.endswith("batches"):
            assert (statistics(model)[name], array) == (3, 1)
        else:
            assert_allclose(statistics(model)[name], array, rtol=1e-11, atol=1e-13)
    assert loader.passes == 3


def test_an_iterator_goes_with_one_batch_norm(images):
    x = images.reshape(-1, 5)
    norm, whole = (nn.Sequential(nn.BatchNorm(5, dtype=np.float64)) for _ in range(2))
    nn.update_batch_norm(norm, iter(np.split(x, 5)))
    nn.update_batch_norm(whole, x)
    for name, array in statistics(whole).items():
        assert_allclose(statistics(norm)[name], array, rtol=1e-12, atol=1e-15)
    model = deep()
    before, batches = statistics(model), iter([images])
    with pytest.raises(
        ValueError,
        match=r"^update_batch_norm: x must be iterable once for each of 3 batch norms, got a list_iterator",
    ):
        nn.update_batch_norm(model, batches)
    assert next(batches) is images
    for name, array in before.items():
        assert_array_equal(statistics(model)[name], array)
    frozen = nn.Sequential(nn.BatchNorm(5, frozen=True), nn.BatchNorm(5))
    nn.update_batch_norm(frozen, iter([x]))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "x must yield at least one batch, got none"),
        ([np.ones((1, 2))], "x must give BatchNorm.* at least two values per channel, got 1"),
        ([np.ones((4, 2)), "a"], "x must yield arrays x, or tuples .*, got a str as batch 1"),
        ([np.ones((4, 2)), np.ones((0, 2))], "x of batch 1 must hold at least one sample"),
    ],
)
def test_wrong_iterables_change_nothing(batches, message):
    model = nn.Sequential(nn.BatchNorm(2), nn.BatchNorm(2))
    before = statistics(model)
    with pytest.raises((TypeError, ValueError), match=f"^update_batch_norm: {message}"):
        nn.update_batch_norm(model, Loader(batches))
    for name, array in before.items():
        assert_array_equal(statistics(model)[name], array)


def test_a_batch_that_the_model_refuses_is_named(rng):
    model = nn.Sequential(nn.BatchNorm(2))
    with pytest.raises(ValueError, match=r"got shape \(5, 3\)") as caught:
        nn.update_batch_norm(model, Loader([np.ones((5, 2)), np.ones((5, 3))]))
    assert caught.value.__notes__ == ["update_batch_norm: x, batch 1"]
    assert_array_equal(model[0].running_mean, np.zeros(2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", [0, 1])
def test_samples_that_are_not_finite_are_refused(value, layer, rng):
    x = rng.standard_normal((12, 2)).astype(np.float32)
    model = nn.Sequential(nn.BatchNorm(2), nn.Linear(2, 2, rng=0), nn.BatchNorm(2))
    nn.update_batch_norm(model, x)
    before = statistics(model)
    if layer == 0:
        x[7, 1] = value
    else:
        model[1].weight.value[1, 0] = value
    with pytest.raises(
        FloatingPointError,
        match=r"^update_batch_norm: x must give BatchNorm\(2, axis=1\) a finite mean and variance, "
        f"got NaN or Inf in batch {1 - layer}",
    ):
        nn.update_batch_norm(model, x, batch_size=6)
    for name, array in before.items():
        assert_array_equal(statistics(model)[name], array)
