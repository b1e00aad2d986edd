"""Schedules: learning rates as functions of the number of updates done so far.

Any function of the step is a schedule. Those here check their arguments when they are made, and are defined
for every step. Steps are updates of the weights; ``from_epochs`` makes a schedule from epochs.

>>> Cosine.from_epochs(0.1, epochs=30, batches_per_epoch=100)
Cosine(lr=0.1, steps=3000, end=0.0)
>>> Warmup.from_epochs(2, Cosine(0.1, steps=2800), batches_per_epoch=100)
Warmup(steps=200, schedule=Cosine(lr=0.1, steps=2800, end=0.0))
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, InitVar, dataclass, field, fields
from math import cos, pi
from typing import Any, Self, TypeAlias

from trimtab._checks import number, shown, whole

Schedule: TypeAlias = Callable[[int], float]
IN_EPOCHS = {"steps": "epochs", "every_steps": "every_epochs"}


@dataclass(frozen=True)
class _CheckedSchedule(ABC):
    """A schedule that checks its fields and its steps."""

    def _set(self, **checked: Any) -> None:
        """Set fields of the frozen dataclass to the values that their checks returned."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def _named(cls, argument: str) -> str:
        """Return the name of an argument for error messages."""
        return f"{cls.__name__}: {argument}"

    @classmethod
    def from_epochs(cls, *arguments: Any, batches_per_epoch: int, **options: Any) -> Self:
        """Make the schedule from `epochs` in the place of `steps`, or `every_epochs` of `every_steps`.

        Parameters
        ----------
        *arguments, **options
            Those of the class. Epochs are numbers > 0, such as 0.5, rounded to whole updates, at least one.
        batches_per_epoch : int
            Number of updates in an epoch: of batches, if each makes an update.

        Raises
        ------
        TypeError, ValueError
            As the class, or if epochs are not a number > 0.
        """
        batches = whole(cls._named("batches_per_epoch"), batches_per_epoch, 1)
        in_epochs = [IN_EPOCHS.get(entry.name, entry.name) for entry in fields(cls)]
        given = dict(zip(in_epochs, arguments, strict=False)) | options
        if len(arguments) > len(in_epochs) or len(given) < len(arguments) + len(options):
            raise TypeError(f"{cls._named('from_epochs')} must get {', '.join(in_epochs)}, each once")
        for steps, epochs in IN_EPOCHS.items():
            if steps in given:
                raise TypeError(f"{cls._named(epochs)} must be given, got {steps}={shown(given[steps])}")
            if epochs in given and epochs in in_epochs:
                duration = number(cls._named(epochs), given.pop(epochs), above=0)
                total = number(cls._named(f"{epochs} * batches_per_epoch"), duration * batches)
                given[steps] = max(1, round(total))
        for name, entry in zip(in_epochs, fields(cls), strict=True):
            if entry.default is MISSING and entry.name not in given:
                raise TypeError(f"{cls._named(name)} must be given to from_epochs, got {', '.join(given)}")
        return cls(**given)

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
    """The constant learning rate `lr` >= 0.

    Examples
    --------
    >>> from trimtab import optim
    >>> optim.Constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        self._set(lr=number(self._named("lr"), self.lr, 0))

    def _rate(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step(_CheckedSchedule):
    """``lr * factor ** (step // every_steps)``: times `factor` > 0 after every `every_steps` >= 1 updates.

    `every` is an older name of `every_steps`.

    Examples
    --------
    >>> from trimtab import optim
    >>> schedule = optim.Step(0.1, every_steps=100, factor=0.5)
    >>> [schedule(step) for step in (0, 99, 100)]
    [0.1, 0.1, 0.05]
    """

    lr: float
    every_steps: int = None  # type: ignore[assignment]  # required, but `every` may stand for it
    factor: float = 0.1
    every: InitVar[int | None] = field(default=None, kw_only=True)

    def __post_init__(self, every: int | None) -> None:
        if every is not None and self.every_steps is not None:
            raise TypeError(
                f"{self._named('every')} must not be given beside every_steps, got {shown(every)}"
            )
        name, steps = ("every_steps", self.every_steps) if every is None else ("every", every)
        self._set(
            lr=number(self._named("lr"), self.lr, 0),
            every_steps=whole(self._named(name), steps, 1),
            factor=number(self._named("factor"), self.factor, above=0),
        )

    def _rate(self, step: int) -> float:
        return _scaled(self.lr, self.factor, step // self.every_steps)


@dataclass(frozen=True)
class Exponential(_CheckedSchedule):
    """``lr * factor ** (step / every_steps)``: smoothly times `factor` > 0 in `every_steps` >= 1 updates.

    Examples
    --------
    >>> from trimtab import optim
    >>> schedule = optim.Exponential(0.1, every_steps=100, factor=0.5)
    >>> [round(schedule(step), 4) for step in (0, 50, 100)]
    [0.1, 0.0707, 0.05]
    """

    lr: float
    every_steps: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._set(
            lr=number(self._named("lr"), self.lr, 0),
            every_steps=whole(self._named("every_steps"), self.every_steps, 1),
            factor=number(self._named("factor"), self.factor, above=0),
        )

    def _rate(self, step: int) -> float:
        periods, rest = divmod(step, self.every_steps)
        return _scaled(self.lr * self.factor ** (rest / self.every_steps), self.factor, periods)


@dataclass(frozen=True)
class Polynomial(_CheckedSchedule):
    """``end + (lr - end) * (1 - step / steps) ** power`` over `steps` >= 1 updates, then `end`.

    The `power` > 0 is 1 for a straight line.

    Examples
    --------
    >>> from trimtab import optim
    >>> schedule = optim.Polynomial(0.1, steps=100, power=2.0)
    >>> [round(schedule(step), 4) for step in (0, 50, 100)]
    [0.1, 0.025, 0.0]
    """

    lr: float
    steps: int
    power: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        self._set(
            lr=number(self._named("lr"), self.lr, 0),
            steps=whole(self._named("steps"), self.steps, 1),
            power=number(self._named("power"), self.power, above=0),
            end=number(self._named("end"), self.end, 0),
        )

    def _rate(self, step: int) -> float:
        left: float = (1 - min(step, self.steps) / self.steps) ** self.power
        return self.lr * left + self.end * (1 - left)


@dataclass(frozen=True)
class Cosine(_CheckedSchedule):
    """Half a cosine from `lr` to `end` over `steps` >= 1 updates, then `end` (Loshchilov and Hutter 2017).

    Examples
    --------
    >>> from trimtab import optim
    >>> schedule = optim.Cosine(0.1, steps=100)
    >>> [round(schedule(step), 4) for step in (0, 50, 100)]
    [0.1, 0.05, 0.0]
    """

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

    Examples
    --------
    >>> from trimtab import optim
    >>> schedule = optim.Warmup(10, optim.Constant(0.1))
    >>> [round(schedule(step), 4) for step in (0, 4, 9, 100)]
    [0.0091, 0.0455, 0.0909, 0.1]
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

    Examples
    --------
    >>> from trimtab import optim
    >>> schedule = optim.OneCycle(0.1, steps=100)
    >>> [round(schedule(step), 4) for step in (0, 30, 99)]
    [0.004, 0.1, 0.0001]
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


def _scaled(lr: float, factor: float, count: int) -> float:
    """Return ``lr * factor ** count``, or the largest float if it is larger."""
    try:
        rate = lr * factor**count
    except OverflowError:
        rate = lr * sys.float_info.max
    return min(rate, sys.float_info.max)


def to_notes(schedule: Schedule) -> Any:
    """Return a schedule of this module as values for JSON, and None for any other function."""
    if type(schedule) not in _kinds().values():
        return None
    notes = {"kind": type(schedule).__name__}
    for entry in fields(schedule):  # type: ignore[arg-type]
        value = getattr(schedule, entry.name)
        if callable(value):
            value = to_notes(value)
            if value is None:
                return None
        notes[entry.name] = value
    return notes


def from_notes(notes: Any) -> Schedule | None:
    """Return the schedule of its notes; raise an error if they are damaged."""
    if notes is None:
        return None
    if not isinstance(notes, Mapping):
        raise TypeError(f"notes must be a mapping, got {shown(notes)}")
    arguments: dict[str, Any] = {
        name: from_notes(value) if isinstance(value, Mapping) else value for name, value in notes.items()
    }
    return _kinds()[arguments.pop("kind")](**arguments)


def _kinds() -> dict[str, type[_CheckedSchedule]]:
    return {kind.__name__: kind for kind in _CheckedSchedule.__subclasses__() if kind.__module__ == __name__}
