"""Checks of arguments, as the compiled functions make them.

Each returns the value as Python's own type, or raises an error that begins with the name it is given, such as
``"SGD: momentum"``, and quotes the value.
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
    result = value if type(value) is float else _float(name, value)
    if not (isfinite(result) and low <= result <= high and above < result < below):
        rules = [
            text
            for text, limit in (
                (f">= {low:g}", low),
                (f"> {above:g}", above),
                (f"<= {high:g}", high),
                (f"< {below:g}", below),
            )
            if isfinite(limit)
        ]
        if isfinite(low) and isfinite(high):
            *others, last = [f"between {low:g} and {high:g}"]
        else:
            *others, last = ["finite", *rules]
        rule = f"{', '.join(others)} and {last}" if others else last
        raise ValueError(f"{name} must be {rule}, got {shown(value, str)}")
    return result


def _float(name: str, value: Any) -> float:
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


def whole(name: str, value: Any, low: int | None = None) -> int:
    """Return an int, NumPy's included, of at least `low`.

    Raises
    ------
    TypeError
        If the value is no int; a float or a bool is none.
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


def items(name: str, value: Any, rule: str) -> list[Any]:
    """Return what is in an iterable; raise a TypeError with the rule for text and all else."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError("text has no items")
        return list(value)
    except (TypeError, NotImplementedError) as error:  # a memory view of several axes
        raise TypeError(f"{name} must {rule}, got {shown(value)}") from error


def shown(value: Any, form: Callable[[Any], str] = repr) -> str:
    """The text of a value, or its type where it gives none."""
    try:
        return form(value)
    except MemoryError:
        raise
    except Exception:
        return f"a {type(value).__name__}"


def _kind(value: Any) -> str:
    """The kind of dtype: "b" of bools, "c" of complex numbers, "f" of others that do not say."""
    if isinstance(value, bool):
        return "b"
    if isinstance(value, complex):
        return "c"
    return str(getattr(getattr(value, "dtype", None), "kind", "f"))
