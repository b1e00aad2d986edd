"""What can be wrong with an argument, by its kind, and how to check that it is refused."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import trimtab as tt
from helpers.strategies import BFLOAT16, LAYOUTS


class Fault(NamedTuple):
    """A value, the error it raises, and the text after "<function>: <argument> ", where ... is any text."""

    value: object
    error: type[Exception]
    text: str


class Function(NamedTuple):
    name: str
    kinds: dict[str, str]
    valid: Callable[[], dict]  # fresh arguments
    own_faults: tuple = ()  # (arguments that differ from the valid ones, error, text)
    specification: Callable | None = None  # by default the function of this name in reference


def assert_argument_refused(function, valid, position, value, error, message):
    """The call with the positional arguments `valid` works; with `value` at `position` it fails."""
    function(*valid)
    with pytest.raises(error) as raised:
        function(*valid[:position], value, *valid[position + 1 :])
    assert str(raised.value).startswith(f"{function.__name__}: {message}")


def memory_of(value):
    if isinstance(value, list):
        return [memory_of(item) for item in value]
    if not isinstance(value, np.ndarray) or value is np.ma.masked or value.dtype.hasobject:
        return None
    return value.tobytes()


def assert_call_refused(function, error, text, *arguments, **keywords):
    given = [*arguments, *keywords.values()]
    before = [memory_of(value) for value in given]
    pattern = re.escape(f"{function.name}: {text}").replace(re.escape("..."), ".*")
    with pytest.raises(error, match=f"(?s)^{pattern}$"):
        getattr(tt, function.name)(*arguments, **keywords)
    assert [memory_of(value) for value in given] == before, "an argument has been changed"


def some(*shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).uniform(1, 2, shape).astype(dtype)


def not_real(valid):
    for dtype in ("complex64", "object", "datetime64[s]", "S8"):
        array = np.ones(valid.shape).astype(dtype)
        yield Fault(array, TypeError, f"must ... got dtype {array.dtype}")
    structured = np.zeros(valid.shape, [("a", "f4")])
    yield Fault(structured, TypeError, f"must ... got dtype {structured.dtype}")


def bad_dtypes(valid):
    yield from not_real(valid)
    yield Fault(
        np.ones(valid.shape, np.longdouble), TypeError, f"must ... got dtype {np.dtype(np.longdouble)}"
    )
    for dtype in ("int64", "bool", "uint8"):
        yield Fault(np.ones(valid.shape, dtype), TypeError, f"must ... got dtype {dtype}...")


def convertible(valid):
    """Errors about integers show the conversion."""
    yield Fault(np.ones(valid.shape, int), TypeError, "must ... got dtype int64: ....astype(np.float32)")


def special(valid):
    """Subclasses with other semantics, and lists of them, whose masks NumPy would ignore."""
    masked = np.ma.array(valid)
    for value in (masked, [masked], [[1.0, np.ma.masked]], (valid, [masked])):
        yield Fault(value, TypeError, "must be a plain numpy array, got numpy.ma.MaskedArray")
    for value in (valid.reshape(valid.shape[0], -1).view(np.matrix), [np.ones((1, 1)).view(np.matrix)]):
        yield Fault(value, TypeError, "must be a plain numpy array, got numpy.matrix")


def special_in_place(valid):
    yield Fault(np.ma.array(valid), TypeError, "must be a numpy.ndarray, got ...MaskedArray")
    matrix = valid.reshape(valid.shape[0], -1).view(np.matrix)
    yield Fault(matrix, TypeError, "must be a numpy.ndarray, got ...matrix")


def not_arrays(valid):
    yield from special(valid)
    for thing in ("text", b"bytes", object(), {}, [[1.0], [1.0, 2.0]], lambda: 0, float, 1j):
        yield Fault(thing, TypeError, "must ... got ...")


class Unreadable:
    """Raises an error on any access."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        raise RuntimeError("repr")


def other_values(valid):
    for shape in ((7,), (*valid.shape[:-1], valid.shape[-1] + 1), (*valid.shape, 2), ()):
        yield Fault(np.ones(shape, valid.dtype), ValueError, f"must have shape {valid.shape}, got {shape}")


def bad_shapes(valid):
    yield from other_values(valid)
    for shape in ((1, *valid.shape), (*valid.shape, 1)):
        yield Fault(np.ones(shape, valid.dtype), ValueError, f"must have shape {valid.shape}, got {shape}")


def leading_array(valid):
    yield from bad_dtypes(valid)
    yield from convertible(valid)
    yield from not_arrays(valid)
    yield Fault(range(2), TypeError, "must ... got dtype int64...")
    yield Fault(None, TypeError, "must be a float32, float64, float16 or bfloat16 array, got ...")
    text = "must be a float32, float64, float16 or bfloat16 array, got dtype int64: ..."
    yield Fault([[1, 2], [3, 4]], TypeError, text)


def like_leading_array(valid):
    yield from bad_dtypes(valid)
    yield from not_arrays(valid)
    yield from bad_shapes(valid)
    for dtype in ("float64", "float16", BFLOAT16):
        other = valid.astype(dtype)
        yield Fault(other, TypeError, f"must have dtype float32, got dtype {other.dtype}")


def required_like_leading_array(valid):
    yield from like_leading_array(valid)
    yield Fault(None, TypeError, "must ... got ...")


def statistic(valid):
    """float64 exactly, of the shape that forward returned."""
    yield from statistics(valid)
    yield from bad_shapes(valid)


def statistics(valid):
    """float64 of any shape."""
    yield from bad_dtypes(valid)
    yield from not_arrays(valid)
    yield Fault(None, TypeError, "must ... got ...")
    for dtype in ("float32", "float16", BFLOAT16):
        narrower = valid.astype(dtype)
        yield Fault(narrower, TypeError, f"must have dtype float64, got dtype {narrower.dtype}")


def parameter(valid):
    """Of any real dtype and of the right shape, except for axes of length 1."""
    yield from not_real(valid)
    yield from not_arrays(valid)
    yield from other_values(valid)


def required_parameter(valid):
    yield from parameter(valid)
    yield Fault(None, TypeError, "must ... got ...")


def factors(shapes):
    """Finite numbers >= 0 of any real dtype, and of one of the shapes."""

    def faults(valid):
        yield from not_real(valid)
        yield from not_arrays(valid)
        for shape in ((7,), (*valid.shape, 2)):
            yield Fault(np.ones(shape), ValueError, f"must have shape {shapes}, got {shape}")
        for wrong in (-1.0, float("nan"), float("inf"), -1e-300):
            values = valid.astype(np.float64)
            values[1] = wrong
            yield Fault(values, ValueError, f"must be finite and >= 0, got {wrong} at 1")

    return faults


def running(valid):
    """Updated in place and therefore never converted."""
    yield from bad_dtypes(valid)
    yield from other_values(valid)
    yield Fault(valid.tolist(), TypeError, "must be a numpy.ndarray, got list")
    yield from special_in_place(valid)
    yield from unwriteable(valid)


def unwriteable(valid):
    yield Fault(LAYOUTS["read-only"](valid), ValueError, "must be writeable, got a read-only array")
    strides = [0] * valid.ndim
    one_address = np.lib.stride_tricks.as_strided(valid.copy(), valid.shape, strides)
    text = f"must have an address of its own for every element, got strides {tuple(strides)}"
    yield Fault(one_address, ValueError, text)


def out(valid):
    for dtype in ("float64", "float16", "int32", BFLOAT16, ">f4"):
        other = np.ones(valid.shape, dtype)
        yield Fault(other, TypeError, f"must have dtype float32, got dtype {other.dtype}")
    for shape in (valid.shape[::-1], (1, *valid.shape), valid.shape[1:], (0,)):
        yield Fault(np.ones(shape, "f4"), ValueError, f"must have shape {valid.shape}, got {shape}")
    yield from unwriteable(valid)
    yield Fault(
        np.broadcast_to(valid[:1], valid.shape), ValueError, "must be writeable, got a read-only array"
    )
    yield Fault(valid.tolist(), TypeError, "must be a numpy.ndarray, got list")
    yield from special_in_place(valid)
    yield Fault("text", TypeError, "must be a numpy.ndarray, got str")
    yield Fault(memoryview(valid), TypeError, "must be a numpy.ndarray, got memoryview")


def axis(kind, ndim=2):
    def faults(_):
        for value in (5, -ndim - 1, ndim, 2**31, -(2**31) - 1):
            text = f"{value} is out of bounds for an array of {ndim} dimensions"
            yield Fault(value, np.exceptions.AxisError, text)
        yield Fault(2**80, ValueError, "must ... got ...")
        for value in (1.5, "0", [0], 1.0, True, 1j, np.array([0, 1]), object()):
            yield Fault(value, TypeError, f"must be {kind}, got ...")

    return faults


def axes(_):
    yield from any_axes(_)
    yield Fault((), ValueError, "must name at least one axis, got ()")


def any_axes(_):
    """Also no axes."""
    yield from axis("an int or a tuple of ints")(_)
    yield Fault((1, 1), ValueError, "must not repeat, got (1, 1)")
    yield Fault((1, -1), ValueError, "must not repeat, got (1, -1)")
    yield Fault((0, 2), np.exceptions.AxisError, "2 is out of bounds for an array of 2 dimensions")
    yield Fault((0, 1.5), TypeError, "must be an int or a tuple of ints, got ...")


def number(rule, *outside):
    def faults(_):
        for value in outside:
            yield Fault(value, ValueError, f"must be {rule}, got {value}")
        complex_numbers = (1j, np.complex64(1), np.clongdouble(1), np.array(1, np.clongdouble))
        for value in (*complex_numbers, "a", None, np.bool(1), [1.0], np.ones(2), object(), Unreadable()):
            yield Fault(value, TypeError, "must be a number, got ...")

    return faults


def flag(_):
    for value in (2, 1, 0.0, "yes", None, [], np.ones(2)):
        yield Fault(value, TypeError, "must be a bool, got ...")


def activation(_):
    for value in ("gelu", "RELU", "", "re\0lu", 1, True, b"relu", "\udc80"):
        yield Fault(value, ValueError, "must be None or 'relu', got ...")


def virtual_batch_size(_):
    yield Fault(1, ValueError, "must leave more than one value per channel in a block, got 1")
    for value in (0, -2, 2**80):
        yield Fault(value, ValueError, f"must be an int >= 1, got {value}")
    for value in (2.0, "2", True, [2], np.ones(2)):
        yield Fault(value, TypeError, "must be an int >= 1, got ...")


def num_groups(_):
    for value in (0, -1, 2**80):
        yield Fault(value, ValueError, f"must be an int >= 1, got {value}")
    for value in (4, 12, 5):
        yield Fault(value, ValueError, f"must divide the 6 channels, got {value}")
    for value in (2.0, "2", None, True, [2], np.ones(2)):
        yield Fault(value, TypeError, "must be an int >= 1, got ...")


def counts(valid):
    """Integers, one for each part."""
    for value in ([*valid, 1], valid[1:], ()):
        yield Fault(value, ValueError, f"must have shape {(len(valid),)}, got {(len(value),)}")
    for value in (None, 3, "text", object()):
        yield Fault(value, TypeError, "must be a sequence of whole numbers, got ...")
    yield Fault(np.ma.array(valid), TypeError, "must be a plain numpy array, got numpy.ma.MaskedArray")
    for wrong in (-1, -1.0, 2.5, float("nan"), float("inf"), 1e30):
        values = [1, 2, wrong, 4]
        yield Fault(values, ValueError, f"[2] must be a whole number >= 0, got {np.array(values)[2].item()}")
    for wrong in ("2", None, 1j):
        yield Fault([1, 2, wrong, 4], TypeError, "[...] must be a ... got ...")


def chance(_):
    for value in (-1, 2**64, -(2**80)):
        yield Fault(value, ValueError, f"must be between 0 and 2**64 - 1, got {value}")
    no_generators = (np.random, np.random.Generator, np.random.RandomState, np.random.PCG64(1))
    for value in (*no_generators, 1.5, "1", True, [1], np.ones(2), object(), Unreadable()):
        text = "must be a numpy.random.Generator, a RandomState, an int or None, got ..."
        yield Fault(value, TypeError, text)


def below_1(_):
    yield from number("between 0 and 1", 1.5, -0.1, float("nan"), float("inf"))(_)
    yield Fault(1.0, ValueError, "must be less than 1, got 1.0")


def mask(valid):
    yield from bad_shapes(valid)
    for dtype in ("int8", "int64", "float32", "object"):
        yield Fault(valid.astype(dtype), TypeError, f"must have dtype uint8 or bool, got dtype {dtype}")
    yield from special(valid)
    for shape in ((5,), (4, 2), (3, 4), ()):
        yield Fault(np.ones(shape, bool), ValueError, f"must have shape (...), got {shape}")
    for thing in (None, "text", b"bytes", object(), {}, [[1.0], [1.0, 2.0]], range(2)):
        yield Fault(thing, TypeError, "must have dtype uint8 or bool, got ...")


def extents(_):
    for value in (-1, (3, -1), 2**80):
        yield Fault(value, ValueError, "must be an int or a tuple of ints, none of them negative, got ...")
    yield Fault((2**40, 2**40), ValueError, "must have at most 2**63 - 1 elements, got ...")
    for value in (1.5, "3", None, True, [3], (3, 1.5), np.ones(2), object()):
        yield Fault(value, TypeError, "must be an int or a tuple of ints, none of them negative, got ...")


def labels(valid):
    for array in (fault.value for fault in not_real(valid)):
        yield Fault(array, TypeError, f"must be integers, or probabilities ... got dtype {array.dtype}")
    for thing in (None, "text", b"bytes", object(), {}, [[1], [1, 2]], lambda: 0, 1j):
        yield Fault(thing, TypeError, "must be integers, or probabilities of a real dtype, got ...")
    yield from special(valid)
    for shape in ((3,), (4, 2), (3, 4), (2, 2), ()):
        text = f"must have shape (4,), or (4, 3) where they are probabilities, got {shape}"
        yield Fault(np.ones(shape, int), ValueError, text)
    yield Fault(np.ones(4, np.float32), ValueError, "must have shape (4, 3), got (4,)")
    for dtype, wrong in [
        ("i8", 3),
        ("i1", -2),
        ("i8", -(2**63)),
        ("u8", 2**62),
        ("u8", 2**64 - 1),
        ("u1", 255),
    ]:
        array = np.array([0, 1, wrong, 2], dtype)
        yield Fault(array, ValueError, f"must be between 0 and 2, or -1, got {wrong}")


def ignore_index(_):
    for value in (1.5, "1", True, [1], np.ones(2), object()):
        yield Fault(value, TypeError, "must be None or an int, got ...")


def reduction(_):
    for value in ("Mean", "", "average", None, 1, True, b"mean", "\udc80"):
        yield Fault(value, ValueError, "must be 'mean', 'sum' or 'none', got ...")


def listed(valid):
    """An array or a sequence of arrays, read only."""
    yield from bad_dtypes(valid)
    for fault in special(valid):
        yield fault._replace(text="..." + fault.text)
    for thing in ("text", b"bytes", object(), None, 1, 1j, lambda: 0, float):
        yield Fault(thing, TypeError, "must be a float32, float64, float16 or bfloat16 array, got ...")


def in_place(valid):
    """An array or a sequence of arrays, updated in place and therefore never converted."""
    yield from bad_dtypes(valid)
    yield from special_in_place(valid)
    for fault in special_in_place(valid):
        yield Fault([fault.value], fault.error, f"[0] {fault.text}")
        yield Fault({"w": fault.value}, fault.error, f"... {fault.text}")
    for thing in ("text", b"bytes", object(), 1.5, 1j, lambda: 0, float):
        yield Fault(thing, TypeError, "must be a numpy.ndarray, got ...")
    yield from unwriteable(valid)


def in_place_like(valid):
    for fault in in_place(valid):
        yield fault if not isinstance(fault.value, dict) else fault._replace(text="must be no mapping ...")
    yield from other_values(valid)
    for dtype in ("float64", "float32", "float16", BFLOAT16):
        other = valid.astype(dtype)
        if other.dtype != valid.dtype:
            yield Fault(other, TypeError, f"must have dtype {valid.dtype}, got dtype {other.dtype}")


def required_in_place_like(valid):
    yield from in_place_like(valid)
    yield Fault(None, TypeError, "must be a numpy.ndarray, got NoneType")


def step(_):
    for value in (0, -1, -(2**63), 2**63, 2**80):
        yield Fault(value, ValueError, f"must be an int >= 1, got {value}")
    for value in (
        1.0,
        2.5,
        "1",
        None,
        True,
        [1],
        np.ones(2),
        np.bool(1),
        object(),
        Unreadable(),
    ):
        yield Fault(value, TypeError, "must be an int >= 1, got ...")


def betas(_):
    for value in (0.9, None, {0.9, 0.5}, {"a": 1, "b": 2}, iter([0.9, 0.9]), object(), Unreadable()):
        yield Fault(value, TypeError, "must be two numbers, got ...")
    for value in ((), (0.9,), (0.9, 0.99, 0.999), np.zeros(3), "abc"):
        yield Fault(value, ValueError, "must be two numbers, got ...")
    for value in (1.0, 1, -0.1, -1e-300, float("nan"), float("inf"), 2.5):
        yield Fault((value, 0.5), ValueError, f"[0] must be >= 0 and < 1, got {value}")
        yield Fault([0.5, value], ValueError, f"[1] must be >= 0 and < 1, got {value}")
    for value in ("a", None, 1j, False, [0.5], object(), Unreadable()):
        yield Fault((0.9, value), TypeError, "[1] must be a number, got ...")


def first_step(_):
    for value in (2, 0.0, None, object()):
        yield Fault(value, TypeError, "must be a bool, got ...")
    for value in ([], [True, False], np.ones(2), "yes"):
        yield Fault(value, ValueError, f"must have 1 bools, got {len(value)}")


finite = number("finite", float("nan"), float("inf"), -float("inf"))
non_negative = number("finite and >= 0", -1.0, float("nan"), float("inf"), -float("inf"), -1e-300)

FAULTS = {
    "array": leading_array,
    "like it": like_leading_array,
    "required like it": required_like_leading_array,
    "statistic": statistic,
    "statistics": statistics,
    "parameter": parameter,
    "required parameter": required_parameter,
    "factors": factors("(3,)"),
    "factors or one": factors("(3,) or ()"),
    "factors of samples": factors("(4,) or (...)"),
    "running": running,
    "out": out,
    "axis": axis("an int"),
    "axis of 3": axis("an int", ndim=3),
    "axes": axes,
    "eps": non_negative,
    "finite": finite,
    "non-negative": non_negative,
    "bound": number("between 0 and inf", -1.0, float("nan"), -float("inf")),
    "arrays": listed,
    "in place": in_place,
    "in place like": in_place_like,
    "required in place like": required_in_place_like,
    "step": step,
    "betas": betas,
    "first step": first_step,
    "momentum": number("between 0 and 1", 1.5, -0.1, float("nan"), float("inf")),
    "p": number("between 0 and 1", 1.5, -0.1, float("nan"), float("inf")),
    "p below 1": below_1,
    "chance": chance,
    "mask": mask,
    "extents": extents,
    "any axes": any_axes,
    "labels": labels,
    "ignore index": ignore_index,
    "reduction": reduction,
    "flag": flag,
    "activation": activation,
    "virtual batch size": virtual_batch_size,
    "at least 1": number("between 1 and inf", 0.5, -1.0, float("nan"), -float("inf")),
    "counts": counts,
    "groups": num_groups,
}
