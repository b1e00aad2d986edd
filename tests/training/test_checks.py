"""The checks of numbers, flags and iterables that the Python modules share."""

from fractions import Fraction

import numpy as np
import pytest
from trimtab import _checks


class Index:
    def __index__(self):
        return 2


@pytest.mark.parametrize(
    "value",
    [Index(), 2, 2.0, np.float32(2), np.int8(2), np.uint64(2), Fraction(2), np.array(2.0), np.array(2)],
)
def test_numbers_of_any_real_type_become_floats(value):
    result = _checks.number("f: a", value)
    assert type(result) is float
    assert result == 2


@pytest.mark.parametrize(
    "value",
    [True, np.True_, np.array(True), "2", b"2", None, 2j, np.complex64(2), np.array(2j), np.ones(1), [2], {}],
    ids=repr,
)
def test_other_values_than_numbers_are_refused(value):
    for check in (_checks.number, _checks.whole):
        with pytest.raises(TypeError, match=r"^f: a must be (a number|an int), got "):
            check("f: a", value)


@pytest.mark.parametrize(
    ("limits", "rule", "inside", "outside"),
    [
        ({}, "finite", [-9, 0, 1e300], []),
        ({"low": 0}, "finite and >= 0", [0, 1e300], [-1e-300]),
        ({"above": 0}, "finite and > 0", [1e-300], [0, -1]),
        ({"low": 0, "high": 1.5}, "between 0 and 1.5", [0, 1.5], [-0.1, 1.6]),
        ({"low": 0, "below": 1}, "finite, >= 0 and < 1", [0, 0.99], [-0.1, 1]),
        ({"above": 0, "below": 1}, "finite, > 0 and < 1", [0.01], [0, 1]),
        ({"above": 0, "high": 1}, "finite, > 0 and <= 1", [0.01, 1], [0, 1.1]),
    ],
)
def test_numbers_beyond_their_limits_are_refused(limits, rule, inside, outside):
    for value in inside:
        assert _checks.number("f: a", value, **limits) == value
    for value in [*outside, np.nan, np.inf, -np.inf, 10**400]:
        with pytest.raises(ValueError, match=f"^f: a must be {rule}, got {value}$"):
            _checks.number("f: a", value, **limits)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_ints_of_any_type_are_taken(value):
    result = _checks.whole("f: a", value, 3)
    assert type(result) is int
    assert result == 3


def test_ints_below_their_limit_are_refused():
    for value in (3.0, np.float32(3), np.array(3.0), "3"):
        with pytest.raises(TypeError, match=r"^f: a must be an int, got "):
            _checks.whole("f: a", value)
    assert _checks.whole("f: a", -3) == -3
    with pytest.raises(ValueError, match=r"^f: a must be at least 4, got 3$"):
        _checks.whole("f: a", np.int8(3), 4)


@pytest.mark.parametrize("value", [True, False, np.True_, np.array(False)])
def test_other_values_than_bools_are_refused(value):
    result = _checks.flag("f: a", value)
    assert type(result) is bool
    assert result == value
    for other in (1, 0.0, "yes", None, np.ones(1, bool), np.int8(1)):
        with pytest.raises(TypeError, match=r"^f: a must be a bool, got "):
            _checks.flag("f: a", other)


def test_objects_without_a_repr_are_shown_by_their_type():
    class Mute:
        def __repr__(self):
            raise RuntimeError

    assert _checks.shown(Mute()) == "a Mute"
    assert _checks.shown("a") == "'a'"
    for check in (_checks.number, _checks.whole, _checks.flag):
        with pytest.raises(TypeError, match=r"^f: a must be .*, got a Mute$"):
            check("f: a", Mute())


def test_items_of_iterables_are_checked():
    for value in ([1, 2], (1, 2), iter([1, 2]), {1: 0, 2: 0}, np.array([1, 2])):
        assert _checks.items("f: a", value, "be a pair") == [1, 2]
    for value in (3, None, "ab", b"ab", np.array(3)):
        with pytest.raises(TypeError, match=r"^f: a must be a pair, got "):
            _checks.items("f: a", value, "be a pair")


def test_an_instance_of_a_class():
    assert _checks.instance("f: a", "text", str, "be a name") == "text"
    with pytest.raises(TypeError, match=r"^f: a must be a name, got 3$"):
        _checks.instance("f: a", 3, str, "be a name")
