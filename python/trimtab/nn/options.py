"""Options of layers, checked whenever they are set: when a layer is made, and later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab import _checks

if TYPE_CHECKING:
    from trimtab.nn.module import Module


class Option:
    """An attribute of a layer whose values pass a check of `trimtab._checks`, or one like them.

    It has no ``__get__``, so that reading is reading the instance's dict.

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

        def __get__(self, module: Module, owner: type) -> Any: ...

    def __set__(self, module: Module, value: Any) -> None:
        name = f"{type(module).__name__}: {self.name}"
        vars(module)[self.name] = self.check(name, value, *self.limits, **self.more)


def optional(name: str, value: Any, check: Callable[..., Any], *limits: Any) -> Any:
    """Return None, or what the check returns."""
    return None if value is None else check(name, value, *limits)


def choice(name: str, value: Any, *choices: Any) -> Any:
    """Return one of the choices; raise a ValueError that lists them for anything else."""
    for candidate in choices:
        if type(value) is type(candidate) and value == candidate:
            return candidate
    raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")


def sizes(name: str, value: Any, low: int | None = 1) -> tuple[int, ...]:
    """Return one int or a sequence of them as a tuple of ints, of at least `low` if that is given."""
    several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) and np.ndim(value) > 0
    items = value if several else (value,)
    return tuple(_checks.whole(name, item, low) for item in items)
