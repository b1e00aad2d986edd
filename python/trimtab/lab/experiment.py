"""What an experiment consists of: settings, runs, claims, a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from trimtab._typing import Array
from trimtab.lab.speed import Step

Setting = TypeVar("Setting")

# ---- runs ----


class Run(NamedTuple):
    """One run of an experiment: of one cell of its grid, from one seed."""

    cell: Mapping[str, Any]
    seed: int
    result: dict[str, Any]
    seconds: float


class Runs:
    """All runs of an experiment."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    def values(self, key: str, **cell: Any) -> Array:
        """Return a result of every run of the cells that match, stacked along the first axis.

        >>> runs = Runs([Run({"p": 0.5}, seed, {"error": 0.1 * seed}, 1.0) for seed in (0, 1)])
        >>> runs.values("error", p=0.5)
        array([0. , 0.1])
        """
        found = [run.result[key] for run in self._runs if run.cell.items() >= cell.items()]
        if not found:
            raise KeyError(f"no run of the cell {cell}")
        return np.array(found)

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return sorted({run.seed for run in self._runs})

    @property
    def seconds(self) -> float:
        """How long all runs took together, one after the other."""
        return sum(run.seconds for run in self._runs)


def deviation(values: Array) -> Array:
    """Return the standard deviation over the seeds, the first axis; 0 if there is one seed."""
    spread: Array = np.std(values, axis=0, ddof=len(values) > 1)
    return spread


def in_deviations(values: Array) -> float:
    """Return the mean over the seeds as a multiple of their standard deviation; NaN for one seed."""
    return float(np.mean(values) / np.std(values, ddof=1)) if len(values) > 1 else nan


# ---- claims ----


class Wanted(NamedTuple):
    """What a measured number must be."""

    text: str
    holds: Callable[[float], bool]  # False for NaN, as comparisons are


def below(limit: float) -> Wanted:
    """Want a number below the limit."""
    return Wanted(f"< {limit:g}", lambda number: number < limit)


def above(limit: float) -> Wanted:
    """Want a number above the limit."""
    return Wanted(f"> {limit:g}", lambda number: number > limit)


def at_most(limit: float) -> Wanted:
    """Want a number of at most the limit."""
    return Wanted(f"<= {limit:g}", lambda number: number <= limit)


def at_least(limit: float) -> Wanted:
    """Want a number of at least the limit."""
    return Wanted(f">= {limit:g}", lambda number: number >= limit)


def between(low: float, high: float) -> Wanted:
    """Want a number in a range, its ends included."""
    return Wanted(f"{low:g} .. {high:g}", lambda number: low <= number <= high)


SHOWN = Wanted("shown", lambda number: True)  # nothing is asserted


@dataclass(frozen=True)
class Claim:
    """A sentence with a number that decides whether it holds.

    Parameters
    ----------
    claim : str
        What is said to be true, with the number that is measured.
    measured : float
    wanted : Wanted
        What the number must be for the claim to hold; `SHOWN` if nothing is asserted.
    spread : float, optional
        Standard deviation over the seeds.
    exact : bool
        Whether mathematics leaves no other result than that the claim holds.
    source : str, optional
        Paper and year; by default that of the experiment.
    """

    claim: str
    measured: float
    wanted: Wanted = SHOWN
    spread: float | None = None
    exact: bool = False
    source: str = ""

    @classmethod
    def of_mean(cls, claim: str, values: Array, wanted: Wanted = SHOWN, **options: Any) -> Claim:
        """Make a claim about the mean of the values from several seeds, with their standard deviation."""
        with np.errstate(invalid="ignore"):  # a training may have diverged
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(claim, float(np.mean(values)), wanted, spread, **options)

    @property
    def holds(self) -> bool | None:
        """Whether the number is as wanted; None if nothing is asserted."""
        return None if self.wanted is SHOWN else bool(self.wanted.holds(self.measured))

    def as_json(self) -> dict[str, Any]:
        """Return what stands in the report; numbers that are not finite are None."""
        return {
            "claim": self.claim,
            "source": self.source,
            "measured": _finite(self.measured),
            "wanted": self.wanted.text,
            "holds": self.holds,
            "exact": self.exact,
            "spread over seeds": None if self.spread is None else _finite(self.spread),
        }


def _finite(number: float) -> float | None:
    """Return the number, or None, as JSON has neither NaN nor infinity."""
    return float(number) if isfinite(number) else None


# ---- the experiment ----


def one_cell(setting: Any) -> list[dict[str, Any]]:
    """Return the grid of an experiment whose runs differ in the seed alone."""
    return [{}]


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[Setting]):
    """An experiment: what it claims, and the functions that show it.

    Parameters
    ----------
    name : str
        That of its file.
    claim, source, passes : str
        The claim in one line; paper and year; what counts as a pass.
    minutes : float
        How long all runs of the full setting take on two cores.
    setting, quick : Setting
        A frozen dataclass of named numbers: with the paper's values, and one that takes seconds and still
        shows the effect.
    run : callable
        ``run(setting, seed, data, progress, **cell) -> dict`` does one run. The result has numbers, strings,
        lists and arrays; `data` is a `Data`, `progress` a `Progress`.
    claims : callable
        ``claims(setting, runs) -> list of Claim``.
    draw : callable
        ``draw(setting, runs, figure)`` draws on a figure of matplotlib, which it need not import.
    cells : callable
        ``cells(setting) -> list of dict``: the grid, of which each cell is run from every seed. By default
        there is one cell.
    data : tuple of str
        The data sets that it needs: "mnist", "fashion-mnist".
    seeds, quick_seeds : int
        Number of seeds unless the caller says otherwise.
    step : callable, optional
        ``step(setting) -> Step``: the training step that takes most of the time, which is then measured in
        PyTorch, too, where it is installed.
    notes : str
        Where the setting departs from the paper's, and why.
    """

    name: str
    claim: str
    source: str
    passes: str
    minutes: float
    setting: Setting
    quick: Setting
    run: Callable[..., dict[str, Any]]
    claims: Callable[[Setting, Runs], list[Claim]]
    draw: Callable[[Setting, Runs, Any], None]
    cells: Callable[[Setting], list[dict[str, Any]]] = one_cell
    data: tuple[str, ...] = ()
    seeds: int = 3
    quick_seeds: int = 3
    step: Callable[[Setting], Step] | None = None
    notes: str = ""
