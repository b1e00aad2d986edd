"""Learning rates as functions of the number of updates done so far. Any callable will do.

Those here are checked when they are made, and are defined for every update however late.
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
class _Checked(ABC):
    """A schedule whose fields and steps are checked."""

    def _keep(self, **fields: Any) -> None:
        """Replace fields by what their checks returned, in ``__post_init__``."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _named(self, argument: str) -> str:
        return f"{type(self).__name__}: {argument}"

    def __call__(self, step: int) -> float:
        """Return the learning rate of update `step`, an int of at least 0."""
        if type(step) is not int or step < 0:
            step = whole(self._named("step"), step, 0)
        return self._rate(step)

    @abstractmethod
    def _rate(self, step: int) -> float:
        """Return the learning rate of a step that has been checked."""


@dataclass(frozen=True)
class Constant(_Checked):
    """The same learning rate `lr` >= 0 always."""

    lr: float

    def __post_init__(self) -> None:
        self._keep(lr=number(self._named("lr"), self.lr, 0))

    def _rate(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step(_Checked):
    """``lr * factor ** (step // every)``: down by a `factor` > 0 after `every` >= 1 updates."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._keep(
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
class Cosine(_Checked):
    """Half a cosine from `lr` to `end` over `steps` >= 1 updates, then `end` (Loshchilov and Hutter 2017)."""

    lr: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        self._keep(
            lr=number(self._named("lr"), self.lr, 0),
            steps=whole(self._named("steps"), self.steps, 1),
            end=number(self._named("end"), self.end, 0),
        )

    def _rate(self, step: int) -> float:
        return _between(self.lr, self.end, min(step, self.steps) / self.steps)


@dataclass(frozen=True)
class Warmup(_Checked):
    """In `steps` >= 0 equal strides up to the beginning of another schedule, then that (Goyal et al. 2017).

    Update `steps` is the first one of the other `schedule`, which begins at its own step 0.
    """

    steps: int
    schedule: Schedule

    def __post_init__(self) -> None:
        self._keep(steps=whole(self._named("steps"), self.steps, 0))
        try:
            begin = self.schedule(0)
        except TypeError as error:
            raise TypeError(
                f"{self._named('schedule')} must be a function of the step, got {shown(self.schedule)}"
            ) from error
        number(self._named("schedule(0)"), begin, 0)

    def _follow(self, step: int) -> float:
        """Return what the other schedule says."""
        return number(self._named(f"schedule({step})"), self.schedule(step), 0)

    def _rate(self, step: int) -> float:
        if step < self.steps:
            return self._follow(0) * (step + 1) / (self.steps + 1)
        return self._follow(step - self.steps)


@dataclass(frozen=True)
class OneCycle(_Checked):
    """Half a cosine from ``lr / 25`` up to `lr`, another down to ``lr / 1e5`` (after Smith and Topin 2018).

    `rise` is the share of the `steps` >= 1 updates that goes up, between 0 and 1 but neither. After them the
    learning rate stays where it is.
    """

    lr: float
    steps: int
    rise: float = 0.3

    def __post_init__(self) -> None:
        self._keep(
            lr=number(self._named("lr"), self.lr, 0),
            steps=whole(self._named("steps"), self.steps, 1),
            rise=number(self._named("rise"), self.rise, above=0, below=1),
        )

    def _rate(self, step: int) -> float:
        done = min(step, self.steps) / self.steps
        if done < self.rise:
            return _between(self.lr / 25, self.lr, done / self.rise)
        return _between(self.lr, self.lr / 1e5, (done - self.rise) / (1 - self.rise))


def _between(begin: float, end: float, share: float) -> float:
    """Half a cosine from `begin` (share 0) to `end` (share 1), both exact."""
    left = (1 + cos(pi * share)) / 2
    return begin * left + end * (1 - left)
