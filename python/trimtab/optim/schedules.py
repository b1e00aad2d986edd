"""Schedules: learning rates as functions of the number of updates done so far.

Any function of the step is a schedule. Those here check their arguments when they are made, and are defined
for every step.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Any, TypeAlias

from trimtab._checks import number, shown, whole

Schedule: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class _CheckedSchedule(ABC):
    """A schedule that checks its fields and its steps."""

    def _set(self, **fields: Any) -> None:
        """Set fields of the frozen dataclass to the values that their checks returned."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _named(self, argument: str) -> str:
        """Return the name of an argument for error messages."""
        return f"{type(self).__name__}: {argument}"

    def __call__(self, step: int) -> float:
        """Return the learning rate of update `step`, an int of at least 0."""
        if type(step) is not int or step < 0:
            step = whole(self._named("step"), step, 0)
        return self._rate(step)

    @abstractmethod
    def _rate(self, step: int) -> float:
        """Return the learning rate of a checked step."""


@dataclass(frozen=True)
class Constant(_CheckedSchedule):
    """The constant learning rate `lr` >= 0."""

    lr: float

    def __post_init__(self) -> None:
        self._set(lr=number(self._named("lr"), self.lr, 0))

    def _rate(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step(_CheckedSchedule):
    """``lr * factor ** (step // every)``: multiplied by `factor` > 0 after every `every` >= 1 updates."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._set(
            lr=number(self._named("lr"), self.lr, 0),
            every=whole(self._named("every"), self.every, 1),
            factor=number(self._named("factor"), self.factor, above=0),
        )

    def _rate(self, step: int) -> float:
        try:
            power = self.factor ** (step // self.every)
        except OverflowError:
            power = sys.float_info.max
        return self.lr * power


@dataclass(frozen=True)
class Cosine(_CheckedSchedule):
    """Half a cosine from `lr` to `end` over `steps` >= 1 updates, then `end` (Loshchilov and Hutter 2017)."""

    lr: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        self._set(
            lr=number(self._named("lr"), self.lr, 0),
            steps=whole(self._named("steps"), self.steps, 1),
            end=number(self._named("end"), self.end, 0),
        )

    def _rate(self, step: int) -> float:
        return _half_cosine(self.lr, self.end, min(step, self.steps) / self.steps)


@dataclass(frozen=True)
class Warmup(_CheckedSchedule):
    """Linear growth over `steps` >= 0 updates to the start of another schedule (Goyal et al. 2017).

    Update `steps` is step 0 of the other `schedule`, which is followed from then on.
    """

    steps: int
    schedule: Schedule

    def __post_init__(self) -> None:
        self._set(steps=whole(self._named("steps"), self.steps, 0))
        try:
            start = self.schedule(0)
        except TypeError as error:
            raise TypeError(
                f"{self._named('schedule')} must be a function of the step, got {shown(self.schedule)}"
            ) from error
        number(self._named("schedule(0)"), start, 0)

    def _rate_of_schedule(self, step: int) -> float:
        """Return the learning rate of the other schedule."""
        return number(self._named(f"schedule({step})"), self.schedule(step), 0)

    def _rate(self, step: int) -> float:
        if step < self.steps:
            return self._rate_of_schedule(0) * (step + 1) / (self.steps + 1)
        return self._rate_of_schedule(step - self.steps)


@dataclass(frozen=True)
class OneCycle(_CheckedSchedule):
    """Half a cosine from ``lr / 25`` up to `lr`, another down to ``lr / 1e5`` (after Smith and Topin 2018).

    It rises during the share `rise` of the `steps` >= 1 updates, 0 < rise < 1. After `steps` updates it stays
    constant.
    """

    lr: float
    steps: int
    rise: float = 0.3

    def __post_init__(self) -> None:
        self._set(
            lr=number(self._named("lr"), self.lr, 0),
            steps=whole(self._named("steps"), self.steps, 1),
            rise=number(self._named("rise"), self.rise, above=0, below=1),
        )

    def _rate(self, step: int) -> float:
        done = min(step, self.steps) / self.steps
        if done < self.rise:
            return _half_cosine(self.lr / 25, self.lr, done / self.rise)
        return _half_cosine(self.lr, self.lr / 1e5, (done - self.rise) / (1 - self.rise))


def _half_cosine(start: float, end: float, share: float) -> float:
    """Return the value at a share of half a cosine from `start` (share 0) to `end` (share 1), both exact."""
    weight = (1 + cos(pi * share)) / 2
    return start * weight + end * (1 - weight)
