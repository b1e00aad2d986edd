"""The options that each group of parameters may have for itself, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, TypedDict, TypeVar

from trimtab._checks import flag, number
from trimtab.optim.schedules import Constant, Schedule

T = TypeVar("T")


def non_negative(name: str, value: Any) -> float:
    """Return a finite float of at least 0."""
    return number(name, value, 0)


def optional_non_negative(name: str, value: Any) -> float | None:
    """Return a finite float of at least 0, or None."""
    return None if value is None else non_negative(name, value)


def as_schedule(name: str, lr: Any) -> Schedule:
    """Return a function of the step as it is, and a number as a constant schedule."""
    return lr if callable(lr) else Constant(non_negative(name, lr))


def option(default: T, check: Callable[[str, Any], T], *, kernel: bool = False) -> T:
    """Return the field of an option; `kernel` says whether the compiled update takes it."""
    result: T = field(default=default, metadata={"check": check, "kernel": kernel})
    return result


@dataclass(frozen=True, kw_only=True)
class Options:
    """The checked options of a group; `dataclasses.replace` checks again. `SGD` documents each."""

    lr: Schedule = field(metadata={"check": as_schedule, "kernel": False})
    momentum: float = option(0.0, non_negative, kernel=True)
    dampening: float = option(0.0, non_negative, kernel=True)
    nesterov: bool = option(False, flag, kernel=True)
    weight_decay: float = option(0.0, non_negative, kernel=True)
    l1: float = option(0.0, non_negative, kernel=True)
    decoupled: bool = option(False, flag, kernel=True)
    proximal: bool = option(False, flag, kernel=True)
    maximize: bool = option(False, flag, kernel=True)
    zero_grad: bool = option(False, flag, kernel=True)
    masters: bool = option(False, flag)
    decay_all: bool = option(False, flag)
    max_norm: float | None = option(None, optional_non_negative)

    def __post_init__(self) -> None:
        for entry in fields(self):
            checked = entry.metadata["check"](f"SGD: {entry.name}", getattr(self, entry.name))
            object.__setattr__(self, entry.name, checked)
        if self.nesterov and not (self.momentum > 0 and self.dampening == 0):
            raise ValueError(
                "SGD: nesterov must go with momentum > 0 and dampening 0, "
                f"got {self.momentum} and {self.dampening}"
            )

    @property
    def constant_lr(self) -> float | None:
        """The learning rate, or None if it follows a schedule."""
        return self.lr.lr if isinstance(self.lr, Constant) else None

    @property
    def max_norm_or_inf(self) -> float:
        """The bound of the norms of the weights, infinite if there is none."""
        return inf if self.max_norm is None else self.max_norm

    @property
    def for_kernel(self) -> dict[str, Any]:
        """The keywords of `trimtab._core.sgd_plan`."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.metadata["kernel"]}


NAMES = tuple(entry.name for entry in fields(Options))


class Keywords(TypedDict, total=False):
    """The options beside the learning rate, as type checkers see the keywords of `SGD`."""

    momentum: float
    dampening: float
    nesterov: bool
    weight_decay: float
    l1: float
    decoupled: bool
    proximal: bool
    maximize: bool
    zero_grad: bool
    masters: bool
    decay_all: bool
    max_norm: float | None
