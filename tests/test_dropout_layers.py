"""Dropout layers: what they compute, where their chance comes from, and what dropout is worth in theory."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.gradcheck import gradcheck

f64 = np.float64
LAYERS = {
    "inverted": nn.Dropout,
    "classical": lambda p: nn.Dropout(p, classical=True),
    "shared": lambda p: nn.Dropout(p, shared_axes=1),
    "path": nn.DropPath,
    "alpha": nn.AlphaDropout,
    "Gaussian": nn.GaussianDropout,
}
MULTIPLIES = [name for name in LAYERS if name != "alpha"]  # alpha dropout adds, too


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


# What they compute


@pytest.mark.parametrize("classical", [False, True])
@pytest.mark.parametrize("shared_axes", [(), 1, (0, -1)])
def test_dropout_is_the_specification(classical, shared_axes, rng):
    layer = nn.Dropout(0.3, classical=classical, shared_axes=shared_axes).use_rng(5)
    seed = int(np.random.default_rng(5).bit_generator.random_raw())
    options = {"inverted": not classical, "shared_axes": shared_axes}
    x, dy = rng.standard_normal((2, 4, 6, 5))
    expected = reference.dropout_forward(x, 0.3, rng=seed, **options)
    assert_allclose(layer(x), expected.y, rtol=1e-15)
    expected = reference.dropout_backward(dy, expected.mask, 0.3, **options)
    assert_allclose(layer.backward(dy), expected, rtol=1e-15)


def test_path_alpha_and_gaussian_are_the_specification(rng):
    seed = int(np.random.default_rng(5).bit_generator.random_raw())
    x, dy = rng.standard_normal((2, 8, 6))
    for layer, name in ((nn.DropPath(0.3), "drop_path"), (nn.AlphaDropout(0.3), "alpha_dropout")):
        expected = getattr(reference, f"{name}_forward")(x, 0.3, rng=seed)
        assert_allclose(layer.use_rng(5)(x), expected.y, rtol=1e-14)
        expected = getattr(reference, f"{name}_backward")(dy, expected.mask, 0.3)
        assert_allclose(layer.backward(dy), expected, rtol=1e-14)
    layer = nn.GaussianDropout(0.3).use_rng(5)
    expected = reference.gaussian_dropout_forward(x, 0.3, rng=seed)
    assert_allclose(layer(x), expected.y, rtol=1e-5, atol=1e-6)
    assert_allclose(layer.backward(dy), dy * expected.noise, rtol=1e-5, atol=1e-6)


def test_gradients(make, rng):
    """Of the decisions of one seed."""
    layer = make(0.4)
    x = rng.standard_normal((5, 3))

    def backward(dy, x):
        layer.use_rng(1)(x)
        return layer.backward(dy)

    assert gradcheck(lambda x: layer.use_rng(1)(x), backward, x)


@pytest.mark.parametrize("name", MULTIPLIES)
def test_evaluation_is_the_expectation_of_training(name, rng):
    layer = LAYERS[name](0.4).use_rng(1)
    x, dy = rng.standard_normal((2, 3, 4))
    samples = np.mean([layer(x) for _ in range(4000)], axis=0)
    layer.eval()
    assert_allclose(samples, layer(x), atol=5 * np.abs(x).max() / 4000**0.5)
    assert_allclose(layer.backward(dy), dy * (layer(x) / x), rtol=1e-14)


def test_alpha_dropout_does_nothing_in_evaluation(rng):
    x = rng.standard_normal((3, 4))
    assert_array_equal(nn.AlphaDropout(0.4).eval()(x), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, f64])
def test_dtype_stays(make, dtype):
    x = np.ones((4, 6), dtype)
    for layer in (make(0.4), make(0.4).eval()):
        assert layer(x).dtype == layer.backward(x).dtype == dtype


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_wrong_chance(make, p):
    with pytest.raises(ValueError, match=r"^\w+: p must be .*, got"):
        make(p)


def test_certain_dropping():
    assert not nn.Dropout(1.0)(np.ones((3, 4))).any()
    assert not nn.DropPath(1.0)(np.ones((3, 4))).any()
    for make in (nn.AlphaDropout, nn.GaussianDropout):
        with pytest.raises(ValueError, match=r"p must be at least 0 and below 1, got 1\.0"):
            make(1.0)


# Where their chance comes from


def test_layers_draw_in_turn_from_one_generator():
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).use_rng(3)
    x = np.ones((4, 64))
    first = [layer(x) for layer in model]
    model.use_rng(3)
    assert_array_equal(first, [layer(x) for layer in model])
    assert not np.array_equal(*first)


def test_without_a_generator_they_draw_afresh():
    layer, x = nn.Dropout(), np.ones((4, 64))
    assert not np.array_equal(layer(x), layer(x))


def test_sampled_nets_in_evaluation(rng):
    model = nn.Sequential(nn.Linear(8, 64, rng=0), nn.BatchNorm(64), nn.Dropout()).use_rng(3)
    x = rng.standard_normal((5, 8), np.float32)
    model.eval(dropout=True)
    assert [module.training for _, module in model.modules()] == [False, False, False, True]
    assert not np.array_equal(model(x), model(x))
    model.eval()
    assert_array_equal(model(x), model(x))
