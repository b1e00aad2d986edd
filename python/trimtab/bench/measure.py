"""Timing: each result is checked first, then the libraries are timed in turn."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, prod, sqrt
from time import perf_counter, sleep
from typing import Any

import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Case, Inputs
from trimtab.bench.peers.library import Call, Library
from trimtab.bench.peers.numpy import NumPy
from trimtab.terminal import print_status

# Long enough for the thread pool of the previous library to stop spinning
PAUSE_SECONDS = 0.02
# Relative to the largest value of a result. NumPy's float32 means have the largest errors. Scalars have a
# tolerance of their own, as PyTorch adds up whole arrays for norms sequentially.
TOLERANCE, SUM_TOLERANCE = 1e-4, 1e-2
OURS = "trimtab"
# Operations that drop at random, and the largest deviation of the share dropped, in standard deviations
DROPS, DEVIATIONS = {"dropout_forward", "add_dropout_forward", "alpha_dropout_forward"}, 6


@dataclass(frozen=True)
class Timing:
    """Seconds per call over all rounds: the median and both quartiles; NaN where the result was wrong."""

    median: float
    lower: float
    upper: float

    @property
    def spread(self) -> float:
        """Half the interquartile range, relative to the median."""
        return (self.upper - self.lower) / (2 * self.median)


WRONG = Timing(nan, nan, nan)


def outputs(result: Any) -> list[Array]:
    """Return the arrays of a result."""
    return [
        np.atleast_1d(array)
        for array in (result if isinstance(result, tuple) else (result,))
        if array is not None
    ]


def expect(case: Case) -> list[list[Array]]:
    """Compute the expected results by NumPy in float64; of dropout, for all kept and for all dropped."""
    inputs = Inputs(case, np.float64)
    draws = (True, False) if case.op in DROPS else (None,)
    return [outputs(getattr(NumPy(keep), case.op)(inputs)()) for keep in draws]


def error(array: Array, references: Sequence[Array]) -> float:
    """Return the largest distance of an element to the nearest reference, relative to their largest value."""
    distances = [np.subtract(array, reference, dtype=np.float64) for reference in references]
    for distance in distances:
        np.abs(distance, out=distance)
    largest = max(np.abs(reference).max() for reference in references)
    return float(functools.reduce(np.minimum, distances).max() / largest)


def dropped(array: Array, all_kept: Array, all_dropped: Array) -> float:
    """Return the fraction of elements that are dropped."""
    return float(np.mean(np.abs(array - all_dropped) < np.abs(array - all_kept)))


def check(name: str, case: Case, call: Call, expected: list[list[Array]]) -> None:
    """Raise a ValueError if a result is not as expected, or the fraction dropped is not about p."""

    def require(what: str, right: bool, got: float) -> None:
        if not right:
            raise ValueError(f"{name}: {case.op} {case.label} must {what}, got {got:.1g}")

    results = outputs(call())
    for array, references in zip(results, zip(*expected, strict=True), strict=False):
        far, tolerance = error(array, references), TOLERANCE if array.size > 1 else SUM_TOLERANCE
        require(f"be within {tolerance:g} of float64", far <= tolerance, far)
    if case.op in DROPS and case.p is not None:
        share = dropped(results[0], *(arrays[0] for arrays in expected))
        deviation = sqrt(case.p * (1 - case.p) / prod(case.shape))
        require(f"drop {case.p:g} of all", abs(share - case.p) <= DEVIATIONS * deviation, share)


def measure(case: Case, libraries: Sequence[Library], rounds: int, block_seconds: float) -> dict[str, Timing]:
    """Check each library that has the operation, then time blocks of calls, one of each library in turn.

    A library that fails or returns a wrong result is not timed, and stderr says why; for ours, raise.
    """
    inputs, expected = Inputs(case), expect(case)
    timings: dict[str, Timing] = {}
    calls: dict[str, Call] = {}
    for library in libraries:
        try:
            call = library.prepare(case.op, inputs)
            if call is None:
                continue
            check(library.name, case, call, expected)
        except Exception as wrong:
            if library.name == OURS:
                raise
            print_status(str(wrong).partition("\n")[0], stays=True)
            timings[library.name] = WRONG
        else:
            calls[library.name] = call
    del expected
    repeats = {name: max(1, round(block_seconds / block(call, 1))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            sleep(PAUSE_SECONDS)
            seconds[name].append(block(call, repeats[name]))
    for name, times in seconds.items():
        timings[name] = Timing(*map(float, np.quantile(times, (0.5, 0.25, 0.75))))
    return timings


def block(call: Call, repeats: int) -> float:
    """Return the seconds of one call, after an untimed call that wakes the threads and fills the caches."""
    call()
    began = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - began) / repeats
