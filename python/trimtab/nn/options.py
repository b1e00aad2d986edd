"""`Option`: an attribute of a layer or callback that is checked whenever it is set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab import _checks


class Option:
    """An attribute of a layer or callback whose values pass a check of `trimtab._checks`, or a similar one.

    Without ``__get__``, reading the attribute is reading the instance's dict.

    Parameters
    ----------
    check : callable
        ``check(name, value, *limits, **more) -> value``
    """

    def __init__(self, check: Callable[..., Any], *limits: Any, **more: Any) -> None:
        self.check, self.limits, self.more = check, limits, more

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: type) -> Any: ...

    def __set__(self, instance: Any, value: Any) -> None:
        name = f"{type(instance).__name__}: {self.name}"
        vars(instance)[self.name] = self.check(name, value, *self.limits, **self.more)


class Fixed(Option):
    """An option that is set once, in ``__init__``, because the state of the layer depends on it."""

    def __set__(self, instance: Any, value: Any) -> None:
        if self.name in vars(instance):
            raise AttributeError(
                f"{type(instance).__name__}: {self.name} must stay {vars(instance)[self.name]!r}, "
                f"got {_checks.shown(value)}: make another layer"
            )
        super().__set__(instance, value)


def optional(name: str, value: Any, check: Callable[..., Any], *limits: Any) -> Any:
    """Return None, or what the check returns."""
    return None if value is None else check(name, value, *limits)


def choice(name: str, value: Any, *choices: Any) -> Any:
    """Return one of the choices; raise a ValueError that lists them for anything else."""
    for candidate in choices:
        if type(value) is type(candidate) and value == candidate:
            return candidate
    raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {_checks.shown(value)}")


LARGEST_SIZE = 2**31 - 1  # the largest extent of an image in the kernels


def size(name: str, value: Any) -> int:
    """Return the size of an axis as an int; raise an error unless it can be one."""
    result = _checks.whole(name, value, 1)
    if result > LARGEST_SIZE:
        raise ValueError(f"{name} must be at most {LARGEST_SIZE}, got {result}")
    return result


def require_addressable(owner: str, shape: tuple[int, ...]) -> None:
    """Raise a MemoryError if no memory holds float64 values of a shape; NumPy would raise a ValueError."""
    if prod(shape) > sys.maxsize // 8:
        raise MemoryError(f"{owner}: parameters must fit in the address space, got shape {shape}")


def sizes(name: str, value: Any, check: Callable[..., int] = size, *limits: int) -> tuple[int, ...]:
    """Return one int or a sequence of them as a tuple of ints that pass a check."""
    items = value if is_sequence(value) else (value,)
    return tuple(check(name, item, *limits) for item in items)


def is_sequence(value: Any) -> bool:
    """Whether a value is a list, a tuple or another sequence but text, or an array that has axes."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)
