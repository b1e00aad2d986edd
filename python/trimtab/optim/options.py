"""The checked options that each group of parameters may have for itself, and the update they describe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, NamedTuple, TypeAlias, TypedDict, TypeVar

import trimtab._core as kernels
from trimtab._checks import flag, number
from trimtab._typing import Array
from trimtab.optim.schedules import Constant, Schedule

T = TypeVar("T")
Plan: TypeAlias = object  # of the kernel: a capsule


def non_negative(name: str, value: Any) -> float:
    """Return a finite float of at least 0."""
    return number(name, value, 0)


def optional_non_negative(name: str, value: Any) -> float | None:
    """Return a finite float of at least 0, or None."""
    return None if value is None else non_negative(name, value)


def as_schedule(name: str, lr: Any) -> Schedule:
    """Return a function of the step as it is, and a number as a constant schedule."""
    if isinstance(lr, type):
        raise TypeError(f"{name} must be a number or a schedule, got the class {lr.__name__}")
    return lr if callable(lr) else Constant(non_negative(name, lr))


def option(default: T, check: Callable[[str, Any], T], *, kernel: bool = False) -> T:
    """Return the field of an option; `kernel` says whether the compiled update takes it."""
    result: T = field(default=default, metadata={"check": check, "kernel": kernel})
    return result


class PlanArrays(NamedTuple):
    """The arrays of parameters of one dtype, item by item those of one parameter."""

    values: list[Array]
    grads: list[Array]
    buffers: dict[str, list[Array]]
    masters: list[Array] | None
    decays: list[bool]


class StepArguments(NamedTuple):
    """What differs from step to step; `steps` is the number of steps done before."""

    lr: float
    grad_scale: float
    steps: int
    statistics: bool


@dataclass(frozen=True, kw_only=True)
class Options(ABC):
    """The checked options of a group; `dataclasses.replace` checks again. `Optimizer` documents each.

    A subclass is an algorithm: it adds options, and says which buffers it keeps for each parameter and which
    kernel updates them. `owner` is the class that messages of errors begin with.
    """

    owner: str
    lr: Schedule = field(metadata={"check": as_schedule, "kernel": False})
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
            if entry.metadata:
                checked = entry.metadata["check"](f"{self.owner}: {entry.name}", getattr(self, entry.name))
                object.__setattr__(self, entry.name, checked)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(entry.name for entry in fields(cls) if entry.metadata)

    @property
    @abstractmethod
    def buffers(self) -> tuple[str, ...]:
        """Names of the arrays that are kept for each parameter, of its shape and at first zero."""

    @property
    def squares(self) -> tuple[str, ...]:
        """Names of the buffers that are means of squares, so never negative."""
        return ()

    @abstractmethod
    def make_plan(self, arrays: PlanArrays) -> Plan:
        """Return the plan of the kernel for arrays of one dtype, which are updated in one pass."""

    @abstractmethod
    def run(self, plan: Plan, step: StepArguments) -> kernels.UpdateStatistics | None:
        """Do one step of a plan."""

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
        """The keywords of the plan."""
        return {
            entry.name: getattr(self, entry.name) for entry in fields(self) if entry.metadata.get("kernel")
        }


class Keywords(TypedDict, total=False):
    """The options of every optimizer beside the learning rate, as type checkers see its keywords."""

    weight_decay: float
    l1: float
    decoupled: bool
    proximal: bool
    maximize: bool
    zero_grad: bool
    masters: bool
    decay_all: bool
    max_norm: float | None


def require_known(owner: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raise a TypeError that lists the options unless all that are given are known."""
    for name in given:
        if name not in known:
            raise TypeError(f"{owner}: options must be among {', '.join(known)}, got {name!r}")
