"""Whitening against the specification, its effect, delicate gradients, and bad input."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.faults import FAULTS, Fault, Function, assert_call_refused, some
from helpers.foreign_arrays import OnlyArray, OnlyDLPack
from helpers.strategies import DTYPES, LAYOUTS
from numpy.testing import assert_allclose, assert_array_equal

SHAPES = [((40, 6), 1), ((9, 6, 3, 4), 1), ((9, 3, 4, 6), -1), ((6, 50), 0)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("num_groups", [1, 2, 3, 6])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_whitening_equals_the_specification(rng, shape, axis, num_groups, dtype):
    x, dy = (rng.standard_normal((2, *shape)) + 0.5).astype(dtype)
    options = {"num_groups": num_groups, "axis": axis, "eps": 1e-3}
    size = 6 // num_groups
    running = {"running_mean": np.ones(6), "running_matrix": np.ones((num_groups, size, size))}
    expected_running = {name: value.copy() for name, value in running.items()}
    expected = reference.whiten_forward(x, **options, **expected_running)
    result = tt.whiten_forward(x, **options, **running)
    stored = {2: 2.0**-8, 4: 1e-6, 8: 1e-12}[dtype.itemsize]
    assert (result.y.dtype, result.y.flags.c_contiguous) == (dtype, True)
    assert_allclose(result.y.astype(np.float64), expected.y, rtol=stored, atol=stored)
    assert_allclose(result.mean, expected.mean, rtol=1e-6, atol=1e-7)
    assert_allclose(result.matrix, expected.matrix, rtol=1e-6, atol=1e-7)
    for name, value in running.items():
        assert_allclose(value, expected_running[name], rtol=1e-6)
    dx = tt.whiten_backward(dy, result.saved)
    assert (dx.dtype, dx.flags.c_contiguous) == (dtype, True)
    expected_dx = reference.whiten_backward(dy, expected.saved)
    assert_allclose(dx.astype(np.float64), expected_dx, rtol=4 * stored, atol=4 * stored)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_covariance_becomes_the_identity(rng, shape, axis, scale):
    x = rng.standard_normal(shape)
    x = np.moveaxis(np.tensordot(rng.standard_normal((6, 6)), x, (1, axis)), 0, axis) * scale + 3 * scale
    y = tt.whiten_forward(x.astype(np.float32), axis=axis, eps=0.0).y
    values = np.moveaxis(y, axis, 0).reshape(6, -1).astype(np.float64)
    assert_allclose(values.mean(1), 0, atol=1e-5)
    assert_allclose(np.cov(values, ddof=0), np.eye(6), atol=1e-4)


def test_groups_of_one_channel_are_batch_norm(rng):
    x, dy = rng.standard_normal((2, 20, 4, 3))
    y, mean, matrix, saved = tt.whiten_forward(x, num_groups=4)
    batch = tt.batch_norm_forward(x)
    assert_allclose(y, batch.y, rtol=1e-12, atol=1e-13)
    assert_allclose(mean, batch.mean, rtol=1e-12, atol=1e-15)
    assert_allclose(matrix.ravel(), batch.rstd, rtol=1e-12)
    expected = tt.batch_norm_backward(dy, x, batch.mean, batch.rstd).dx
    assert_allclose(tt.whiten_backward(dy, saved), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", ["ordinary", "equal eigenvalues", "few values"])
def test_gradients_agree_with_central_differences(rng, kind):
    """Also of white data, whose eigenvectors are not unique."""
    x = rng.standard_normal((7, 4))
    if kind == "equal eigenvalues":
        x = np.linalg.qr(x - x.mean(0))[0] * np.sqrt(7)
        matrix = tt.whiten_forward(x).matrix
        assert_allclose(matrix[0], np.eye(4) / np.sqrt(1 + 1e-5), rtol=1e-12, atol=1e-12)
    if kind == "few values":
        x = x[:3]
    tt.gradcheck(
        lambda x: tt.whiten_forward(x, num_groups=1, eps=0.1).y,
        lambda dy, x: tt.whiten_backward(dy, tt.whiten_forward(x, num_groups=1, eps=0.1).saved),
        x,
    )


@pytest.mark.parametrize("exponents", [(-660, 660), (-1000, 300), (900, 0)])
def test_results_do_not_depend_on_the_scales_of_groups(rng, exponents):
    """Powers of two are exact, although squares overflow or underflow."""
    x, dy = rng.standard_normal((2, 20, 6))
    y, mean, matrix, saved = tt.whiten_forward(x, num_groups=2, eps=0)
    scales = np.repeat(exponents, 3)
    scaled = tt.whiten_forward(np.ldexp(x, scales), num_groups=2, eps=0)
    assert_allclose(scaled.y, y, rtol=1e-12, atol=1e-13)
    assert_allclose(scaled.mean, np.ldexp(mean, scales), rtol=1e-12)
    unit_of_group = np.reshape(exponents, (2, 1, 1))
    assert_allclose(np.ldexp(scaled.matrix, unit_of_group), matrix, rtol=1e-11, atol=1e-13)
    dx = tt.whiten_backward(dy, scaled.saved)
    assert_allclose(np.ldexp(dx, scales), tt.whiten_backward(dy, saved), rtol=1e-10, atol=1e-13)


def test_nan_and_inf_stay_in_their_group(rng):
    x, dy = rng.standard_normal((2, 20, 6))
    clean = tt.whiten_forward(x, num_groups=3)
    clean_dx = tt.whiten_backward(dy, clean.saved)
    for intruder in (np.nan, np.inf, -np.inf):
        spoiled = x.copy()
        spoiled[4, 2] = intruder
        with np.errstate(invalid="ignore"):
            result = tt.whiten_forward(spoiled, num_groups=3)
            dx = tt.whiten_backward(dy, result.saved)
        assert np.isnan(result.matrix[1]).all()
        assert_array_equal(result.matrix[::2], clean.matrix[::2])
        for value, other in ((result.y, clean.y), (dx, clean_dx)):
            assert np.isnan(value[:, 2:4]).all()
            assert_array_equal(value[:, [0, 1, 4, 5]], other[:, [0, 1, 4, 5]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_may_have_any_memory_order(rng, layout):
    x = LAYOUTS[layout](rng.standard_normal((9, 4)).astype(np.float32))
    y = tt.whiten_forward(x, eps=0.1).y
    assert_allclose(y, reference.whiten_forward(np.array(x, np.float64), eps=0.1).y, rtol=1e-4, atol=1e-5)


# ---- bad input ----


def forward_arguments():
    running = {"running_mean": some(6), "running_matrix": some(2, 3, 3)}
    return {"x": some(9, 6), "num_groups": 2, "axis": 1, "eps": 1e-5, **running, "momentum": 0.1}


FORWARD = Function(
    "whiten_forward",
    {
        "x": "array",
        "num_groups": "divisor",
        "axis": "axis",
        "eps": "eps",
        "running_mean": "running",
        "running_matrix": "running",
        "momentum": "momentum",
    },
    forward_arguments,
)


def divisors(_):
    for value in (0, -1, 2**80, 4, 12, 5):
        yield Fault(value, ValueError, f"must divide the 6 channels, got {value}")
    for value in (2.0, "2", None, True, [2], np.ones(2)):
        yield Fault(value, TypeError, "must be an int, got ...")


def axes(valid):
    """As for compiled functions, except that ints of any size are out of bounds."""
    yield Fault(2**80, np.exceptions.AxisError, f"{2**80} is out of bounds for an array of 2 dimensions")
    yield from (fault for fault in FAULTS["axis"](valid) if fault.text != "must ... got ...")


KINDS = FAULTS | {"divisor": divisors, "axis": axes}


@pytest.mark.parametrize("argument", FORWARD.kinds)
def test_a_bad_argument_of_forward_is_refused_by_name(argument):
    for fault in KINDS[FORWARD.kinds[argument]](forward_arguments()[argument]):
        changes = {argument: fault.value}
        assert_call_refused(FORWARD, fault.error, f"{argument} {fault.text}", **forward_arguments() | changes)


def test_running_statistics_that_overlap_are_refused():
    memory = np.ones((3, 2, 3, 3))
    text = "running_matrix must not overlap running_mean, got overlapping arrays"
    shared = {"running_mean": memory.reshape(-1)[:6], "running_matrix": memory[0]}
    assert_call_refused(FORWARD, ValueError, text, **forward_arguments() | shared)
    rows = np.lib.stride_tricks.as_strided(memory.copy(), (2, 3, 3), (24, 8, 8))
    text = "running_matrix must have an address of its own for every element, got strides (24, 8, 8)"
    assert_call_refused(FORWARD, ValueError, text, **forward_arguments() | {"running_matrix": rows})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x": some(1, 6)}, "x must have more than one value per channel, got shape (1, 6)"),
        ({"running_mean": None}, "running_mean must be given together with running_matrix, got None"),
        ({"running_matrix": None}, "running_matrix must be given together with running_mean, got None"),
        ({"num_groups": 3}, "running_matrix must have shape (3, 2, 2), got (2, 3, 3)"),
    ],
)
def test_arguments_of_wrong_shapes_are_refused(changes, text):
    assert_call_refused(FORWARD, ValueError, text, **forward_arguments() | changes)


def test_a_bad_argument_of_backward_is_refused_by_name():
    backward = Function("whiten_backward", {}, dict)
    saved = tt.whiten_forward(some(9, 6)).saved
    for fault in FAULTS["required like it"](some(9, 6)):
        assert_call_refused(backward, fault.error, f"dy {fault.text}", fault.value, saved)
    for value in (None, 3, tuple(saved)):
        assert_call_refused(
            backward, TypeError, "saved must be what whiten_forward saved, got ...", some(9, 6), value
        )


# ---- arguments as the compiled functions take them ----


@pytest.mark.parametrize("kind", [OnlyDLPack, OnlyArray])
def test_foreign_arrays_are_read_once(rng, kind):
    x, dy = kind(rng.standard_normal((9, 3))), kind(rng.standard_normal((9, 3)))
    expected = tt.whiten_forward(x.array)
    result = tt.whiten_forward(x)
    assert_array_equal(result.y, expected.y)
    assert_array_equal(tt.whiten_backward(dy, result.saved), tt.whiten_backward(dy.array, expected.saved))
    assert x.reads == dy.reads == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt])
def test_errors_of_objects_are_passed_on(error):
    class Raises:
        def __array__(self, dtype=None, copy=None):
            raise error

    saved = tt.whiten_forward(some(9, 6)).saved
    for call in (lambda: tt.whiten_forward(Raises()), lambda: tt.whiten_backward(Raises(), saved)):
        with pytest.raises((error, TypeError)):
            call()


@pytest.mark.parametrize("name", ["eps", "momentum"])
def test_numbers_of_any_size_are_checked_by_name(name):
    for value in (10**400, -(10**400), np.array(np.nan)):
        with pytest.raises(ValueError, match=f"^whiten_forward: {name} must be "):
            tt.whiten_forward(some(9, 3), **forward_options(3), **{name: value})
    tt.whiten_forward(some(9, 3), num_groups=np.int8(3), axis=np.int64(1), eps=np.array(1e-3))


def forward_options(size):
    return {"running_mean": np.zeros(size), "running_matrix": np.eye(size)[None].copy()}
