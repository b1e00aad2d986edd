"""Accuracy of every norm: difficult data, exact constants, NaN and Inf that stay in their unit.

A new normalization adds its rows to `rows_of` and `NEIGHBORS`.
"""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import batch_norm, check_backward, check_forward, group_norm, instance_norm, layer_norm
from helpers.strategies import DTYPES

WIDTHS = (2, 3, 7, 16, 33, 64, 130, 1000, 4097)


def rows_of(width):
    """Every norm in which `width` values share a statistic."""
    return [
        layer_norm((5, width)),
        layer_norm((3, width, 2), axis=1),
        batch_norm((width, 5)),
        batch_norm((width, 67)),
        batch_norm((1, 5, width)),
        batch_norm((2, 5, width)),
        batch_norm((2, width, 5), axis=-1),
        group_norm((3, 6, width), 2),
        group_norm((2, 2 * width), 2),
        group_norm((2, width, 6), 3, axis=-1),
        instance_norm((3, 5, width)),
        instance_norm((2, width, 5), axis=-1),
    ]


DATA = {  # difficult data as functions of standard normal data, and the ulps allowed
    "ordinary": (lambda z: z, 2),
    "uniform": (lambda z: np.arctan(z), 2),
    "mean 10": (lambda z: z + 10, 2),
    "mean 1e3": (lambda z: z + 1e3, 4),
    "mean -1e6": (lambda z: z - 1e6, 4),
    "sd 1e-3, mean 1e3": (lambda z: 1e-3 * z + 1e3, 4),
    "sd 1e30": (lambda z: 1e30 * z, 4),
    "sd 1e30, mean 1e31": (lambda z: 1e30 * z + 1e31, 4),
    "sd 1e-30": (lambda z: 1e-30 * z, 4),
    "one outlier": (lambda z: np.where(np.arange(z.size).reshape(z.shape) == z.size // 2, 1e6, z), 4),
    "heavy tails": (lambda z: np.sinh(3 * z), 4),
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("width", WIDTHS)
def test_difficult_data_are_normalized_accurately(rng, data, width):
    harden, ulps = DATA[data]
    for norm in rows_of(width):
        x = harden(rng.standard_normal(norm.shape)).astype(np.float32)
        if np.all(norm.var(x) > 0):
            gamma, beta = rng.standard_normal((2, *norm.parameter_shape)).astype(np.float32)
            check_forward(norm, x, None, None, ulps=ulps, eps=0.0)
            check_forward(norm, x, gamma, beta, ulps=ulps)
            check_backward(norm, rng.standard_normal(norm.shape).astype(np.float32), x, gamma)


def test_a_row_of_16_million_values_is_accurate(rng):
    x = rng.standard_normal((1, 2**24), np.float32) + np.float32(3)
    check_forward(layer_norm(x.shape), x, None, None)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, 1.0, -3e-5, 6e4, 1e10, -1e30, 1e-30])
@pytest.mark.parametrize("width", WIDTHS)
def test_constant_values_give_exactly_beta(rng, dtype, value, width):
    for norm in rows_of(width):
        x = np.full(norm.shape, value if dtype.itemsize > 2 else np.clip(value, -6e4, 6e4)).astype(dtype)
        gamma, beta = rng.standard_normal((2, *norm.parameter_shape)).astype(dtype)
        y, mean, rstd = getattr(tt, f"{norm.name}_forward")(x, gamma=gamma, beta=beta, **norm.options)
        expected = np.broadcast_to(reference.along(beta, norm.parameter_axes, x.ndim), norm.shape)
        np.testing.assert_array_equal(y.astype(np.float64), expected, err_msg=str(norm))
        np.testing.assert_array_equal(mean, reference.wide(x).flat[0], err_msg=str(norm))
        np.testing.assert_array_equal(rstd, 1 / np.sqrt(1e-5), err_msg=str(norm))


# Layouts in which units are neighbors in memory.
NEIGHBORS = [
    layer_norm((3, 67)),
    layer_norm((2, 3, 9), axis=1),
    batch_norm((9, 67)),
    batch_norm((4, 300)),
    batch_norm((3, 5, 7, 7)),
    batch_norm((4, 37, 1, 1)),
    batch_norm((2, 3, 3, 35), axis=-1),
    group_norm((3, 6, 7, 7), 3),
    group_norm((2, 8, 131), 4),
    group_norm((2, 3, 3, 36), 12, axis=-1),
    instance_norm((2, 9, 5, 3)),
    instance_norm((2, 5, 7), axis=-1),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("intruder", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm", NEIGHBORS, ids=str)
def test_nan_and_inf_stay_in_their_unit(rng, dtype, intruder, norm):
    """In any lane: statistics that share a value with them are NaN, all others keep their bits."""
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    forward, backward = getattr(tt, f"{norm.name}_forward"), getattr(tt, f"{norm.name}_backward")
    clean = forward(x, **norm.options)
    clean_dx = backward(dy, x, clean.mean, clean.rstd, **norm.options).dx
    for position in rng.permutation(x.size)[:80]:
        index = np.unravel_index(position, x.shape)
        own = norm.statistic == norm.statistic[index]
        other_units = ~own
        statistic = np.unravel_index(norm.statistic[index], norm.statistic_shape)
        spoiled = x.copy()
        spoiled[index] = intruder
        y, mean, rstd = forward(spoiled, **norm.options)
        assert np.isnan(y[own].astype(np.float64)).all(), index
        assert not np.isfinite(mean[statistic])
        assert np.isnan(rstd[statistic])
        assert y[other_units].tobytes() == clean.y[other_units].tobytes(), index
        other_statistics = np.arange(mean.size) != np.ravel_multi_index(statistic, mean.shape)
        np.testing.assert_array_equal(mean.flat[other_statistics], clean.mean.flat[other_statistics])
        np.testing.assert_array_equal(rstd.flat[other_statistics], clean.rstd.flat[other_statistics])
        spoiled_dy = dy.copy()
        spoiled_dy[index] = intruder
        dx = backward(spoiled_dy, x, clean.mean, clean.rstd, **norm.options).dx
        assert not np.isfinite(dx[own].astype(np.float64)).any(), index
        assert dx[other_units].tobytes() == clean_dx[other_units].tobytes(), index


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129])
def test_a_nan_in_any_lane_makes_its_row_nan(rng, dtype, width):
    x = rng.standard_normal((3, width)).astype(dtype)
    clean = tt.layer_norm(x)
    for lane in range(width):
        spoiled = x.copy()
        spoiled[1, lane] = np.nan
        y = tt.layer_norm(spoiled)
        assert np.isnan(y[1].astype(np.float64)).all(), lane
        assert y[::2].tobytes() == clean[::2].tobytes(), lane


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_in_the_parameters_stays_in_its_column(rng, dtype):
    x = rng.standard_normal((3, 67)).astype(dtype)
    gamma = np.ones(67, dtype)
    clean = tt.layer_norm(x, gamma)
    for lane in range(67):
        spoiled = gamma.copy()
        spoiled[lane] = np.nan
        y = tt.layer_norm(x, spoiled)
        assert np.isnan(y[:, lane].astype(np.float64)).all()
        assert np.delete(y, lane, axis=1).tobytes() == np.delete(clean, lane, axis=1).tobytes()


def test_subnormal_numbers_are_not_flushed(rng):
    norm = batch_norm((4, 40))
    x = rng.uniform(1, 2, norm.shape).astype(np.float32)
    gamma = np.full(40, 1e-40, np.float32)
    y = tt.batch_norm_forward(x, gamma).y
    expected = reference.batch_norm_forward(x, gamma).y
    assert np.all(y != 0)
    np.testing.assert_allclose(y, expected, rtol=0, atol=2 * float(np.finfo(np.float32).smallest_subnormal))


@pytest.mark.parametrize("width", [100, 1000, 4096, 10000])
@pytest.mark.parametrize("norm", ["layer_norm", "batch_norm"])
def test_outliers_at_the_beginning_do_not_spoil_the_sums(norm, width, rng):
    """The first values determine the shift of the sums."""
    x = rng.standard_normal((7, width), np.float32)
    x[:, :16] += 1e4
    y = tt.layer_norm(x) if norm == "layer_norm" else tt.batch_norm_forward(x[None]).y[0]
    expected = reference.layer_norm(x)
    np.testing.assert_allclose(
        y, expected, rtol=0, atol=4 * np.spacing(np.abs(expected).max(), dtype=np.float32)
    )
