"""Results are finite wherever the exact ones are: from subnormal numbers to the largest of the dtype.

With eps = 0 a norm does not depend on the unit of its values. Powers of two change no digit: of values and
gradients in such a unit, the result and dx are those of unit 1, and the statistics are in the unit.
"""

import ml_dtypes
import numpy as np
import pytest
import reference
import trimtab as tt

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
SHAPES = [((5, 6, 4), 1), ((4, 6, 7, 7), 1), ((3, 6, 300), 1), ((3, 4, 5, 6), -1)]
NORMS = ["layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm"]
DENORMAL = 5e-324


def norm_of(module, name, axis):
    """Forward and backward of a norm, as functions of arrays alone."""
    options = {"axis": axis if name in ("group_norm", "instance_norm", "batch_norm") else -1}
    groups = (2,) if name == "group_norm" else ()

    def forward(x, **more):
        return getattr(module, f"{name}_forward")(x, *groups, **options, **more)

    def backward(dy, x, *statistics):
        return getattr(module, f"{name}_backward")(dy, x, *statistics, *groups, **options)

    return forward, backward


def numbers(rng, shape, dtype):
    """Of magnitude below 2, rounded to few bits: exact in subnormal units, too."""
    return (np.round(np.clip(rng.standard_normal(shape), -1.9, 1.9) * 64) / 64).astype(dtype)


def units(dtype):
    """Exponents of units, from the least that keeps these numbers exact to the largest that is finite."""
    info = ml_dtypes.finfo(dtype)
    least, most = info.minexp - info.nmant + 6, np.frexp(float(info.max))[1] - 1
    return [int(k) for k in (least, least // 2, most // 2, most)]


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NORMS)
def test_results_do_not_depend_on_the_unit(rng, name, dtype, shape, axis):
    forward, backward = norm_of(tt, name, axis)
    x, dy = numbers(rng, shape, dtype), numbers(rng, shape, dtype)
    y, *statistics = forward(x, eps=0)
    dx = backward(dy, x, *statistics).dx
    error = max(4 * float(ml_dtypes.finfo(dtype).eps), 1e-13)
    for k in units(dtype):
        scaled = np.ldexp(x.astype(float), k).astype(dtype)
        result, *scaled_statistics = forward(scaled, eps=0)
        np.testing.assert_allclose(result.astype(float), y.astype(float), rtol=error, atol=error)
        with np.errstate(over="ignore"):  # that of subnormal numbers is beyond the largest
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
def test_a_huge_value_among_tiny_ones(dtype):
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
def test_in_place_and_apart_have_the_same_bits(rng, name, dtype):
    forward, _ = norm_of(tt, name, 1)
    x = numbers(rng, (4, 6, 7, 7), dtype) * (0.25 * np.finfo(dtype).max).astype(dtype)
    x[::2] = numbers(rng, x[::2].shape, dtype)
    expected = forward(x).y
    assert np.isfinite(expected).all()
    over = x.copy()
    assert forward(over, out=over).y.tobytes() == expected.tobytes()


@pytest.mark.parametrize("axis", [1, -1])
def test_residual_and_relu_of_channels_near_the_largest_number(rng, axis):
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


def test_rows_of_nothing_have_no_statistics():
    for _ in range(8):
        tt.layer_norm_forward(np.full((40, 300), 7.5))
    y, mean, rstd = tt.layer_norm_forward(np.zeros((40, 0)))
    assert y.shape == (40, 0)
    assert np.isnan(mean).all()
    assert np.isnan(rstd).all()
    assert np.isnan(tt.rms_norm_forward(np.zeros((40, 0))).rstd).all()


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e150, 1e200])
def test_moments_of_parts(rng, unit):
    means = np.array([[1.0], [3.0]]) * unit
    variances = np.zeros((2, 1))
    mean, var, count = tt.combine_moments(means, variances, [2, 2])
    np.testing.assert_allclose(mean, 2 * unit, rtol=1e-15)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(var, np.square(np.float64(unit)), rtol=1e-14)
    assert count == 4


def test_running_statistics_of_constants_near_the_largest_number():
    for value in (1e155, -1e307, 1e-310):
        mean, var = np.zeros(1), np.ones(1)
        tt.batch_norm_forward(np.full((4, 1), value), running_mean=mean, running_var=var)
        np.testing.assert_allclose(mean, 0.1 * value, rtol=1e-12, atol=1e-323)
        np.testing.assert_allclose(var, 0.9)


@pytest.mark.parametrize("value", [1e-200, 1e-320, 1e200, 8e307])
def test_norm_of_gradients(value):
    g = np.full(4, value)
    norm = tt.clip_grad_norm([g], value / 2)
    np.testing.assert_allclose(norm, np.float64(2) * value, rtol=1e-2 if value < 1e-300 else 1e-12)
    np.testing.assert_allclose(g, value / 4, rtol=1e-2 if value < 1e-300 else 1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_and_lengths_near_the_largest_number(dtype):
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
