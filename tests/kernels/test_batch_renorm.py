"""Batch renorm against the specification, its limits, and its running statistics."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import (
    BATCH_NORMS,
    assert_within,
    batch_norms,
    check_forward,
    float64_error,
    largest,
    rounding,
    storage_error,
    ulp,
)
from helpers.strategies import DTYPES, OVERLAPS, PARAMETER_DTYPES, arrays, overlapping, parameters
from hypothesis import given
from hypothesis import strategies as st


def running_statistics(rng, channels, dtype):
    return {
        "running_mean": rng.standard_normal(channels).astype(dtype),
        "running_std": rng.uniform(0.5, 2, channels).astype(dtype),
    }


def copies(running):
    return {name: value.copy() for name, value in running.items()}


@given(st.data(), batch_norms(), st.sampled_from(DTYPES), st.sampled_from([{}, {"r_max": 1.2, "d_max": 0.5}]))
def test_forward_and_backward_are_accurate(data, norm, dtype, limits):
    x, dy = (data.draw(arrays(norm.shape, dtype)) for _ in range(2))
    gamma, beta = (data.draw(parameters(norm.parameter_shape, dtype)) for _ in range(2))
    running_dtype = data.draw(st.sampled_from(PARAMETER_DTYPES[dtype]))
    before = running_statistics(np.random.default_rng(1), norm.parameter_shape, running_dtype)
    running, expected_running = copies(before), {n: reference.wide(v) for n, v in copies(before).items()}
    options = {**limits, **norm.options, "momentum": 0.25}
    expected = reference.batch_renorm_forward(x, gamma, beta, **expected_running, **options)
    result = tt.batch_renorm_forward(x, gamma, beta, **running, **options)

    single = dtype.itemsize < 8
    relative = (2.0**-21 if single else 0) + float64_error(x, expected.rstd)
    for name in ("mean", "rstd", "r", "d"):
        value = getattr(expected, name)
        largest_term = np.maximum(np.abs(value), largest(x) if name == "mean" else 1)
        deviations = largest_term * (1 + np.abs(expected.r)) * (1 + 1 / expected.rstd)
        assert_within(getattr(result, name), value, 8 * relative * deviations, f"{norm} {name}")
    scale = largest(expected.r) * largest(x) * np.max(expected.rstd) + largest(expected.d)
    scale = (1 + scale) * (1 if gamma is None else largest(gamma)) + (0 if beta is None else largest(beta))
    digits = 1e-6 if single else 1e-12
    allowed = (digits + 8 * relative) * scale + storage_error(expected.y, result.y.dtype)
    assert_within(result.y, expected.y, allowed, f"{norm} y")
    for name, value in running.items():
        assert value.dtype == running_dtype
        allowed = ulp(largest(expected_running[name]) + largest(x), running_dtype) + relative * largest(x)
        assert_within(value, expected_running[name], allowed, f"{norm} {name}")

    saved = expected.mean, expected.rstd, expected.r, expected.d, gamma
    expected = reference.batch_renorm_backward(dy, x, *saved, **norm.options)
    result = tt.batch_renorm_backward(dy, x, *saved, **norm.options)
    exact = 1e-5 if single else 1e-10
    for name, value in expected._asdict().items():
        actual = getattr(result, name)
        steep = (1 + np.max(saved[1])) * (1 + largest(saved[2]) + largest(saved[3]))
        scale = largest(dy) * steep * (1 if gamma is None else max(1, largest(gamma)))
        if name != "dx":
            scale *= np.sqrt(x.size / value.size)
        stored = storage_error if name == "dx" else rounding
        allowed = exact * scale * (1 + float64_error(x, saved[1])) + stored(value, actual.dtype)
        assert_within(actual, value, allowed, f"{norm} {name}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", BATCH_NORMS, ids=str)
def test_without_corrections_it_is_batch_norm(rng, norm, dtype):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, *norm.parameter_shape)).astype(dtype)
    running = running_statistics(rng, norm.parameter_shape, dtype)
    y, mean, rstd, r, d = tt.batch_renorm_forward(x, gamma, beta, **running, r_max=1, d_max=0, **norm.options)
    batch = check_forward(norm, x, gamma, beta)
    np.testing.assert_array_equal(r, 1)
    np.testing.assert_array_equal(d, 0)
    for value, of_batch in zip((y, mean, rstd), batch, strict=True):
        np.testing.assert_array_equal(value, of_batch)
    gradients = tt.batch_renorm_backward(dy, x, mean, rstd, r, d, gamma, **norm.options)
    of_batch = tt.batch_norm_backward(dy, x, mean, rstd, gamma, **norm.options)
    for value, other in zip(gradients, of_batch[:3], strict=True):
        np.testing.assert_array_equal(value, other)


def test_without_limits_it_normalizes_by_the_running_statistics(rng):
    x = rng.standard_normal((20, 6, 3)) * 2 + 1
    running = running_statistics(rng, 6, np.float64)
    mean, std = copies(running).values()
    y = tt.batch_renorm_forward(x, **running).y
    np.testing.assert_allclose(y, tt.batch_norm(x, mean, std**2, eps=0.0), rtol=1e-12, atol=1e-12)


def test_corrections_come_from_the_statistics_before_their_update(rng):
    x = rng.standard_normal((50, 4)) * 3 + 2
    running = {"running_mean": np.zeros(4), "running_std": np.ones(4)}
    _, mean, rstd, r, d = tt.batch_renorm_forward(x, **running, momentum=1.0)
    np.testing.assert_array_equal(r, (1 / rstd).clip(0))
    np.testing.assert_array_equal(d, mean)
    np.testing.assert_array_equal(running["running_mean"], mean)
    np.testing.assert_allclose(running["running_std"], np.sqrt(x.var(0) + 1e-5), rtol=1e-13)


def test_limits_clip_in_both_directions():
    x = np.array([[92.0, -101.0], [108.0, -99.0]])
    running = {"running_mean": np.zeros(2), "running_std": np.full(2, 4.0)}
    result = tt.batch_renorm_forward(x, **running, r_max=1.5, d_max=2.0, eps=0.0)
    np.testing.assert_array_equal(result.r, [1.5, 1 / 1.5])
    np.testing.assert_array_equal(result.d, [2.0, -2.0])


@pytest.mark.parametrize("kind", OVERLAPS)
def test_out_may_overlap_an_input(rng, kind):
    x, dy = rng.standard_normal((2, 9, 5, 9))
    running = running_statistics(rng, 5, np.float64)
    expected = reference.batch_renorm_forward(x, **copies(running))
    source, out = overlapping(kind, x)
    y = tt.batch_renorm_forward(source, **running, out=out).y
    assert y is out
    np.testing.assert_allclose(y, expected.y, rtol=1e-12, atol=1e-12)
    source, out = overlapping(kind, dy)
    dx = tt.batch_renorm_backward(source, x, *expected[1:], out=out).dx
    assert dx is out
    np.testing.assert_allclose(
        dx, reference.batch_renorm_backward(dy, x, *expected[1:]).dx, rtol=1e-11, atol=1e-12
    )


def test_gradients_agree_with_central_differences(rng):
    x, gamma, beta = rng.standard_normal((5, 3, 2)), rng.standard_normal(3), rng.standard_normal(3)
    running = running_statistics(rng, 3, np.float64)
    saved = tt.batch_renorm_forward(x, gamma, beta, **copies(running), r_max=1.1, d_max=0.2)

    def forward(x, gamma, beta):
        """With constant r and d."""
        mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
        r, d, gamma, beta = (value[:, None] for value in (saved.r, saved.d, gamma, beta))
        return gamma * ((x - mean) / np.sqrt(var + 1e-5) * r + d) + beta

    np.testing.assert_allclose(forward(x, gamma, beta), saved.y, rtol=1e-12)
    tt.gradcheck(
        forward,
        lambda dy, x, gamma, beta: tt.batch_renorm_backward(dy, x, *saved[1:], gamma),
        [x, gamma, beta],
    )
