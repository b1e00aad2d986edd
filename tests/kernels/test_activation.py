"""Activations: values within an ulp, ends of the range, NaN and Inf in every lane, where they write."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import arithmetic, assert_within, storage_error, ulp
from helpers.strategies import DTYPES, OVERLAPS, arrays, overlapping, shapes
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("relu", "leaky_relu", "sigmoid", "tanh")
FORWARD_ULPS, BACKWARD_ULPS = 1.5, 3  # backward: three roundings, each of up to an ulp of the result
FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]

names = st.sampled_from(NAMES)
dtypes = st.sampled_from(DTYPES)


def exact(name, x):
    """The function in the widest floating type of NumPy."""
    x = np.asarray(x, np.longdouble)
    e = np.exp(-np.abs(x))
    return {
        "relu": lambda: np.maximum(x, 0),
        "leaky_relu": lambda: np.where(x > 0, x, x * np.longdouble(0.05)),
        "sigmoid": lambda: np.where(x >= 0, 1, e) / (1 + e),
        "tanh": lambda: np.tanh(x),
    }[name]()


def exact_backward(name, dy, y):
    """The gradient in the widest floating type of NumPy."""
    dy, y = (np.asarray(values, np.longdouble) for values in (dy, y))
    return {
        "relu": lambda: np.where(y > 0, dy, 0),
        "leaky_relu": lambda: dy * np.where(y > 0, 1, np.longdouble(0.05)),
        "sigmoid": lambda: dy * y * (1 - y),
        "tanh": lambda: dy * (1 - y) * (1 + y),  # keeps the digits of 1 - y^2 near 1
    }[name]()


def assert_values(got, expected, like, ulps, what):
    assert got.dtype == like.dtype.newbyteorder("=")
    allowed = ulps * ulp(expected, arithmetic(like.dtype)) + storage_error(expected, got.dtype)
    assert_within(got, expected, allowed, what)


def check_forward(name, x):
    assert_values(getattr(tt, name)(x), exact(name, x), x, FORWARD_ULPS, name)


@given(st.data(), names, shapes(max_dims=3), dtypes)
def test_forward_is_within_ulps_of_the_exact_value(data, name, shape, dtype):
    check_forward(name, data.draw(arrays(shape, dtype)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_forward_is_accurate_at_every_magnitude(name, dtype, rng):
    lowest, highest = (-14, 15) if dtype == np.float16 else (-126, 127)
    x = np.ldexp(rng.uniform(1, 2, 20_000), rng.integers(lowest, highest, 20_000))
    for values in (x, -x, rng.uniform(-120, 120, 20_000), rng.uniform(-2, 2, 20_000)):
        check_forward(name, values.astype(dtype))


@given(st.data(), names, shapes(max_dims=3), dtypes)
def test_backward_is_accurate(data, name, shape, dtype):
    dy, x = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    y = np.clip(x, -1, 1).astype(dtype) if name in ("sigmoid", "tanh") else x
    got = getattr(tt, f"{name}_backward")(dy, y)
    assert_values(got, exact_backward(name, dy, y), dy, BACKWARD_ULPS, name)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0, -0.5])
def test_any_slope_of_leaky_relu_is_exact(slope, rng):
    x, dy = rng.standard_normal((2, 100))
    y = tt.leaky_relu(x, slope)
    np.testing.assert_array_equal(y, reference.leaky_relu(x, slope))
    dx = tt.leaky_relu_backward(dy, x, slope)
    np.testing.assert_array_equal(dx, reference.leaky_relu_backward(dy, x, slope))
    if slope > 0:
        np.testing.assert_array_equal(tt.leaky_relu_backward(dy, y, slope), dx)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_ends_of_the_range_are_exact(dtype):
    x = np.array([-np.inf, -2e4, 2e4, np.inf, -0.0, 0.0], dtype)
    np.testing.assert_array_equal(tt.sigmoid(x), np.array([0, 0, 1, 1, 0.5, 0.5], dtype))
    tanh = tt.tanh(x)
    np.testing.assert_array_equal(tanh, np.array([-1, -1, 1, 1, 0, 0], dtype))
    np.testing.assert_array_equal(np.signbit(tanh), [True, True, False, False, True, False])
    np.testing.assert_array_equal(tt.relu(x), np.array([0, 0, 2e4, np.inf, 0, 0], dtype))
    assert tt.leaky_relu(x)[0] == -np.inf


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_sigmoid_goes_to_zero_through_the_subnormal_numbers(dtype):
    smallest = float(np.finfo(dtype).smallest_subnormal)
    x = np.linspace(np.log(float(np.finfo(dtype).smallest_normal)) + 2, np.log(smallest) - 2, 501).astype(
        dtype
    )
    y = tt.sigmoid(x)
    assert np.all(np.diff(y) <= 0)
    assert y[-1] == 0 < smallest == y[y > 0].min()
    assert_within(y, exact("sigmoid", x), 2 * ulp(y, dtype) + smallest, "subnormal")


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_tanh_of_tiny_values_is_the_value(dtype):
    x = np.concatenate([np.geomspace(np.finfo(dtype).smallest_normal, 1e-12, 99), [5e-324, 1e-45, 1e-310]])
    x = x.astype(dtype)
    np.testing.assert_array_equal(tt.tanh(x), x)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values_are_right_in_every_lane(dtype, name, special, rng):
    for length in (1, 7, 33):
        x = rng.standard_normal(length).astype(dtype)
        plain = getattr(tt, name)(x)
        for lane in range(length):
            changed = x.copy()
            changed[lane] = special
            expected = plain.astype(float)
            expected[lane] = exact(name, special)
            np.testing.assert_array_equal(getattr(tt, name)(changed).astype(float), expected)


@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("name", NAMES)
def test_the_output_may_overlap_an_input(name, kind, rng):
    values, other = rng.standard_normal((2, 6, 37)).astype(np.float32)
    x, out = overlapping(kind, values)
    expected = getattr(tt, name)(values)
    assert getattr(tt, name)(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    backward = getattr(tt, f"{name}_backward")
    for place in (0, 1):
        inputs = [other, other]
        inputs[place], out = overlapping(kind, values)
        expected = backward(*(array.copy() for array in inputs))
        assert backward(*inputs, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_results_agree_with_torch(rng):
    torch = pytest.importorskip("torch")
    x, dy = rng.standard_normal((2, 8, 33)).astype(np.float32)
    functions = {
        "relu": torch.relu,
        "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.05),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }
    for name, function in functions.items():
        leaf = torch.from_numpy(x.copy()).requires_grad_()
        result = function(leaf)
        result.backward(torch.from_numpy(dy))
        y = getattr(tt, name)(x)
        np.testing.assert_allclose(y, result.detach().numpy(), rtol=1e-6)
        dx = getattr(tt, f"{name}_backward")(dy, y)
        np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-5, atol=1e-7)
