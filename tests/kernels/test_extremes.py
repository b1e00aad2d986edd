"""Results are finite wherever the exact ones are, from subnormal numbers to the largest of the dtype.

With eps = 0 a norm does not depend on the scale of its values. Powers of two are exact: for values and
gradients times such a scale, the result and dx are those of scale 1, and the statistics have the scale.
"""

import ml_dtypes
import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.strategies import WRITEABLE_LAYOUTS

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
SHAPES = [((5, 6, 4), 1), ((4, 6, 7, 7), 1), ((3, 6, 300), 1), ((3, 4, 5, 6), -1)]
NORMS = ["layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm"]
DENORMAL = 5e-324
# dtype and exponent of a scale: about 1e±30 in float32, 1e±300 in float64
EXTREMES = [(np.float32, 100), (np.float32, -100), (np.float64, 996), (np.float64, -996)]
extremes = pytest.mark.parametrize(("dtype", "k"), EXTREMES)


def norm_of(module, name, axis):
    """Forward and backward of a norm as functions of arrays alone."""
    options = {"axis": axis if name in ("group_norm", "instance_norm", "batch_norm") else -1}
    groups = (2,) if name == "group_norm" else ()

    def forward(x, **more):
        return getattr(module, f"{name}_forward")(x, *groups, **options, **more)

    def backward(dy, x, *statistics):
        return getattr(module, f"{name}_backward")(dy, x, *statistics, *groups, **options)

    return forward, backward


def numbers(rng, shape, dtype):
    """Values below 2 that are rounded to few bits, so that they are exact at subnormal scales, too."""
    return (np.round(np.clip(rng.standard_normal(shape), -1.9, 1.9) * 64) / 64).astype(dtype)


def exponents(dtype):
    """Exponents of scales, from the smallest that keeps the values exact to the largest that is finite."""
    info = ml_dtypes.finfo(dtype)
    least, most = info.minexp - info.nmant + 6, np.frexp(float(info.max))[1] - 1
    return [int(k) for k in (least, least // 2, most // 2, most)]


def scaled_by(k, *arrays):
    """The arrays times 2^k, in their dtypes."""
    scaled = [np.ldexp(array.astype(float), k).astype(array.dtype) for array in arrays]
    return scaled if len(arrays) > 1 else scaled[0]


def assert_scaled(result, expected, k, dtype):
    """The result is 2^k times the expected one, to a few roundings of the largest value."""
    error = 4e-6 if dtype == np.float32 else 1e-12
    scaled = np.ldexp(np.asarray(result, float), -k)
    np.testing.assert_allclose(scaled, expected, rtol=error, atol=error * np.abs(expected).max(initial=0))


def half(dtype, k):
    """The exponent of a scale whose square is in the range of float64."""
    return k // 2 if dtype == np.float64 else k


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NORMS)
def test_results_do_not_depend_on_the_scale(rng, name, dtype, shape, axis):
    forward, backward = norm_of(tt, name, axis)
    x, dy = numbers(rng, shape, dtype), numbers(rng, shape, dtype)
    y, *statistics = forward(x, eps=0)
    dx = backward(dy, x, *statistics).dx
    error = max(4 * float(ml_dtypes.finfo(dtype).eps), 1e-13)
    for k in exponents(dtype):
        scaled = np.ldexp(x.astype(float), k).astype(dtype)
        result, *scaled_statistics = forward(scaled, eps=0)
        np.testing.assert_allclose(result.astype(float), y.astype(float), rtol=error, atol=error)
        with np.errstate(over="ignore"):  # rstd of subnormal numbers exceeds float64
            rstd = np.ldexp(statistics[-1], -k)
        np.testing.assert_allclose(scaled_statistics[-1], rstd, rtol=1e-6)
        gradient = backward(np.ldexp(dy.astype(float), k).astype(dtype), scaled, *scaled_statistics).dx
        np.testing.assert_allclose(gradient.astype(float), dx.astype(float), rtol=16 * error, atol=16 * error)


@pytest.mark.parametrize("eps", [0, DENORMAL, 1e-78, 1e-5])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NORMS if name != "rms_norm"])
def test_constants_give_exactly_beta_and_no_gradient(rng, name, dtype, eps):
    info = ml_dtypes.finfo(dtype)
    forward, backward = norm_of(tt, name, 1)
    beta = numbers(rng, 6, dtype)
    for value in (0, 3, float(info.max), -float(info.max), float(info.smallest_subnormal), float(info.tiny)):
        x = np.full((4, 6, 6), value, dtype)
        if name == "rms_norm":
            continue
        y, *statistics = forward(x, beta=beta, eps=eps)
        along = beta if name == "layer_norm" else beta[:, None]
        np.testing.assert_array_equal(y, np.broadcast_to(along, x.shape))
        constant_dy = np.ones_like(x)
        np.testing.assert_array_equal(backward(constant_dy, x, *statistics).dx, np.zeros_like(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_huge_value_among_tiny_ones_has_the_exact_result(dtype):
    info = ml_dtypes.finfo(dtype)
    x = np.full((3, 9), float(info.smallest_subnormal), dtype)
    x[1, 4] = info.max
    x[2, 4] = -float(info.max)
    y = tt.layer_norm(x, eps=0).astype(float)
    expected = np.zeros((3, 9))
    expected[1:] = -1 / np.sqrt(8)
    expected[1:, 4] = np.sqrt(8)
    expected[2] *= -1
    np.testing.assert_allclose(y, expected, rtol=2 * float(info.eps))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NORMS)
def test_in_place_results_have_the_same_bits(rng, name, dtype):
    forward, _ = norm_of(tt, name, 1)
    x = numbers(rng, (4, 6, 7, 7), dtype) * (0.25 * np.finfo(dtype).max).astype(dtype)
    x[::2] = numbers(rng, x[::2].shape, dtype)
    expected = forward(x).y
    assert np.isfinite(expected).all()
    over = x.copy()
    assert forward(over, out=over).y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("axis", [1, -1])
def test_residual_and_relu_near_the_largest_number_are_finite(rng, axis):
    x = numbers(rng, (6, 4, 4), np.float64) * 1e300
    residual = numbers(rng, x.shape, np.float64)
    fused = tt.batch_norm_forward(x, axis=axis, residual=residual, activation="relu")
    expected = reference.batch_norm_forward(x, axis=axis, residual=residual, activation="relu")
    np.testing.assert_allclose(fused.y, expected.y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fused.mean, expected.mean, rtol=1e-12, atol=1e285)


@pytest.mark.parametrize("intruder", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_stay_beside_rows_near_the_largest_number(rng, intruder):
    for dtype in (np.float32, np.float64):
        x = numbers(rng, (5, 40), dtype) * (0.4 * np.finfo(dtype).max).astype(dtype)
        alone = tt.layer_norm(x)
        x[2, 7] = intruder
        y = tt.layer_norm(x)
        assert np.isnan(y[2]).any()
        assert np.delete(y, 2, 0).tobytes() == np.delete(alone, 2, 0).tobytes()


def test_rows_without_values_have_no_statistics():
    for _ in range(8):
        tt.layer_norm_forward(np.full((40, 300), 7.5))
    y, mean, rstd = tt.layer_norm_forward(np.zeros((40, 0)))
    assert y.shape == (40, 0)
    assert np.isnan(mean).all()
    assert np.isnan(rstd).all()
    assert np.isnan(tt.rms_norm_forward(np.zeros((40, 0))).rstd).all()


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e150, 1e200])
def test_moments_of_parts_combine_at_any_scale(rng, scale):
    means = np.array([[1.0], [3.0]]) * scale
    variances = np.zeros((2, 1))
    mean, var, count = tt.combine_moments(means, variances, [2, 2])
    np.testing.assert_allclose(mean, 2 * scale, rtol=1e-15)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(var, np.square(np.float64(scale)), rtol=1e-14)
    assert count == 4


def test_running_statistics_of_constants_near_the_largest_number_are_exact():
    for value in (1e155, -1e307, 1e-310):
        mean, var = np.zeros(1), np.ones(1)
        tt.batch_norm_forward(np.full((4, 1), value), running_mean=mean, running_var=var)
        np.testing.assert_allclose(mean, 0.1 * value, rtol=1e-12, atol=1e-323)
        np.testing.assert_allclose(var, 0.9)


@pytest.mark.parametrize("value", [1e-200, 1e-320, 1e200, 8e307])
def test_the_norm_of_gradients_is_finite_at_any_scale(value):
    g = np.full(4, value)
    norm = tt.clip_grad_norm([g], value / 2)
    np.testing.assert_allclose(norm, np.float64(2) * value, rtol=1e-2 if value < 1e-300 else 1e-12)
    np.testing.assert_allclose(g, value / 4, rtol=1e-2 if value < 1e-300 else 1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_and_lengths_near_the_largest_number_are_finite(dtype):
    most = 0.9 * np.finfo(dtype).max
    logits = np.array([[most, -most, 0]], dtype)
    loss, dlogits = tt.softmax_cross_entropy(logits, np.array([0]))
    assert loss == 0
    np.testing.assert_array_equal(dlogits, np.zeros((1, 3)))
    pred = np.array([most, -most], dtype)
    loss, dpred = tt.huber(pred, -pred / 2, delta=1.0)
    np.testing.assert_allclose(loss, 1.5 * np.float64(most) if dtype == np.float32 else np.inf, rtol=1e-6)
    np.testing.assert_array_equal(dpred, np.array([0.5, -0.5]))
    w = np.array([[most, most]], dtype)
    np.testing.assert_allclose(tt.max_norm(w, 2.0, axis=1), np.full((1, 2), np.sqrt(2)), rtol=1e-6)


# ---- functions at scales of 1e±30 and 1e±300 ----


@extremes
def test_inference_does_not_depend_on_the_scale(rng, dtype, k):
    x, residual = numbers(rng, (2, 6, 5, 7), dtype)
    mean, var, gamma, beta = (
        rng.standard_normal(5),
        rng.uniform(0.5, 2, 5),
        rng.uniform(1, 2, 5),
        np.arange(5.0),
    )
    options = {"residual": residual, "activation": "relu", "eps": 0}
    y = tt.batch_norm(x, mean, var, gamma, beta, **options)
    np.testing.assert_allclose(y, reference.batch_norm(x, mean, var, gamma, beta, **options), atol=1e-5)
    by_gamma = tt.batch_norm(scaled_by(k, x), scaled_by(k, mean), var, scaled_by(-k, gamma), beta, **options)
    assert_scaled(by_gamma, y, 0, dtype)
    h = half(dtype, k)
    by_var = tt.batch_norm(scaled_by(h, x), scaled_by(h, mean), scaled_by(2 * h, var), gamma, beta, **options)
    assert_scaled(by_var, y, 0, dtype)


@extremes
@pytest.mark.parametrize("size", [None, 2, 4])
def test_batch_norm_in_blocks_does_not_depend_on_the_scale(rng, dtype, k, size):
    x, dy = numbers(rng, (2, 6, 5, 7), dtype)
    gamma, beta = rng.uniform(1, 2, (2, 5)).astype(dtype)

    def run(x, dy):
        y, mean, rstd = tt.batch_norm_forward(x, gamma, beta, eps=0, virtual_batch_size=size)
        return y, mean, rstd, *tt.batch_norm_backward(dy, x, mean, rstd, gamma, virtual_batch_size=size)[:3]

    powers = (0, 1, -1, 0, 1, 1)  # of the scale: y, mean, rstd, dx, dgamma, dbeta
    for result, expected, power in zip(run(*scaled_by(k, x, dy)), run(x, dy), powers, strict=True):
        assert_scaled(result, expected, power * k, dtype)


@extremes
def test_batch_renorm_does_not_depend_on_the_scale(rng, dtype, k):
    x, dy = numbers(rng, (2, 6, 5, 7), dtype)
    gamma, beta, running_mean = rng.uniform(1, 2, (3, 5)).astype(dtype)
    running_std = rng.uniform(0.5, 2, 5).astype(dtype)

    def run(x, dy, running_mean, running_std):
        running = {"running_mean": running_mean.copy(), "running_std": running_std.copy()}
        limits = {"r_max": 1.5, "d_max": 0.5}
        forward = tt.batch_renorm_forward(x, gamma, beta, **running, **limits, eps=0, momentum=0.25)
        gradients = tt.batch_renorm_backward(dy, x, *forward[1:], gamma)
        return *forward, *running.values(), *gradients

    powers = (
        0,
        1,
        -1,
        0,
        0,
        1,
        1,
        0,
        1,
        1,
    )  # y, mean, rstd, r, d, both running statistics, dx, dgamma, dbeta
    arrays = x, dy, running_mean, running_std
    for result, expected, power in zip(run(*scaled_by(k, *arrays)), run(*arrays), powers, strict=True):
        assert_scaled(result, expected, power * k, dtype)


@extremes
def test_parts_of_batch_norm_do_not_depend_on_the_scale(rng, dtype, k):
    x, dy = numbers(rng, (2, 6, 5, 7), dtype)
    gamma, beta = rng.uniform(1, 2, (2, 5))
    h = half(dtype, k)
    mean, var, count = tt.batch_moments(x)
    moments = tt.batch_moments(scaled_by(h, x))
    assert_scaled(moments.mean, mean, h, dtype)
    assert_scaled(moments.var, var, 2 * h, dtype)
    assert_scaled(tt.batch_moments(scaled_by(k, x)).mean, mean, k, dtype)

    def run(x, dy, mean, rstd):
        sums = tt.batch_norm_backward_sums(dy, x, mean, rstd)
        dx = tt.batch_norm_backward_apply(dy, x, mean, rstd, gamma, *sums, count)
        return tt.batch_norm_apply(x, mean, rstd, gamma, beta), *sums, dx

    rstd = 1 / np.sqrt(var)
    scaled = run(*scaled_by(k, x, dy, mean), scaled_by(-k, rstd))
    for result, expected, power in zip(scaled, run(x, dy, mean, rstd), (0, 1, 1, 0), strict=True):
        assert_scaled(result, expected, power * k, dtype)


@pytest.mark.parametrize("eps", [0, 1e-5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_units_of_one_value_give_exactly_beta_and_no_gradient(rng, dtype, eps):
    """One channel of one pixel for each group, and planes of one pixel."""
    info = ml_dtypes.finfo(dtype)
    beta = numbers(rng, 6, dtype)
    ends = [0, float(info.max), -float(info.max), float(info.tiny), float(info.smallest_subnormal)]
    x = rng.choice(ends, (4, 6, 1)).astype(dtype)
    for name, groups in (("group_norm", (6,)), ("instance_norm", ())):
        y, *statistics = getattr(tt, f"{name}_forward")(x, *groups, beta=beta, eps=eps)
        np.testing.assert_array_equal(y[..., 0], np.broadcast_to(beta, (4, 6)))
        np.testing.assert_array_equal(statistics[0].ravel(), x.astype(float).ravel())
        gradients = getattr(tt, f"{name}_backward")(np.ones_like(x), x, *statistics, *groups)
        np.testing.assert_array_equal(gradients.dx, np.zeros_like(x))
        np.testing.assert_array_equal(gradients.dgamma, np.zeros(6))
        np.testing.assert_array_equal(gradients.dbeta, np.full(6, 4))


@extremes
@pytest.mark.parametrize("name", NORMS)
def test_parameter_gradients_have_the_scale_of_dy(rng, name, dtype, k):
    """For an x of any scale; dy may even have the reciprocal scale."""
    forward, backward = norm_of(tt, name, 1)
    x, dy = numbers(rng, (2, 4, 6, 7, 7), dtype)
    expected = backward(dy, x, *forward(x, eps=0)[1:])
    scaled = scaled_by(k, x)
    statistics = forward(scaled, eps=0)[1:]
    for exponent in (0, k, -k):
        gradients = backward(scaled_by(exponent, dy), scaled, *statistics)
        for result, value in zip(gradients[1:3], expected[1:3], strict=True):
            if result is not None:
                assert_scaled(result, value, exponent, dtype)


@extremes
@pytest.mark.parametrize("name", NORMS)
def test_memory_order_does_not_change_bits_at_any_scale(rng, name, dtype, k):
    forward, backward = norm_of(tt, name, 1)
    x, dy = scaled_by(k, *numbers(rng, (2, 4, 6, 5, 8), dtype))
    expected = forward(x, eps=0)
    gradients = backward(dy, x, *expected[1:])
    for layout in ("Fortran", "last axis outermost", "every other", "every third, backwards"):
        moved = WRITEABLE_LAYOUTS[layout]
        result = forward(moved(x), eps=0)
        for one, other in zip(result, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(backward(moved(dy), moved(x), *result[1:]), gradients, strict=True):
            np.testing.assert_array_equal(one, other)


@extremes
def test_penalties_and_squared_errors_have_the_square_of_the_scale(rng, dtype, k):
    w, target = numbers(rng, (2, 50, 30), dtype)
    h = half(dtype, k)
    assert_scaled(tt.penalty([scaled_by(k, w), w[:0]], l1=1.0), tt.penalty(w, l1=1.0), k, dtype)
    assert_scaled(tt.penalty(scaled_by(h, w), l2=1.0), tt.penalty(w, l2=1.0), 2 * h, dtype)
    for reduction in ("mean", "sum"):
        loss, dpred = tt.mse(w, target, reduction=reduction)
        assert_scaled(tt.mse(*scaled_by(h, w, target), reduction=reduction).loss, loss, 2 * h, dtype)
        assert_scaled(tt.mse(*scaled_by(k, w, target), reduction=reduction).dpred, dpred, k, dtype)


@extremes
def test_the_update_and_its_statistics_have_the_scale(rng, dtype, k):
    arrays = numbers(rng, (3, 50, 30), dtype)
    h = half(dtype, k)
    options = {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.25, "grad_scale": 0.5, "statistics": True}

    def run(exponent):
        w, g, v = scaled_by(exponent, *arrays)
        return w, v, tt.sgd_update(w, g, v, **options)

    w, v, sums = run(0)
    scaled_w, scaled_v, scaled = run(k)
    for result, expected in (
        (scaled_w, w),
        (scaled_v, v),
        (scaled.l1_norm, sums.l1_norm),
        (scaled.grad_norm, sums.grad_norm),
    ):
        assert_scaled(result, expected, k, dtype)
    assert_scaled(run(h)[2].l2_norm_sq, sums.l2_norm_sq, 2 * h, dtype)


def test_var_and_eps_may_sum_to_more_than_the_largest_double():
    x, var, eps = np.array([[1e154, -3e153], [0.0, 1e154]]), np.array([1e308, 1.7e308]), 1e308
    std = np.sqrt(var / 1e308 + eps / 1e308)  # / 1e154
    expected = x / 1e154 / std
    np.testing.assert_allclose(tt.batch_norm(x, [0.0, 0.0], var, eps=eps), expected, rtol=1e-15)
    weight, bias = tt.fold_batch_norm(x, [1e154, 1e154], [0.0, 0.0], var, eps=eps, axis=1)
    np.testing.assert_allclose(weight, expected, rtol=1e-15)
    np.testing.assert_allclose(bias, 1 / std, rtol=1e-15)
    infinite = tt.batch_norm(x, [0.0, 0.0], [np.inf, np.nan], eps=eps)
    np.testing.assert_array_equal(infinite, [[0, np.nan], [0, np.nan]])
