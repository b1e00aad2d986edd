"""Learning rates as functions of the number of updates done so far. Any callable will do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same learning rate always."""

    lr: float

    def __call__(self, step: int) -> float:
        """Return ``lr``."""
        return self.lr


@dataclass(frozen=True)
class Step:
    """``lr * factor ** (step // every)``: down by a factor after every so many updates."""

    lr: float
    every: int
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        """Return the learning rate of update `step`, counted from 0."""
        return self.lr * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `lr` to `end` over `steps` updates, then `end` (Loshchilov and Hutter 2017)."""

    lr: float
    steps: int
    end: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the learning rate of update `step`, counted from 0."""
        return _between(self.lr, self.end, step / self.steps)


@dataclass(frozen=True)
class Warmup:
    """In `steps` equal strides up to the beginning of another schedule, then that (Goyal et al. 2017)."""

    steps: int
    schedule: Schedule

    def __call__(self, step: int) -> float:
        """Return the learning rate of update `step`, counted from 0."""
        if step < self.steps:
            return self.schedule(0) * (step + 1) / (self.steps + 1)
        return self.schedule(step - self.steps)


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine from ``lr / 25`` up to `lr`, another down to ``lr / 1e5`` (after Smith and Topin 2018).

    `rise` is the share of the `steps` updates that goes up.
    """

    lr: float
    steps: int
    rise: float = 0.3

    def __call__(self, step: int) -> float:
        """Return the learning rate of update `step`, counted from 0."""
        peak = self.rise * self.steps
        if step < peak:
            return _between(self.lr / 25, self.lr, step / peak)
        return _between(self.lr, self.lr / 1e5, (step - peak) / (self.steps - peak))


def _between(begin: float, end: float, share: float) -> float:
    """Half a cosine from `begin` (share 0) to `end` (share 1 and above)."""
    return end + (begin - end) * (1 + cos(pi * min(share, 1.0))) / 2
