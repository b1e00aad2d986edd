"""Batch norm in parts against the specification, and in several processes against one."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import (
    BATCH_NORMS,
    FLOAT64_ERROR,
    STATISTIC_ERROR,
    arithmetic,
    assert_within,
    batch_norms,
    check_forward,
    float64_error,
    largest,
)
from helpers.strategies import BFLOAT16, DTYPES, arrays, parameters
from hypothesis import given
from hypothesis import strategies as st


@given(st.data(), batch_norms(), st.sampled_from(DTYPES))
def test_batch_moments_are_accurate(data, norm, dtype):
    x = data.draw(arrays(norm.shape, dtype))
    mean, var, count = reference.batch_moments(x, **norm.options)
    result = tt.batch_moments(x, **norm.options)
    assert result._fields == ("mean", "var", "count")
    assert type(result.count) is int
    assert result.count == count
    error = STATISTIC_ERROR[arithmetic(dtype)]
    assert_within(result.mean, mean, error * np.sqrt(var) + FLOAT64_ERROR * largest(x), f"{norm} mean")
    relative = 2 * error + float64_error(x, 1 / np.sqrt(np.maximum(var, 1e-300)))
    assert_within(result.var, var, relative * var + (FLOAT64_ERROR * largest(x)) ** 2, f"{norm} var")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", BATCH_NORMS, ids=str)
def test_the_parts_compose_to_batch_norm(rng, norm, dtype):
    """Statistics, result and parameter gradients bit for bit, dx within a few roundings."""
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, *norm.parameter_shape)).astype(dtype)
    whole = check_forward(norm, x, gamma, beta)
    mean, var, count = tt.batch_moments(x, **norm.options)
    rstd = 1 / np.sqrt(var + 1e-5)
    y = tt.batch_norm_apply(x, mean, rstd, gamma, beta, **norm.options)
    for part, of_whole in ((mean, whole.mean), (rstd, whole.rstd), (y, whole.y)):
        np.testing.assert_array_equal(part, of_whole)

    gradients = tt.batch_norm_backward(dy, x, mean, rstd, gamma, **norm.options)
    sums = tt.batch_norm_backward_sums(dy, x, mean, rstd, **norm.options)
    np.testing.assert_array_equal(sums.sum_dy.astype(dtype), gradients.dbeta)
    np.testing.assert_array_equal(sums.sum_dy_xhat.astype(dtype), gradients.dgamma)
    dx = tt.batch_norm_backward_apply(dy, x, mean, rstd, gamma, *sums, count, **norm.options)
    np.testing.assert_allclose(dx.astype(np.float64), gradients.dx.astype(np.float64), rtol=1e-2, atol=1e-6)
    constant = tt.batch_norm_backward_apply(dy, x, mean, rstd, gamma, *sums, np.inf, **norm.options)
    expected = tt.batch_norm_backward(dy, x, mean, rstd, gamma, training=False, **norm.options).dx
    np.testing.assert_array_equal(constant, expected)


@given(st.data(), batch_norms(), st.sampled_from(DTYPES))
def test_sums_and_gradient_are_accurate(data, norm, dtype):
    dy, x = data.draw(arrays(norm.shape, dtype)), data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    _, mean, rstd = reference.batch_norm_forward(x, **norm.options)
    sums = tt.batch_norm_backward_sums(dy, x, mean, rstd, **norm.options)
    expected = reference.batch_norm_backward_sums(dy, x, mean, rstd, **norm.options)
    digits = 1e-10 if dtype.itemsize == 8 else 1e-5
    exact = (1 + float64_error(x, rstd)) * largest(dy)
    for name, part, value in zip(sums._fields, sums, expected, strict=True):
        assert part.dtype == np.float64
        assert_within(part, value, digits * exact * np.sqrt(x.size) * max(1, largest(x)), f"{norm} {name}")
    arguments = (dy, x, mean, rstd, gamma, *expected, 3 * x.size)  # sums of a larger batch
    dx = reference.batch_norm_backward_apply(*arguments, **norm.options)
    steepest = np.max(rstd) * (1 if gamma is None else largest(gamma))
    stored = 2.0**-8 * np.abs(dx) if dtype.itemsize == 2 else 0
    result = tt.batch_norm_backward_apply(*arguments, **norm.options)
    assert_within(result, dx, stored + digits * exact * max(1, steepest), f"{norm} dx")


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_synchronized_batch_norm_equals_that_of_one_process(rng, dtype, axis):
    """Three processes with parts of different sizes, one of them empty."""
    shape = (12, 5, 4, 3) if axis == 1 else (12, 4, 3, 5)
    dy, x = rng.standard_normal((2, *shape)).astype(dtype)
    x += 100
    gamma, beta = rng.standard_normal((2, 5)).astype(dtype)
    parts = [slice(0, 7), slice(7, 7), slice(7, 12)]

    means, variances, counts = zip(*(tt.batch_moments(x[part], axis=axis) for part in parts), strict=True)
    assert counts == (84, 0, 60)
    mean, var, count = tt.combine_moments(means, variances, counts)
    rstd = 1 / np.sqrt(var + 1e-5)
    sums = np.sum([tt.batch_norm_backward_sums(dy[p], x[p], mean, rstd, axis=axis) for p in parts], axis=0)
    y = [tt.batch_norm_apply(x[p], mean, rstd, gamma, beta, axis=axis) for p in parts]
    dx = [
        tt.batch_norm_backward_apply(dy[p], x[p], mean, rstd, gamma, *sums, count, axis=axis) for p in parts
    ]

    exact = {"rtol": 1e-12, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-5}
    one = tt.batch_norm_forward(x, gamma, beta, axis=axis)
    np.testing.assert_allclose(np.concatenate(y), one.y, **exact)
    np.testing.assert_allclose(mean, one.mean, rtol=1e-7)
    np.testing.assert_allclose(rstd, one.rstd, rtol=1e-7)
    gradients = tt.batch_norm_backward(dy, x, one.mean, one.rstd, gamma, axis=axis)
    np.testing.assert_allclose(np.concatenate(dx), gradients.dx, **exact)
    np.testing.assert_allclose(sums[1], gradients.dgamma, **exact)
    np.testing.assert_allclose(sums[0], gradients.dbeta, **exact)


@pytest.mark.parametrize("shape", [(0, 5), (0, 5, 3), (2, 5, 0)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_parts_without_values_have_zero_moments(shape, dtype):
    x, statistic = np.empty(shape, dtype), np.ones(5)
    for result in (tt.batch_moments(x)[:2], tt.batch_norm_backward_sums(x, x, statistic, statistic)):
        np.testing.assert_array_equal(result, np.zeros((2, 5)))
    assert tt.batch_moments(x).count == 0
    for result in (
        tt.batch_norm_apply(x, statistic, statistic),
        tt.batch_norm_backward_apply(x, x, statistic, statistic, None, statistic, statistic, 7),
    ):
        assert (result.shape, result.dtype) == (shape, dtype)


def test_combined_moments_are_those_of_all_values(rng):
    x = [rng.standard_normal((n, 3)) * 1e-3 + 1e6 for n in (5, 1, 40, 2)]
    moments = zip(*map(tt.batch_moments, x), strict=True)
    mean, var, count = tt.combine_moments(*moments)
    whole = np.concatenate(x)
    assert count == 48
    np.testing.assert_allclose(mean, whole.mean(0), rtol=1e-15)
    np.testing.assert_allclose(var, whole.var(0), rtol=1e-6)  # relative to values with so many leading digits


def test_parts_of_any_shape_combine(rng):
    means, variances = rng.standard_normal((4, 2, 3)), rng.uniform(1, 2, (4, 2, 3))
    counts = np.array([3, 1, 0, 2])
    result = tt.combine_moments(means, variances, counts)
    expected = reference.combine_moments(means, variances, counts)
    assert result.count == 6
    np.testing.assert_allclose(result.mean, expected.mean, rtol=1e-14)
    np.testing.assert_allclose(result.var, expected.var, rtol=1e-14)
    one = tt.combine_moments([2.0, 4.0], [0.0, 0.0], (1, 1))
    assert (one.mean, one.var, one.count) == (3.0, 1.0, 2)


def test_empty_parts_do_not_count():
    nothing = tt.combine_moments(np.full((2, 3), np.nan), np.full((2, 3), np.nan), [0, 0])
    np.testing.assert_array_equal(nothing.mean, np.zeros(3))
    np.testing.assert_array_equal(nothing.var, np.zeros(3))
    mean, var, count = tt.combine_moments([[np.nan], [2.0]], [[np.inf], [3.0]], [0, 5])
    assert (mean, var, count) == (2.0, 3.0, 5)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "b", "u1", "i4", "u8", BFLOAT16, list], ids=str)
def test_counts_are_whole_numbers_of_any_dtype(dtype):
    counts = [4.0, 3] if dtype is list else np.array([4, 3], dtype)
    mean, var, count = tt.combine_moments(np.array([[1.0], [2.0]]), np.ones((2, 1)), counts)
    assert type(count) is int
    assert count == 7
    np.testing.assert_allclose(mean, [10 / 7], rtol=1e-15)
    np.testing.assert_allclose(var, [1 + 12 / 49], rtol=1e-15)


def test_large_counts_are_exact():
    assert tt.combine_moments(np.ones((2, 1)), np.ones((2, 1)), [2**60 + 1, 2]).count == 2**60 + 3
