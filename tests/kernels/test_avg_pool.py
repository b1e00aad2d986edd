"""Kernels of average pooling: dtypes, bits, errors."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.faults import assert_argument_refused
from helpers.strategies import DTYPES, LAYOUTS, at_offset
from numpy.testing import assert_array_equal, assert_array_max_ulp
from trimtab import _core

CASES = [  # kernel, before, stride, output, image
    ((2, 2), (0, 0), (2, 2), (3, 3), (6, 7)),
    ((3, 2), (1, 0), (1, 2), (5, 3), (5, 6)),  # overlapping
    ((3, 3), (1, 1), (1, 1), (5, 6), (5, 6)),  # overlapping, at neighboring positions
    ((2, 3), (0, 0), (3, 4), (2, 2), (6, 8)),  # elements under no window
    ((5, 5), (9, 3), (4, 4), (5, 2), (4, 3)),  # windows without elements
    ((2, 2), (-1, -2), (1, 1), (3, 2), (5, 6)),  # a part of the image
]


def assert_rounded(found, expected, dtype):
    """Rounded to the nearest value except for ties; in float64, within the error of the sum."""
    assert found.dtype == dtype
    if dtype == np.float64:
        np.testing.assert_allclose(found, expected, rtol=1e-15)
    elif dtype == np.float32:
        assert_array_max_ulp(found, expected.astype(dtype), 1)
    else:
        rounded = expected.astype(np.float32).astype(dtype)
        assert_array_equal(found.astype(np.float32), rounded.astype(np.float32))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 67])
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(("kernel", "before", "stride", "output", "image"), CASES)
def test_pooling_and_its_gradient_are_accurate(
    rng, kernel, before, stride, output, image, count_include_pad, channels, dtype
):
    sign = rng.choice([-1, 1], channels)  # the same for all values of a channel, as sums of both signs cancel
    x = (sign * rng.uniform(1, 2, (3, *image, channels))).astype(dtype)
    dy = (sign * rng.uniform(1, 2, (3, *output, channels))).astype(dtype)
    y = _core.avg_pool(x, kernel, before, stride, output, count_include_pad)
    dx = _core.avg_pool_backward(dy, image, kernel, before, stride, count_include_pad)
    assert_rounded(y, reference.avg_pool(x, kernel, before, stride, output, count_include_pad), dtype)
    assert_rounded(
        dx, reference.avg_pool_backward(dy, image, kernel, before, stride, count_include_pad), dtype
    )


def test_padding_counts_by_default(rng):
    x, dy = rng.standard_normal((2, 1, 3, 3, 2))
    window = (3, 3), (1, 1), (1, 1)
    assert_array_equal(_core.avg_pool(x, *window, (3, 3)), _core.avg_pool(x, *window, (3, 3), True))
    assert_array_equal(
        _core.avg_pool_backward(dy, (3, 3), *window), _core.avg_pool_backward(dy, (3, 3), *window, True)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_inf_stay_in_their_windows(value, dtype):
    for channel in range(21):
        x = np.ones((1, 4, 4, 21), dtype)
        x[0, 1, 2, channel] = value
        y = _core.avg_pool(x, (2, 2), (0, 0), (2, 2), (2, 2))
        expected = np.ones_like(y)
        expected[0, 0, 1, channel] = value
        assert_array_equal(y.astype(np.float32), expected.astype(np.float32))
        dx = _core.avg_pool_backward(x, (8, 8), (2, 2), (0, 0), (2, 2))
        assert_array_equal(dx.astype(np.float32), (x.astype(np.float32) / 4).repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize(
    ("dtype", "value"), [("f2", 65504), ("f4", 3.4e38), ("f8", 1.7e308), ("f8", -1.7e308), ("f8", 5e-324)]
)
def test_the_mean_of_equal_values_is_their_value(dtype, value):
    """Even where the sum of large values overflows, or parts of small values underflow."""
    x = np.full((1, 3, 3, 21), value, dtype)
    x[..., ::2] = 1.5
    y = _core.avg_pool(x, (3, 3), (0, 0), (1, 1), (1, 1))
    assert_array_max_ulp(y, x[:, :1, :1], 1)


def test_bits_depend_on_neither_threads_nor_alignment(rng):
    x = rng.standard_normal((9, 31, 33, 19)).astype(np.float32)
    results = set()
    for threads, offset in ((1, 0), (3, 0), (1, 24)):
        tt.set_num_threads(threads)
        placed = at_offset(x, offset)
        y = _core.avg_pool(placed, (3, 3), (1, 1), (1, 1), (31, 33), False)
        dx = _core.avg_pool_backward(placed, (31, 33), (3, 3), (1, 1), (1, 1), False)
        results.add((y.tobytes(), dx.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_may_have_any_layout(rng, layout):
    x = LAYOUTS[layout](rng.standard_normal((2, 4, 6, 3)).astype(np.float32))
    y = _core.avg_pool(x, (2, 2), (0, 0), (2, 2), (2, 3))
    assert_rounded(y, reference.avg_pool(x, (2, 2), (0, 0), (2, 2), (2, 3)), np.float32)
    dx = _core.avg_pool_backward(x, (8, 12), (2, 2), (0, 0), (2, 2))
    assert_array_equal(dx, (np.ascontiguousarray(x) / 4).repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("output", [(0, 2), (1, 1)])
@pytest.mark.parametrize("channels", [0, 3])
def test_empty_batches_give_empty_results(samples, output, channels):
    x = np.ones((samples, 2, 2, channels), np.float32)
    y = _core.avg_pool(x, (2, 2), (0, 0), (2, 2), output)
    assert y.shape == (samples, *output, channels)
    assert_array_equal(y, 1)
    dx = _core.avg_pool_backward(y, (2, 2), (2, 2), (0, 0), (2, 2))
    assert dx.sum() == y.sum()
    assert _core.avg_pool_backward(y, (0, 2), (2, 2), (0, 0), (2, 2)).shape == (samples, 0, 2, channels)


X, Y = np.ones((2, 4, 6, 3), np.float32), np.ones((2, 2, 3, 3), np.float32)
PAIRS = (2, 2), (0, 0), (2, 2)
VALID = {"avg_pool": (X, *PAIRS, (2, 3), True), "avg_pool_backward": (Y, (4, 6), *PAIRS, False)}
PAIR = "must be a tuple of two ints from {} to 2147483647, got {}"


@pytest.mark.parametrize(
    ("function", "position", "value", "error", "message"),
    [
        ("avg_pool", 0, X > 0, TypeError, "x must be a float32, float64, float16 or bfloat16 array"),
        ("avg_pool", 0, X[0], ValueError, "x must have shape (N, H, W, C), got (4, 6, 3)"),
        ("avg_pool", 1, (0, 2), ValueError, "kernel " + PAIR.format(1, (0, 2))),
        ("avg_pool", 2, [0, 0], TypeError, "before " + PAIR.format(-2147483647, [0, 0])),
        ("avg_pool", 3, (0, 2), ValueError, "stride " + PAIR.format(1, (0, 2))),
        ("avg_pool", 4, (-1, 2), ValueError, "output " + PAIR.format(0, (-1, 2))),
        ("avg_pool", 5, "no", TypeError, "count_include_pad must be a bool, got 'no'"),
        ("avg_pool_backward", 0, Y[0], ValueError, "dy must have shape (N, *output, C), got (2, 3, 3)"),
        ("avg_pool_backward", 1, (4, -6), ValueError, "image " + PAIR.format(0, (4, -6))),
        ("avg_pool_backward", 1, X.shape, TypeError, "image " + PAIR.format(0, X.shape)),
        ("avg_pool_backward", 2, (2, 2.0), TypeError, "kernel " + PAIR.format(1, 2.0)),
        ("avg_pool_backward", 4, (2, 2**40), ValueError, "stride " + PAIR.format(1, (2, 2**40))),
        ("avg_pool_backward", 5, 2, TypeError, "count_include_pad must be a bool, got 2"),
    ],
)
def test_wrong_arguments_are_refused_by_name(function, position, value, error, message):
    assert_argument_refused(getattr(_core, function), VALID[function], position, value, error, message)
