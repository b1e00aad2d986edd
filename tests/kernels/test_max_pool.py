"""Kernels of max pooling: dtypes, bits, errors."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.faults import assert_argument_refused
from helpers.strategies import DTYPES, LAYOUTS, at_offset
from numpy.testing import assert_array_equal
from trimtab import _core

CASES = [  # kernel, before, stride, output, image
    ((2, 2), (0, 0), (2, 2), (3, 3), (6, 7)),
    ((3, 2), (1, 0), (1, 2), (5, 3), (5, 6)),  # overlapping
    ((2, 3), (0, 0), (3, 4), (2, 2), (6, 8)),  # elements under no window
    ((5, 5), (9, 3), (4, 4), (5, 2), (4, 3)),  # windows without elements
]


def small_integers(rng, shape, dtype):
    """Many equal values; sums of a few of them are exact in every dtype."""
    return rng.integers(-4, 4, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 67])
@pytest.mark.parametrize(("kernel", "before", "stride", "output", "image"), CASES)
def test_pooling_and_its_gradient_are_exact(rng, kernel, before, stride, output, image, channels, dtype):
    x = small_integers(rng, (3, *image, channels), dtype)
    dy = small_integers(rng, (3, *output, channels), dtype)
    y = _core.max_pool(x, kernel, before, stride, output)
    dx = _core.max_pool_backward(dy, x, y, kernel, before, stride)
    assert y.dtype == dx.dtype == dtype
    assert_array_equal(y, reference.max_pool(x, kernel, before, stride, output))
    assert_array_equal(dx, reference.max_pool_backward(dy, x, kernel, before, stride))


def test_nan_counts_as_the_largest_value(rng):
    x = rng.standard_normal((4, 2, 2, 21)).astype(np.float32)
    for sample, (row, column) in enumerate(np.ndindex(2, 2)):
        x[sample, row, column, 1::3] = np.nan
    y = _core.max_pool(x, (2, 2), (0, 0), (2, 2), (1, 1))
    assert_array_equal(y[:, 0, 0], x.max(axis=(1, 2)))
    dx = _core.max_pool_backward(np.ones_like(y), x, y, (2, 2), (0, 0), (2, 2))
    assert_array_equal(dx.sum(axis=(1, 2)), ~np.isnan(y[:, 0, 0]))


def test_bits_depend_on_neither_threads_nor_alignment(rng):
    x = rng.standard_normal((9, 31, 33, 19)).astype(np.float32)
    dy = rng.standard_normal((9, 31, 33, 19)).astype(np.float32)
    results = set()
    for threads, offset in ((1, 0), (3, 0), (1, 24)):
        tt.set_num_threads(threads)
        placed, gradient = at_offset(x, offset), at_offset(dy, offset)
        y = _core.max_pool(placed, (3, 3), (1, 1), (1, 1), (31, 33))
        dx = _core.max_pool_backward(gradient, placed, y, (3, 3), (1, 1), (1, 1))
        results.add((y.tobytes(), dx.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_may_have_any_layout(rng, layout):
    x = LAYOUTS[layout](rng.standard_normal((2, 4, 6, 3)).astype(np.float32))
    y = _core.max_pool(x, (2, 2), (0, 0), (2, 2), (2, 3))
    assert_array_equal(y, reference.max_pool(x, (2, 2), (0, 0), (2, 2), (2, 3)))


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("output", [(0, 2), (1, 1)])
@pytest.mark.parametrize("channels", [0, 3])
def test_empty_batches_give_empty_results(samples, output, channels):
    x = np.ones((samples, 2, 2, channels), np.float32)
    y = _core.max_pool(x, (2, 2), (0, 0), (2, 2), output)
    assert y.shape == (samples, *output, channels)
    dx = _core.max_pool_backward(y, x, y, (2, 2), (0, 0), (2, 2))
    assert dx.sum() == y.sum()


X, Y = np.ones((2, 4, 6, 3), np.float32), np.ones((2, 2, 3, 3), np.float32)
PAIRS = (2, 2), (0, 0), (2, 2)
VALID = {"max_pool": (X, *PAIRS, (2, 3)), "max_pool_backward": (Y, X, Y, *PAIRS)}
PAIR = "must be a tuple of two ints from {} to 2147483647, got {}"


@pytest.mark.parametrize(
    ("function", "position", "value", "error", "message"),
    [
        ("max_pool", 0, X > 0, TypeError, "x must be a float32, float64, float16 or bfloat16 array"),
        ("max_pool", 0, X[0], ValueError, "x must have shape (N, H, W, C), got (4, 6, 3)"),
        ("max_pool", 1, (0, 2), ValueError, "kernel " + PAIR.format(1, (0, 2))),
        ("max_pool", 2, [0, 0], TypeError, "before " + PAIR.format(-2147483647, [0, 0])),
        ("max_pool", 3, (0, 2), ValueError, "stride " + PAIR.format(1, (0, 2))),
        ("max_pool", 4, (-1, 2), ValueError, "output " + PAIR.format(0, (-1, 2))),
        ("max_pool_backward", 0, Y[0], ValueError, "dy must have shape (N, *output, C), got (2, 3, 3)"),
        ("max_pool_backward", 1, X.astype("f2"), TypeError, "x must have dtype float32, got dtype float16"),
        ("max_pool_backward", 1, X[0], ValueError, "x must have shape (N, H, W, C), got (4, 6, 3)"),
        ("max_pool_backward", 1, X[:1], ValueError, "x must have the samples and channels of dy, got (1,"),
        (
            "max_pool_backward",
            1,
            X[..., :2],
            ValueError,
            "x must have the samples and channels of dy, got",
        ),
        ("max_pool_backward", 2, Y[:1], ValueError, "y must have shape (2, 2, 3, 3), got (1, 2, 3, 3)"),
        ("max_pool_backward", 3, (2, 2.0), TypeError, "kernel " + PAIR.format(1, 2.0)),
        ("max_pool_backward", 5, (2, 2**40), ValueError, "stride " + PAIR.format(1, (2, 2**40))),
    ],
)
def test_wrong_arguments_are_refused_by_name(function, position, value, error, message):
    assert_argument_refused(getattr(_core, function), VALID[function], position, value, error, message)
