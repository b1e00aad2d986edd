"""The options of an optimizer that each group of parameters may have for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import inf
from typing import Any, TypedDict

from trimtab._checks import flag, number
from trimtab.optim.schedules import Constant, Schedule


class Keywords(TypedDict, total=False):
    """The options beside the learning rate; `SGD` says what each does."""

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


@dataclass(frozen=True, kw_only=True)
class Options:
    """Checked options of a group; `dataclasses.replace` checks again."""

    lr: Schedule
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    l1: float = 0.0
    decoupled: bool = False
    proximal: bool = False
    maximize: bool = False
    zero_grad: bool = False
    masters: bool = False
    decay_all: bool = False
    max_norm: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            checked = CHECKS[str(field.type)](f"SGD: {field.name}", getattr(self, field.name))
            object.__setattr__(self, field.name, checked)
        if self.nesterov and not (self.momentum > 0 and self.dampening == 0):
            raise ValueError(
                "SGD: nesterov must go with momentum > 0 and dampening 0, "
                f"got {self.momentum} and {self.dampening}"
            )

    @property
    def constant_lr(self) -> float | None:
        """The learning rate, or None where it follows a schedule."""
        return self.lr.lr if isinstance(self.lr, Constant) else None

    @property
    def limit(self) -> float:
        """Length that `max_norm` allows."""
        return inf if self.max_norm is None else self.max_norm

    @property
    def of_plan(self) -> dict[str, Any]:
        """What the kernel is told once for many steps."""
        return {name: getattr(self, name) for name in OF_PLAN}


OF_PLAN = (
    *("momentum", "dampening", "nesterov", "weight_decay", "l1"),
    *("decoupled", "proximal", "maximize", "zero_grad"),
)
NAMES = tuple(field.name for field in fields(Options))


def non_negative(name: str, value: Any) -> float:
    """Return a finite float of at least 0."""
    return number(name, value, 0)


def bound(name: str, value: Any) -> float | None:
    """Return a finite float of at least 0, or None."""
    return None if value is None else non_negative(name, value)


def as_schedule(name: str, lr: Any) -> Schedule:
    """Return a function of the step as it is, and a number as a constant one."""
    return lr if callable(lr) else Constant(non_negative(name, lr))


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "Schedule": as_schedule,
    "float": non_negative,
    "bool": flag,
    "float | None": bound,
}
