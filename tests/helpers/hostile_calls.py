"""Calls with hostile arguments, and the rules for their results."""

import re

import numpy as np
from helpers.hostile_values import ARRAYS, KINDS, MEDDLED, PLAIN, SHARED, HostileError, hostile
from hypothesis import given
from hypothesis import strategies as st

ALLOWED = (TypeError, ValueError, MemoryError)  # AxisError is a ValueError


@st.composite
def plans(draw, names, kinds):
    """One to three arguments, and the kind of hostile value for each."""
    chosen = draw(st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=3, unique=True))
    return {name: draw(st.sampled_from(kinds)) for name in chosen}


def planned(valid, plan):
    """New valid arguments, with hostile values for those in the plan."""
    arguments = valid()
    for name, kind in plan.items():
        arguments[name] = hostile(kind, name, arguments)
    return arguments


def arrays_in(value):
    if isinstance(value, dict):
        return arrays_in([*value.values()])
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if isinstance(item, np.ndarray)]


def memory_of(array):
    """The shape, strides, dtype and flags of an array, and the bytes of the memory below it."""
    memory = array
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    known = memory.size and not memory.dtype.hasobject
    return array.shape, array.strides, array.dtype, array.flags.writeable, memory.tobytes() if known else None


def plain(value):
    """The same values in separate contiguous arrays."""
    if isinstance(value, np.ndarray):
        return np.array(value, value.dtype.newbyteorder("="), order="C", subok=False)
    if isinstance(value, list | tuple) and arrays_in(value):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def assert_same(got, expected):
    if isinstance(got, tuple | list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(got, np.ndarray):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_equal(got, expected)


def examine(names, call, kinds=KINDS):
    """Call with each hostile value for each argument, then with random plans of several arguments."""
    found = alone(names, call, kinds)
    assert not found, {k: v[:4] for k, v in found.items()}
    given(plan=plans(names, kinds))(call)()


def alone(names, call, kinds):
    """The errors of calls with one hostile argument: kinds by argument and text of the error."""
    wrong = {}
    for name in names:
        for kind in kinds:
            try:
                call({name: kind})
            except Exception as error:
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                wrong.setdefault((name, text), []).append(kind)
    return wrong


def check(function, arguments, plan, message, updated=None):
    """Calls the function and judges what comes of it.

    An error is of a documented kind, its text begins as the pattern `message` says, and no array has been
    changed. Where `updated` is given, the arguments that are written to, layout and memory make no
    difference: what is returned and written is the same as for copies.
    """
    given = [array for value in arguments.values() for array in arrays_in(value)]
    before = [memory_of(array) for array in given]
    kinds = plan.values()
    plain_kinds = all(kind in ARRAYS or kind in PLAIN or kind in SHARED for kind in kinds)
    comparable = plain_kinds and updated is not None and arguments.get("rng", 0) is not None
    copies = {name: plain(value) for name, value in arguments.items()} if comparable else {}
    try:
        result = function(**arguments)
    except HostileError:
        pass
    except KeyboardInterrupt:
        assert "raises KeyboardInterrupt" in kinds
    except ALLOWED as error:
        assert isinstance(error, MemoryError) or re.match(message, str(error)), repr(error)
    else:
        if comparable:
            assert_same(result, function(**copies))
            for name in updated:
                assert_same(plain(arguments[name]), copies[name])
        return
    if not {*kinds} & {*MEDDLED}:
        assert [memory_of(array) for array in given] == before, "an argument has been changed"
