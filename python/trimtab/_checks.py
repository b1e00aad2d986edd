"""Checks of single arguments, by the rules of the compiled functions.

Each check returns the value as Python's own type, or raises an error. The message begins with `name`, the
function or class and the argument, such as ``"SGD: momentum"``, and quotes the value. Arrays, generators and
paths are read by `trimtab._inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isfinite
from operator import index
from typing import Any


def number(
    name: str,
    value: Any,
    low: float = -inf,
    high: float = inf,
    *,
    above: float = -inf,
    below: float = inf,
) -> float:
    """Return a finite float with ``low <= value <= high`` and ``above < value < below``.

    Raises
    ------
    TypeError
        If the value is not one real number: a bool, a string, an array with axes.
    ValueError
        If it is out of range.
    """
    result = value if type(value) is float else _as_float(name, value)
    if not (isfinite(result) and low <= result <= high and above < result < below):
        raise ValueError(f"{name} must be {_range_text(low, high, above, below)}, got {shown(value, str)}")
    return result


def _as_float(name: str, value: Any) -> float:
    """Return the value as a float, infinite where it is too large."""
    scalar = hasattr(type(value), "__float__") or hasattr(type(value), "__index__")
    if not scalar or _kind(value) in "bc" or getattr(value, "ndim", 0) != 0:
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return inf
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {shown(value)}") from error


def _range_text(low: float, high: float, above: float, below: float) -> str:
    """Describe a range: ``between 0 and 1``, or ``finite, >= 0 and < 1``."""
    if isfinite(low) and isfinite(high):
        return f"between {low:g} and {high:g}"
    limits = (">=", low), (">", above), ("<=", high), ("<", below)
    *others, last = ["finite", *(f"{sign} {limit:g}" for sign, limit in limits if isfinite(limit))]
    return f"{', '.join(others)} and {last}" if others else last


def whole(name: str, value: Any, low: int | None = None) -> int:
    """Return an int, NumPy's included, of at least `low`.

    Raises
    ------
    TypeError
        If the value is not an int; a float or a bool is not one.
    ValueError
        If it is below `low`.
    """
    try:
        result = index(value)
    except TypeError:
        result = None
    if result is None or _kind(value) == "b" or getattr(value, "ndim", 0) != 0:
        raise TypeError(f"{name} must be an int, got {shown(value)}")
    if low is not None and result < low:
        raise ValueError(f"{name} must be at least {low}, got {shown(value, str)}")
    return result


def divisor(name: str, value: Any, total: int, items: str) -> int:
    """Return an int that divides `total`, the number of `items`; raise a ValueError if it does not."""
    result = whole(name, value)
    if result < 1 or total % result:
        raise ValueError(f"{name} must divide the {total} {items}, got {result}")
    return result


def flag(name: str, value: Any) -> bool:
    """Return a bool, NumPy's included; raise a TypeError for anything else."""
    if _kind(value) != "b" or getattr(value, "ndim", 0) != 0:
        raise TypeError(f"{name} must be a bool, got {shown(value)}")
    return bool(value)


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a string that is one of `choices`; raise a ValueError that lists them for anything else."""
    if not (isinstance(value, str) and value in choices):
        *others, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {shown(value)}")
    return value


def instance(name: str, value: Any, kind: type[Any], rule: str) -> Any:
    """Return an instance of a class; raise a TypeError with the rule, such as "be a Module", otherwise."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must {rule}, got {shown(value)}")
    return value


def items(name: str, value: Any, rule: str) -> list[Any]:
    """Return the items of an iterable; raise a TypeError with the rule for text and anything else."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError("text has no items")
        return list(value)
    except (TypeError, NotImplementedError) as error:  # the latter by a memory view of several axes
        raise TypeError(f"{name} must {rule}, got {shown(value)}") from error


def shown(value: Any, form: Callable[[Any], str] = repr) -> str:
    """Return the text of a value, or its type if making the text fails."""
    try:
        return form(value)
    except MemoryError:
        raise
    except Exception:
        return f"a {type(value).__name__}"


def _kind(value: Any) -> str:
    """Return the kind of dtype: "b" for bools, "c" for complex numbers, "f" for values without a dtype."""
    if isinstance(value, bool):
        return "b"
    if isinstance(value, complex):
        return "c"
    return str(getattr(getattr(value, "dtype", None), "kind", "f"))
