"""Softmax and its logarithm: accuracy, the ends of the range, NaN, any axis, gradients, PyTorch."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import arithmetic, assert_within, rounding, storage_error
from helpers.strategies import DTYPES, LAYOUTS, arrays, shapes
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

NAMES = ("softmax", "log_softmax")
EPS = {np.dtype(np.float32): 6e-8, np.dtype(np.float64): 1.2e-16}


@given(st.data(), st.sampled_from(NAMES), shapes(max_dims=3), st.sampled_from(DTYPES))
def test_results_and_gradients_are_accurate(data, name, shape, dtype):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x, dy = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    eps = EPS[arithmetic(dtype)]
    expected = getattr(reference, name)(x, axis=axis)
    got = getattr(tt, name)(x, axis=axis)
    spread = np.ptp(reference.wide(x)) + 2
    assert got.dtype == dtype
    allowed = 8 * eps * (spread if name == "log_softmax" else np.abs(expected) * spread)
    # Exponentials are rounded twice among the subnormal numbers
    allowed = (
        allowed + storage_error(expected, got.dtype) + 2 * np.finfo(arithmetic(dtype)).smallest_subnormal
    )
    assert_within(got, expected, allowed, name)

    gradient = getattr(reference, f"{name}_backward")(dy, got, axis=axis)
    dx = getattr(tt, f"{name}_backward")(dy, got, axis=axis)
    size = np.abs(reference.wide(dy)).sum(axis, keepdims=True) + 0 * gradient
    allowed = 8 * eps * size + storage_error(gradient, dx.dtype) + rounding(gradient, arithmetic(dtype))
    assert_within(dx, gradient, allowed, f"{name}_backward")


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 64, 1000, 1025, 5000])
@pytest.mark.parametrize("name", NAMES)
def test_rows_of_any_width(name, width, rng):
    for dtype in (np.float32, np.float64):
        x = rng.uniform(-30, 30, (3, width)).astype(dtype)
        allowed = {"rtol": 40 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
        assert_allclose(getattr(tt, name)(x), getattr(reference, name)(x), **allowed)


def test_several_axes_are_one_row(rng):
    x, dy = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    for name in NAMES:
        y = getattr(tt, name)(x, axis=(1, 3))
        assert_allclose(y, getattr(reference, name)(x, axis=(1, 3)), rtol=1e-13)
        dx = getattr(tt, f"{name}_backward")(dy, y, axis=(3, -3))
        assert_allclose(dx, getattr(reference, f"{name}_backward")(dy, y, axis=(1, 3)), atol=1e-14)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_any_memory_is_read(name, layout, rng):
    x = LAYOUTS[layout](rng.standard_normal((6, 5)))
    for axis in (0, 1):
        assert_allclose(getattr(tt, name)(x, axis=axis), getattr(reference, name)(x, axis=axis), rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_of_any_size_are_safe(dtype):
    largest = 6e4 if dtype == "float16" else 3e38
    x = np.array([[largest, -largest, 0], [-largest, -largest, -largest], [-np.inf, 1, -np.inf]], dtype)
    third = np.array(1 / 3, dtype).astype(float)
    assert_allclose(tt.softmax(x).astype(float), [[1, 0, 0], [third] * 3, [0, 1, 0]], rtol=1e-6)
    log = tt.log_softmax(x).astype(float)
    assert_allclose(log[1], -np.log(3), rtol=1e-2)
    assert_array_equal(log[2], [-np.inf, 0, -np.inf])
    assert log[0, 0] == 0


@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_inf_stay_in_their_row(dtype, name, special, rng):
    x = rng.standard_normal((3, 37)).astype(dtype)
    plain = getattr(tt, name)(x)
    for lane in range(37):
        changed = x.copy()
        changed[1, lane] = special
        y = getattr(tt, name)(changed)
        assert np.isnan(y[1].astype(float)).any()
        assert_array_equal(y[::2], plain[::2])
    x[1] = -np.inf
    y = getattr(tt, name)(x)
    assert np.isnan(y[1].astype(float)).all()
    assert_array_equal(y[::2], plain[::2])


def test_the_result_may_be_written_over_its_inputs(rng):
    x, dy = rng.standard_normal((5, 37)).astype(np.float32), rng.standard_normal((5, 37)).astype(np.float32)
    for name in NAMES:
        for axis in (0, 1):
            y = getattr(tt, name)(x, axis=axis)
            place = x.copy()
            assert getattr(tt, name)(place, axis=axis, out=place) is place
            assert_array_equal(place, y)
            dx = getattr(tt, f"{name}_backward")(dy, y, axis=axis)
            for over in (0, 1):
                inputs = [dy.copy(), y.copy()]
                getattr(tt, f"{name}_backward")(*inputs, axis=axis, out=inputs[over])
                assert_array_equal(inputs[over], dx)


def test_empty_arrays():
    for shape in ((0, 3), (3, 0)):
        for name in NAMES:
            assert getattr(tt, name)(np.zeros(shape)).shape == shape
            assert getattr(tt, f"{name}_backward")(np.zeros(shape), np.zeros(shape)).shape == shape


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_results_agree_with_torch(name, axis, rng):
    torch = pytest.importorskip("torch")
    x, dy = 5 * rng.standard_normal((4, 9, 6)), rng.standard_normal((4, 9, 6))
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    result = getattr(torch, name)(leaf, axis)
    result.backward(torch.from_numpy(dy))
    y = getattr(tt, name)(x, axis=axis)
    assert_allclose(y, result.detach().numpy(), rtol=1e-12, atol=1e-15)
    assert_allclose(getattr(tt, f"{name}_backward")(dy, y, axis=axis), leaf.grad.numpy(), atol=1e-14)
