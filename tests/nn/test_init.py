"""Initial weights: their scale, their directions, and the seed they are drawn from."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn


@pytest.mark.parametrize("gain", [1.0, 2**0.5])
def test_linear_starts_at_the_stated_scale(gain):
    weight = nn.Linear(400, 300, gain=gain, rng=0).weight.value
    assert weight.shape == (300, 400)
    assert_allclose(weight.std(), gain / 20, rtol=0.02)


@pytest.mark.parametrize(
    ("init", "gain", "sd"),
    [
        ("he", None, (2 / 400) ** 0.5),
        ("he", 1.0, 0.05),
        ("xavier", None, (2 / 700) ** 0.5),
        ("xavier", 3.0, 3 * (2 / 700) ** 0.5),
        ("orthogonal", None, 0.05),
        ("normal", None, 0.01),
        ("normal", 0.3, 0.3),
    ],
)
def test_initial_weights_have_the_stated_scale(init, gain, sd):
    weight = nn.Linear(400, 300, init=init, gain=gain, rng=0).weight.value
    assert_allclose(weight.std(), sd, rtol=0.02)
    assert abs(weight.mean()) < 0.02 * sd


def test_the_fan_in_of_a_convolution_counts_the_kernel():
    assert_allclose(nn.Conv2d(50, 40, 3, rng=0).weight.value.std(), (2 / 450) ** 0.5, rtol=0.02)
    assert_allclose(nn.Conv2d(50, 40, 3, groups=10, rng=0).weight.value.std(), (2 / 45) ** 0.5, rtol=0.05)


@pytest.mark.parametrize(("inputs", "outputs"), [(7, 4), (4, 7), (5, 5)])
def test_orthogonal_weights_are_orthogonal(inputs, outputs):
    weight = nn.Linear(inputs, outputs, init="orthogonal", gain=2.0, rng=0, dtype=np.float64).weight.value
    product = weight @ weight.T if outputs <= inputs else weight.T @ weight
    assert_allclose(product, 4 * np.eye(min(inputs, outputs)), atol=1e-14)


@pytest.mark.parametrize(("inputs", "outputs"), [(60, 3), (3, 60)])
def test_orthogonal_weights_are_uniformly_distributed(inputs, outputs):
    """Entries of both signs are equally likely; plain QR prefers one sign on its diagonal."""
    corners = [
        nn.Linear(inputs, outputs, init="orthogonal", rng=seed).weight.value[0, 0] for seed in range(200)
    ]
    assert 70 < np.sum(np.array(corners) > 0) < 130


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 7), (7, 4), (5, 5)])
def test_orthogonal_weights_are_q_of_the_drawn_matrix(inputs, outputs):
    """With R of positive diagonal."""
    for seed in range(5):
        draws = np.random.default_rng(seed).standard_normal((outputs, inputs))
        weight = nn.Linear(inputs, outputs, init="orthogonal", rng=seed, dtype="f8").weight.value
        r = weight.T @ draws if outputs >= inputs else weight @ draws.T
        assert_allclose(np.tril(r, -1), 0, atol=1e-13)
        assert (np.diagonal(r) > 0).all()


def test_unknown_initial_weights_are_refused():
    with pytest.raises(ValueError, match=r"Linear: init must be one of he, xavier, .*, got 'zeros'"):
        nn.Linear(3, 2, init="zeros")


def test_linear_draws_from_the_seed_it_is_given():
    generator = np.random.default_rng(7)
    same = [nn.Linear(3, 2, rng=rng).weight.value for rng in (7, generator)]
    assert_array_equal(*same)
    assert not np.array_equal(same[0], nn.Linear(3, 2, rng=generator).weight.value)
