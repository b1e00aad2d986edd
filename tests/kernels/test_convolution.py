"""Kernels of convolution: dtypes, sizes, bits, errors."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.faults import assert_argument_refused
from helpers.strategies import DTYPES, LAYOUTS, at_offset
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import _core

CASES = [  # groups, inputs, outputs of a group; kernel, before, stride, spacing, output; image
    (1, 3, 5, (3, 3), (1, 1), (1, 1), (1, 1), (6, 5), (6, 5)),
    (
        1,
        5,
        70,
        (3, 2),
        (0, 1),
        (2, 1),
        (1, 1),
        (3, 7),
        (7, 6),
    ),  # more outputs than a tile has on any instruction set
    (3, 2, 3, (3, 3), (1, 1), (1, 2), (1, 1), (5, 3), (5, 6)),
    (1, 2, 3, (3, 3), (2, 1), (1, 1), (2, 3), (8, 9), (4, 3)),  # zeros between the elements of x
    (2, 3, 1, (2, 4), (-1, -2), (1, 1), (1, 2), (3, 4), (5, 4)),  # some elements are not read
    (1, 1, 1, (1, 1), (0, 0), (1, 1), (1, 1), (4, 4), (4, 4)),
    (1, 4, 2, (5, 5), (9, 9), (3, 3), (1, 1), (6, 6), (2, 3)),  # positions with padding alone
    (1, 1500, 2, (2, 2), (0, 0), (1, 1), (1, 1), (2, 2), (3, 3)),  # many terms, panels of at most one tile
]
PLAIN = [case for case in CASES if case[6] == (1, 1)]


def arguments(rng, dtype, case, samples=4):
    groups, channels, outputs, kernel, before, stride, spacing, output, image = case
    x = rng.standard_normal((samples, *image, groups * channels)).astype(dtype)
    weight = rng.standard_normal((groups, *kernel, channels, outputs)).astype(dtype)
    bias = rng.standard_normal(groups * outputs).astype(dtype)
    return x, weight, bias, before, stride, spacing, output


def weights_arguments(rng, dtype, case, samples=4):
    groups, channels, outputs, kernel, before, stride, _, output, image = case
    x = rng.standard_normal((samples, *image, groups * channels)).astype(dtype)
    dy = rng.standard_normal((samples, *output, groups * outputs)).astype(dtype)
    return dy, x, groups, kernel, before, stride


def check(got, expected, dtype, terms):
    """Within the rounding of float32 sums and of the result."""
    assert got.shape == expected.shape
    assert got.dtype == dtype
    wide = 1e-14 if dtype == np.float64 else 1e-6
    rounding = {"float16": 2**-11, "bfloat16": 2**-8}.get(str(dtype), 0)
    assert_allclose(got.astype(np.float64), expected, rtol=rounding, atol=wide * terms**0.5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_convolution_is_accurate(rng, case, dtype):
    given = arguments(rng, dtype, case)
    terms = given[1][0, ..., 0].size
    check(_core.convolve(*given), reference.convolve(*given), dtype, 4 * terms)
    unbiased = (*given[:2], None, *given[3:])
    check(_core.convolve(*unbiased), reference.convolve(*unbiased), dtype, 4 * terms)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", PLAIN)
def test_gradients_of_weights_are_accurate(rng, case, dtype):
    given = weights_arguments(rng, dtype, case)
    working = np.result_type(dtype, np.float32)
    check(_core.convolve_weights(*given), reference.convolve_weights(*given), working, 4 * given[0].size)


MANY_PLACES = (2, 3, 40, (3, 3), (1, 1), (1, 1), (1, 1), (15, 13), (15, 13))


def test_many_positions_are_accurate(rng):
    """Several panels for each thread and several partial sums, all of different sizes."""
    given = arguments(rng, np.float32, MANY_PLACES, samples=11)
    check(_core.convolve(*given), reference.convolve(*given), np.float32, 100)
    given = weights_arguments(rng, np.float32, MANY_PLACES, samples=11)
    check(_core.convolve_weights(*given), reference.convolve_weights(*given), np.float32, 10_000)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bits_depend_on_neither_threads_nor_alignment(rng, dtype):
    y = arguments(rng, dtype, MANY_PLACES, samples=40)
    dweight = weights_arguments(rng, dtype, MANY_PLACES, samples=40)
    results = set()
    for threads, offset in ((1, 0), (3, 0), (1, 24)):
        tt.set_num_threads(threads)
        placed = [
            [at_offset(a, offset) if isinstance(a, np.ndarray) else a for a in given]
            for given in (y, dweight)
        ]
        results.add((_core.convolve(*placed[0]).tobytes(), _core.convolve_weights(*placed[1]).tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_may_have_any_layout(rng, layout):
    x, *rest = arguments(rng, np.float32, CASES[1])
    x = LAYOUTS[layout](x)
    assert_array_equal(_core.convolve(x, *rest), _core.convolve(x.astype("f4", order="C"), *rest))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_stay_under_the_kernel(rng, value):
    x, weight, *rest = arguments(rng, np.float32, CASES[0])
    for position in range(0, x[0].size, 13):
        bad = x.copy()
        bad[1].flat[position] = value
        touched = reference.convolve(bad != x, np.ones_like(weight), None, *rest[1:]) > 0
        y = _core.convolve(bad, weight, *rest)
        assert_array_equal(np.isfinite(y), ~touched)


def test_empty_batches_give_empty_results(rng):
    for samples, output in ((0, (3, 3)), (2, (0, 3))):
        x = np.ones((samples, 3, 3, 2), np.float32)
        weight = np.ones((1, 1, 1, 2, 4), np.float32)
        y = _core.convolve(x, weight, None, (0, 0), (1, 1), (1, 1), output)
        assert y.shape == (samples, *output, 4)
        assert_array_equal(_core.convolve_weights(y, x, 1, (1, 1), (0, 0), (1, 1)), np.zeros_like(weight))
    assert not _core.convolve(
        np.ones((1, 2, 2, 0)), np.ones((1, 1, 1, 0, 3)), None, (0, 0), (1, 1), (1, 1), (2, 2)
    ).any()


X, WEIGHT, DY = (np.ones(shape, np.float32) for shape in ((2, 4, 5, 6), (2, 3, 3, 3, 4), (2, 4, 5, 8)))
LONG = np.broadcast_to(X[:1, :1, :1, :1], (2**31, 0, 1, 6))
VALID = {
    "convolve": (X, WEIGHT, np.ones(8, np.float32), (1, 1), (1, 1), (1, 1), (4, 5)),
    "convolve_weights": (DY, X, 2, (3, 3), (1, 1), (1, 1)),
}
PAIR = "must be a tuple of two ints from {} to 2147483647, got {}"


@pytest.mark.parametrize(
    ("function", "position", "value", "error", "message"),
    [
        ("convolve", 0, X.astype(int), TypeError, "x must be a float32, float64, float16 or bfloat16 array"),
        ("convolve", 0, X[0], ValueError, "x must have shape (N, H, W, G * C), got (4, 5, 6)"),
        (
            "convolve",
            0,
            np.broadcast_to(X[:1, :1, :1, :1], (2**31, 0, 1, 6)),
            ValueError,
            "x must have at most 2147483647",
        ),
        ("convolve", 1, WEIGHT[0], ValueError, "weight must have shape (G, A, B, C, O), got (3, 3, 3, 4)"),
        ("convolve", 1, WEIGHT[:1], ValueError, "weight must be of the 6 channels of x, got (1, 3, 3, 3, 4)"),
        ("convolve", 1, WEIGHT[:0], ValueError, "weight must be of the 6 channels of x, got (0, 3, 3, 3, 4)"),
        (
            "convolve",
            1,
            WEIGHT.astype("c8"),
            TypeError,
            "weight must be an array of real numbers, got dtype comp",
        ),
        ("convolve", 2, np.ones(4, "f4"), ValueError, "bias must have shape (8,), got (4,)"),
        ("convolve", 3, 1, TypeError, "before " + PAIR.format(-2147483647, 1)),
        ("convolve", 3, (1, -(2**31)), ValueError, "before " + PAIR.format(-2147483647, (1, -(2**31)))),
        ("convolve", 4, (1, 0), ValueError, "stride " + PAIR.format(1, (1, 0))),
        ("convolve", 5, (0, 1), ValueError, "spacing " + PAIR.format(1, (0, 1))),
        ("convolve", 6, (1, 2, 3), TypeError, "output " + PAIR.format(0, (1, 2, 3))),
        ("convolve", 6, (1.0, 2), TypeError, "output " + PAIR.format(0, 1.0)),
        ("convolve", 6, (2**63, 2), ValueError, "output " + PAIR.format(0, 2**63)),
        ("convolve_weights", 0, DY[0], ValueError, "dy must have shape (N, *output, G * O), got (4, 5, 8)"),
        ("convolve_weights", 1, X.astype("f8"), TypeError, "x must have dtype float32, got dtype float64"),
        ("convolve_weights", 1, X[0], ValueError, "x must have shape (N, H, W, G * C), got (4, 5, 6)"),
        ("convolve_weights", 1, X[:1], ValueError, "x must have 2 samples as dy, got (1, 4, 5, 6)"),
        ("convolve_weights", 2, 0, ValueError, "groups must divide the channels of dy and x, got 0"),
        ("convolve_weights", 2, 3, ValueError, "groups must divide the channels of dy and x, got 3"),
        ("convolve_weights", 3, (3, -1), ValueError, "kernel " + PAIR.format(0, (3, -1))),
        ("convolve_weights", 4, None, TypeError, "before " + PAIR.format(-2147483647, None)),
        ("convolve_weights", 5, (0, 1), ValueError, "stride " + PAIR.format(1, (0, 1))),
    ],
)
def test_wrong_arguments_are_refused_by_name(function, position, value, error, message):
    assert_argument_refused(getattr(_core, function), VALID[function], position, value, error, message)
