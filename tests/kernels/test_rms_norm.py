"""RMS norm, and norms of a sum: any axes, shapes, dtypes and memory."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import (
    DX_ERROR,
    FLOAT64_ERROR,
    STATISTIC_ERROR,
    SUM_ERROR,
    arithmetic,
    assert_normalized,
    assert_within,
    check_forward,
    check_overlaps,
    layer_norm,
    layer_norms,
    native,
    rounding,
    storage_error,
)
from helpers.strategies import DTYPES, OVERLAPS, WRITEABLE_LAYOUTS, arrays, parameters
from hypothesis import assume, given
from hypothesis import strategies as st


def check(norm, x, gamma, *, eps=1e-6, out=None):
    """y within 2 ulps, rstd within its error. Returns the result of the library."""
    expected = reference.rms_norm_forward(x, gamma, eps=eps, **norm.options)
    result = tt.rms_norm_forward(x, gamma, eps=eps, out=out, **norm.options)
    statistic = STATISTIC_ERROR[arithmetic(x.dtype)]
    assert_normalized(
        result.y, expected.y, [expected.y], x.dtype, 2, FLOAT64_ERROR + statistic / 4, f"{norm} y"
    )
    assert result.rstd.dtype == np.float64
    assert_within(result.rstd, expected.rstd, (statistic + FLOAT64_ERROR) * expected.rstd, f"{norm} rstd")
    return result


def check_gradients(norm, dy, x, gamma, *, out=None):
    """dx and dgamma relative to the sum of the magnitudes of their terms."""
    rstd = reference.rms_norm_forward(x, **norm.options).rstd
    expected = reference.rms_norm_backward(dy, x, rstd, gamma, **norm.options)
    spread = norm.spread(rstd)
    xhat = reference.wide(x) * spread
    along = None if gamma is None else reference.along(gamma, norm.parameter_axes, x.ndim)
    h = np.abs(reference.affine(reference.wide(dy), along, None))
    dx_terms = spread * (h + np.abs(xhat) * norm.mean(np.broadcast_to(h * np.abs(xhat), x.shape)))
    dgamma_terms = np.abs(reference.wide(dy) * xhat).sum(reference.others(norm.parameter_axes, x.ndim))
    result = tt.rms_norm_backward(dy, x, rstd, gamma, out=out, **norm.options)
    dtype = arithmetic(x.dtype)
    assert result.dx.dtype == native(x.dtype)
    assert result.dgamma.dtype == native((x if gamma is None else gamma).dtype)
    allowed = (DX_ERROR[dtype] + FLOAT64_ERROR) * dx_terms + storage_error(expected.dx, result.dx.dtype)
    assert_within(result.dx, expected.dx, allowed, f"{norm} dx")
    allowed = (SUM_ERROR[dtype] + FLOAT64_ERROR) * dgamma_terms
    allowed = allowed + rounding(expected.dgamma, result.dgamma.dtype)
    assert_within(result.dgamma, expected.dgamma, allowed, f"{norm} dgamma")
    return result


@given(st.data(), layer_norms(), st.sampled_from(DTYPES), st.sampled_from([0, 1e-6, 0.1]))
def test_forward_is_accurate(data, norm, dtype, eps):
    x = data.draw(arrays(norm.shape, dtype))
    assume(eps > 0 or np.all(norm.mean(np.square(reference.wide(x))) > 0))  # otherwise rstd is infinite
    check(norm, x, data.draw(parameters(norm.parameter_shape, dtype)), eps=eps)


@given(st.data(), layer_norms(), st.sampled_from(DTYPES))
def test_backward_is_accurate(data, norm, dtype):
    dy, x = data.draw(arrays(norm.shape, dtype)), data.draw(arrays(norm.shape, dtype))
    check_gradients(norm, dy, x, data.draw(parameters(norm.parameter_shape, dtype)))


@given(st.data(), layer_norms(), st.sampled_from(DTYPES))
def test_rms_norm_gives_the_y_of_forward(data, norm, dtype):
    x = data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    np.testing.assert_array_equal(tt.rms_norm(x, gamma, **norm.options), check(norm, x, gamma).y)


@given(st.data(), layer_norms(), st.sampled_from(DTYPES))
def test_the_norm_of_a_sum_normalizes_the_rounded_sum(data, norm, dtype):
    """The sum is rounded to its dtype once."""
    x, residual = data.draw(arrays(norm.shape, dtype)), data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    beta = data.draw(parameters(norm.parameter_shape, dtype))
    total = (x.astype(arithmetic(dtype)) + residual.astype(arithmetic(dtype))).astype(native(dtype))
    y, summed, mean, rstd = tt.add_layer_norm_forward(x, residual, gamma, beta, **norm.options)
    np.testing.assert_array_equal(summed, total)
    for got, expected in zip((y, mean, rstd), check_forward(norm, total, gamma, beta), strict=True):
        np.testing.assert_array_equal(got, expected)
    y, summed, rstd = tt.add_rms_norm_forward(x, residual, gamma, **norm.options)
    np.testing.assert_array_equal(summed, total)
    for got, expected in zip((y, rstd), check(norm, total, gamma), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
def test_out_in_any_memory_is_written_and_returned(rng, dtype, layout):
    norm = layer_norm((7, 37))
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    out = WRITEABLE_LAYOUTS[layout](np.zeros_like(x))
    assert check(norm, x, None, out=out).y is out
    assert check_gradients(norm, dy, x, None, out=out).dx is out


@pytest.mark.parametrize("kind", OVERLAPS)
def test_out_may_overlap_an_input(rng, kind):
    norm = layer_norm((37, 300))
    x, dy = rng.standard_normal((2, *norm.shape)).astype(np.float32)
    check_overlaps(
        kind,
        x,
        dy,
        lambda x, out: check(norm, x, None, out=out).y,
        lambda dy, x, out: check_gradients(norm, dy, x, None, out=out).dx,
    )


@pytest.mark.parametrize("magnitude", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 64, 1000, 4097, 70_001])
def test_any_magnitude_and_width_is_accurate(rng, magnitude, width):
    x, dy = rng.standard_normal((2, 5, width)).astype(np.float32)
    norm = layer_norm(x.shape)
    check(norm, (x * magnitude).astype(np.float32), None, eps=0)
    check_gradients(norm, dy, (x * magnitude).astype(np.float32), None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_row(rng, value):
    x = rng.standard_normal((3, 130)).astype(np.float32)
    clean = tt.rms_norm(x)
    for lane in range(x.shape[1]):
        spoiled = x.copy()
        spoiled[1, lane] = value
        y = tt.rms_norm(spoiled)
        np.testing.assert_array_equal(y[::2], clean[::2])
        assert np.isnan(y[1, lane])


def test_the_result_does_not_depend_on_the_scale_of_the_input(rng):
    """RMS(a x) = RMS(x) for a > 0, exactly for powers of two."""
    x = rng.standard_normal((7, 33))
    np.testing.assert_array_equal(tt.rms_norm(1024 * x, eps=0), tt.rms_norm(x, eps=0))


def test_rms_norm_of_values_with_mean_zero_is_layer_norm(rng):
    x = rng.standard_normal((7, 32))
    x = np.concatenate([x, -x], axis=1)
    np.testing.assert_allclose(tt.rms_norm(x, eps=1e-5), tt.layer_norm(x, eps=1e-5), rtol=1e-13, atol=1e-14)


def test_gradients_agree_with_central_differences(rng):
    x, gamma = rng.standard_normal((4, 9)), rng.standard_normal(9)

    def backward(dy, x, gamma):
        return tt.rms_norm_backward(dy, x, tt.rms_norm_forward(x, gamma).rstd, gamma)

    assert tt.gradcheck(tt.rms_norm, backward, [x, gamma])


def test_empty_arrays_stay_empty():
    y, rstd = tt.rms_norm_forward(np.empty((0, 5), np.float32))
    assert y.shape == (0, 5)
    assert rstd.shape == (0,)
    assert tt.rms_norm_backward(y, y, rstd).dgamma.tolist() == [0] * 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_agree_with_torch(rng, dtype):
    torch = pytest.importorskip("torch")
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    x, dy = rng.standard_normal((2, 6, 5, 33)).astype(dtype)
    gamma = rng.standard_normal((5, 33)).astype(dtype)
    tensors = [torch.from_numpy(array).requires_grad_() for array in (x, gamma)]
    expected = torch.nn.functional.rms_norm(tensors[0], (5, 33), tensors[1], eps=1e-6)
    expected.backward(torch.from_numpy(dy))
    y, rstd = tt.rms_norm_forward(x, gamma, axis=(1, 2))
    np.testing.assert_allclose(y, expected.detach().numpy(), **tolerance)
    gradients = tt.rms_norm_backward(dy, x, rstd, gamma, axis=(1, 2))
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), **tolerance)
