"""Timing: each result is checked first, then the libraries are timed in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from time import perf_counter
from typing import TypeAlias

import numpy as np

import trimtab as tt
from trimtab.bench.cases import Case, Inputs
from trimtab.bench.check import check, expect
from trimtab.bench.load import Load, Moment, rest
from trimtab.bench.peers.library import Call, Library
from trimtab.terminal import print_status

OURS = "trimtab"
ATTEMPTS = 3
# The share of disturbed blocks, and the quotient of the quartiles, beyond which a timing is doubtful
DISTURBED_SHARE, WIDEST = 0.25, 2.0

Block: TypeAlias = tuple[float, bool]  # seconds for each call, and whether others disturbed it


@dataclass(frozen=True)
class Timing:
    """Seconds per call over all rounds: the median and both quartiles; NaN where the result was wrong.

    `disturbed` is the share of the blocks that other processes disturbed, however often they were repeated.
    """

    median: float
    lower: float
    upper: float
    disturbed: float = 0.0

    @property
    def spread(self) -> float:
        """Half the interquartile range, relative to the median."""
        return (self.upper - self.lower) / (2 * self.median)

    @property
    def doubtful(self) -> bool:
        """Whether other processes disturbed the timing, or its quartiles are far apart."""
        return self.disturbed > DISTURBED_SHARE or self.upper > WIDEST * self.lower


WRONG = Timing(nan, nan, nan)


def measure(case: Case, libraries: Sequence[Library], rounds: int, block_seconds: float) -> dict[str, Timing]:
    """Check each library that has the operation, then time blocks of calls, one of each library in turn.

    A library that fails or returns a wrong result is not timed, and stderr says why; for ours, raise.
    """
    inputs, expected = Inputs(case), expect(case)
    timings: dict[str, Timing] = {}
    calls: dict[str, Call] = {}
    for library in (library for library in libraries if library.has(case)):
        try:
            call = library.prepare(case, inputs)
            check(library, case, call, expected)
        except Exception as wrong:
            if library.name == OURS:
                raise
            print_status(str(wrong).partition("\n")[0], stays=True)
            timings[library.name] = WRONG
        else:
            calls[library.name] = call
    del expected
    repeats = {name: max(1, round(block_seconds / block(call, 1))) for name, call in calls.items()}
    blocks: dict[str, list[Block]] = {name: [] for name in calls}
    start = Moment.now()
    for _ in range(rounds):
        for name, call in calls.items():
            blocks[name].append(undisturbed(call, repeats[name]))
    # Too long for one block, long enough for all of them: the clocks of other processes are coarse.
    crowded = Load.since(start).disturbs(tt.get_num_threads())
    for name, of_library in blocks.items():
        seconds, disturbed = zip(*of_library, strict=True)
        median, lower, upper = map(float, np.quantile(seconds, (0.5, 0.25, 0.75)))
        timings[name] = Timing(median, lower, upper, 1.0 if crowded else sum(disturbed) / rounds)
    return timings


def undisturbed(call: Call, repeats: int) -> Block:
    """Time a block; repeat it a few times while other processes take its CPUs."""
    for _ in range(ATTEMPTS):
        rest()
        start = Moment.now()
        seconds = block(call, repeats)
        disturbed = Load.since(start).disturbs(tt.get_num_threads())
        if not disturbed:
            break
    return seconds, disturbed


def block(call: Call, repeats: int) -> float:
    """Return the seconds of one call, after an untimed call that wakes the threads and fills the caches."""
    call()
    began = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - began) / repeats
