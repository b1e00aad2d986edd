"""Time the kernels next to NumPy and every other library that is installed.

================  =====================================================================
module            contents
================  =====================================================================
``cases``         operations and shapes
``random_cases``  shapes drawn at random
``peers``         libraries: a file for each, a method for each operation
``check``         checks of results against float64
``load``          what other processes and idle threads take
``measure``       timing in turn, medians
``report``        tables, JSON, plot
================  =====================================================================

A new operation is a row in ``CASES`` and a method of each library that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trimtab as tt
from trimtab import extras
from trimtab._inputs import require_writable
from trimtab.bench import report
from trimtab.bench.cases import CASES, Case
from trimtab.bench.measure import measure
from trimtab.bench.peers import installed, use_threads
from trimtab.bench.random_cases import random_cases
from trimtab.terminal import print_status


def prepare(
    ops: Sequence[str] | None = None,
    quick: bool = False,
    threads: int | None = None,
    json: Path | None = None,
    plot: Path | None = None,
    random: int = 0,
    seed: int = 0,
) -> Callable[[], None]:
    """Check the options; return a function that measures, prints a table and writes the files.

    Parameters
    ----------
    ops : sequence of str, optional
        Parts of names: only operations whose name contains one of them are timed.
    quick : bool
        Time only the quick cases, in fewer and shorter rounds, without libraries that compile.
    threads : int, optional
        The number of threads of every library; by default that of trimtab.
    json, plot : path, optional
        Files to write.
    random, seed : int
        The number of shapes to draw for each operation beside those of the table, and their seed.

    Raises
    ------
    MissingExtra
        If a plot is requested and matplotlib is not installed.
    ValueError
        If a part occurs in no name, or a file cannot be written.
    """
    unknown = [part for part in ops or () if not any(part in case.op for case in CASES)]
    if unknown:
        known = ", ".join(dict.fromkeys(case.op for case in CASES))
        raise ValueError(f"bench: ops must be parts of {known}, got {', '.join(unknown)}")
    cases = [
        case
        for case in CASES
        if (case.quick or not quick) and (not ops or any(part in case.op for part in ops))
    ]
    if not cases:
        raise ValueError(f"bench: ops must have quick cases with --quick, got {', '.join(ops or ())}")
    if json:
        require_writable("bench: json", json)
    if plot:
        extras.require_figure("bench: plot", plot, "bench")
    if json and plot and json.resolve() == plot.resolve():
        raise ValueError(f"bench: json and plot must be two files, got {str(json)!r} for both")
    drawn = random_cases(cases, random, seed, quick)
    return partial(run, cases, drawn, quick, threads, json, plot)


def run(
    cases: Sequence[Case],
    drawn: Sequence[Case],
    quick: bool,
    threads: int | None,
    json: Path | None,
    plot: Path | None,
) -> None:
    """Measure and report; after an interrupt, report the cases measured so far."""
    libraries = installed(quick)
    rounds, block_seconds = (5, 0.005) if quick else (9, 0.02)
    measurements: report.Measurements = {}
    with use_threads(libraries, threads or tt.get_num_threads()):
        try:
            every = [*dict.fromkeys([*cases, *drawn])]
            for number, case in enumerate(every, start=1):
                print_status(f"{number}/{len(every)} {case.op} {case.label}")
                measurements[case] = measure(case, libraries, rounds, block_seconds)
        finally:
            print_status("")
            if measurements:
                write(measurements, drawn, json, plot)


def write(
    measurements: report.Measurements, drawn: Sequence[Case], json: Path | None, plot: Path | None
) -> None:
    """Print the tables and write the files."""
    measurements = report.by_first_operation(measurements)
    report.table(measurements)
    report.summary(measurements, drawn)
    if json:
        report.write_json(measurements, json)
    if plot:
        report.plot(measurements, plot)
