"""How it is measured: every result is checked, then the libraries take turns."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any

import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Case, Inputs
from trimtab.bench.peers import Call, Table, numpy_table

# Long enough for the thread pool of the library measured before to stop spinning
PAUSE_SECONDS = 0.02
# Of the largest value of a result; float32 sums in NumPy are the loosest
TOLERANCE = 1e-4
OURS = "trimtab"


@dataclass(frozen=True)
class Timing:
    """Seconds per call over the rounds: the median and both quartiles."""

    median: float
    lower: float
    upper: float


def outputs(result: Any) -> list[Array]:
    """Return the arrays of a result."""
    return [
        np.asarray(array)
        for array in (result if isinstance(result, tuple) else (result,))
        if array is not None
    ]


def check(name: str, case: Case, call: Call, expected: list[Array]) -> None:
    """Raise a ValueError if a result is not that of float64 NumPy: of dropout, where both keep an element."""
    for array, reference in zip(outputs(call()), expected, strict=False):
        if case.p is not None:
            array, reference = array * (reference != 0), reference * (array != 0)
        error = np.abs(array - reference).max() / np.abs(reference).max()
        if not error <= TOLERANCE:
            raise ValueError(
                f"{name}: {case.op} {case.label} must be within {TOLERANCE:g} of float64, got {error:.1g}"
            )


def measure(case: Case, tables: dict[str, Table], rounds: int, block_seconds: float) -> dict[str, Timing]:
    """Check every library and time it in blocks of calls, one block of each library in turn.

    Others whose result is wrong are not timed, and a line on stderr says so; for ours it is an error.
    """
    inputs = Inputs.of(case)
    expected = outputs(numpy_table()[case.op](inputs.wide())())
    calls = {name: table[case.op](inputs) for name, table in tables.items()}
    for name, call in list(calls.items()):
        try:
            check(name, case, call, expected)
        except ValueError as wrong:
            if name == OURS:
                raise
            print(wrong, file=sys.stderr)
            del calls[name]
    del expected
    repeats = {name: max(1, round(block_seconds / block(call, 1))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            sleep(PAUSE_SECONDS)
            seconds[name].append(block(call, repeats[name]))
    return {
        name: Timing(*map(float, np.quantile(times, (0.5, 0.25, 0.75)))) for name, times in seconds.items()
    }


def block(call: Call, repeats: int) -> float:
    """Return the seconds of one call, after an untimed one that wakes threads and caches."""
    call()
    began = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - began) / repeats
