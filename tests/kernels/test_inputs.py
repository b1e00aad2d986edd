"""Python functions read arrays, seeds and generators as the compiled functions do."""

import re

import numpy as np
import pytest
from helpers.foreign_arrays import OnlyArray, OnlyDLPack
from helpers.strategies import DTYPES
from numpy.testing import assert_array_equal
from trimtab import _core, _inputs


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_float_array_is_taken_as_it_is(rng, dtype):
    x = rng.standard_normal((3, 4)).astype(dtype)
    for array in (_inputs.float_array("f: x", x), _core.as_array(x)):
        assert (array.dtype, array.ctypes.data) == (x.dtype, x.ctypes.data)
    turned = _core.as_array(x.T)
    assert turned.flags.c_contiguous
    assert_array_equal(turned, x.T)


@pytest.mark.parametrize("kind", [OnlyDLPack, OnlyArray])
def test_foreign_arrays_are_read_once(rng, kind):
    given = kind(rng.standard_normal((3, 4)))
    assert_array_equal(_inputs.float_array("f: x", given), given.array)
    assert given.reads == 1
    assert_array_equal(_inputs.float_array("f: x", given.array.tolist()), given.array)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3),
        np.ones(3, bool),
        np.ones(3, complex),
        [1, 2],
        None,
        "text",
        np.ma.array([1.0]),
        np.ones((1, 1)).view(np.matrix),
    ],
    ids=repr,
)
def test_other_values_are_refused_by_name(value):
    with pytest.raises(TypeError, match=re.escape("Layer(3): x must be a ")):
        _inputs.float_array("Layer(3): x", value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_errors_of_objects_are_passed_on(error):
    class Raises:
        def __array__(self, dtype=None, copy=None):
            raise error

    with pytest.raises((error, TypeError)):
        _inputs.float_array("f: x", Raises())


@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype(np.int64)], ids=str)
def test_copy_into_converts_to_the_dtype_of_the_target(dtype):
    target = np.zeros(3, dtype)
    _inputs.copy_into(target, "a", [1, 2, 3])
    assert_array_equal(target, [1, 2, 3])
    for value, error, message in (
        (np.ones((1, 3), dtype), ValueError, r"^a must have shape \(3,\), got \(1, 3\)"),
        (np.ones(3) * 1j, TypeError, "^a must be a real array castable to .*, got dtype complex128"),
        (np.ma.array([1, 2, 3]), TypeError, "^a must be a plain array, got a MaskedArray"),
    ):
        with pytest.raises(error, match=message):
            _inputs.copy_into(target, "a", value)
    assert_array_equal(target, [1, 2, 3])
    if dtype == np.int64:
        with pytest.raises(TypeError, match="a must be a real array castable to int64, got dtype float64"):
            _inputs.copy_into(target, "a", [1.5, 2, 3])


@pytest.mark.parametrize(
    "seed", [3, np.int64(3), [1, 2], (1, np.uint8(2)), np.random.SeedSequence(4)], ids=str
)
def test_seeds_are_those_of_numpy(seed):
    expected = np.random.default_rng(seed).random(3)
    assert_array_equal(_inputs.as_generator("f: rng", seed).random(3), expected)


def test_generators_are_not_copied():
    generator, legacy = np.random.default_rng(1), np.random.RandomState(1)
    assert _inputs.as_generator("f: rng", generator) is generator
    _inputs.as_generator("f: rng", legacy).random(3)
    assert legacy.random_sample() != np.random.RandomState(1).random_sample()


@pytest.mark.parametrize(
    "bad", ["text", 1.5, np.ones(3), np.ones((2, 2)).view(np.matrix), [[1.0]], {}], ids=repr
)
def test_other_values_than_seeds_are_refused_by_name(bad):
    """NumPy recurses into a matrix until the interpreter crashes."""
    for value in (bad, [bad]):
        with pytest.raises(TypeError, match=r"^f: rng must be a seed, a generator or None, got "):
            _inputs.as_generator("f: rng", value)


def test_deep_and_recursive_lists_are_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"^f: x must be an array, got lists that are nested too deeply"):
        _inputs.as_array("f: x", endless)


@pytest.mark.parametrize(
    ("target", "value", "message"),
    [
        ("i8", np.uint64(2**63), f"must be between {-(2**63)} and {2**63 - 1}, got {2**63}"),
        ("u8", np.int8(-1), f"must be between 0 and {2**64 - 1}, got -1"),
        ("i1", np.array([0, -129]), "must be between -128 and 127, got -129"),
    ],
)
def test_integers_are_copied_into_integers_that_hold_them(target, value, message):
    array = np.ones(np.shape(value), target)
    with pytest.raises(ValueError, match=f"^f: x {message}$"):
        _inputs.copy_into(array, "f: x", value)
    assert_array_equal(array, 1)
    limits = np.iinfo(target)
    for limit in limits.min, limits.max:
        _inputs.copy_into(array, "f: x", np.full(array.shape, limit, np.min_scalar_type(limit)))
        assert_array_equal(array, limit)
    _inputs.copy_into(np.ones((0,), target), "f: x", np.ones((0,), "i4"))
