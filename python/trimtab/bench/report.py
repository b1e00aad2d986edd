"""Reports of measurements: a table, JSON, a plot."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict, astuple
from itertools import groupby
from math import exp, isnan, log
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import trimtab as tt
from trimtab import extras
from trimtab.bench.cases import Case
from trimtab.bench.measure import OURS, Timing
from trimtab.terminal import can_encode, print_table

Measurements: TypeAlias = dict[Case, dict[str, Timing]]

COLORS = ("#7f7f7f", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DOUBT = "~"
LINE_INCHES, MARGIN_INCHES = 0.2, 1.0
BESIDE: Any = {"textcoords": "offset points", "va": "center", "fontsize": 8}


def three_digits(value: float) -> str:
    """Format with three significant digits, or all digits before the point."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def duration(seconds: float, micro: str = "µ") -> str:
    """Format with three digits and a unit."""
    return (
        f"{three_digits(seconds * 1e6)} {micro}s" if seconds < 1e-3 else f"{three_digits(seconds * 1e3)} ms"
    )


def others(measurements: Measurements) -> list[str]:
    """Return the names of the other libraries."""
    return list(dict.fromkeys(name for timings in measurements.values() for name in timings if name != OURS))


def times_ours(timings: dict[str, Timing], name: str) -> str:
    """Format the time of a library as a multiple of ours, with a mark if one of the two is doubtful.

    Nothing where it lacks the operation.
    """
    if name not in timings:
        return ""
    ratio = timings[name].median / timings[OURS].median
    mark = DOUBT if timings[name].doubtful or timings[OURS].doubtful else ""
    return "wrong" if isnan(ratio) else f"{mark}{three_digits(ratio)}x"


def by_operation(measurements: Measurements) -> Iterator[tuple[str, list[Case]]]:
    """Group the cases by operation."""
    return ((op, [*cases]) for op, cases in groupby(measurements, key=lambda case: case.op))


def table(measurements: Measurements) -> None:
    """Print our median, its spread, and the time of each other library as a multiple of ours."""
    plus_minus, micro = ("±", "µ") if can_encode("±µ", sys.stdout) else ("+-", "u")
    names, rows = others(measurements), []
    for op, cases in by_operation(measurements):
        rows.append([op, "", "", *("" for _ in names)])
        for case in cases:
            timings, ours = measurements[case], measurements[case][OURS]
            ratios = [times_ours(timings, name) for name in names]
            mark = DOUBT if ours.doubtful else ""
            spread = f"{plus_minus}{ours.spread:.0%}"
            rows.append([f"  {case.label}", mark + duration(ours.median, micro), spread, *ratios])
    print_table(["operation", OURS, "spread", *names], rows)
    if any(DOUBT in cell for row in rows for cell in row):
        print(f"{DOUBT} doubtful: others took the CPUs, or the quartiles are more than a factor of 2 apart")


def by_first_operation(measurements: Measurements) -> Measurements:
    """Return the measurements with all cases of an operation side by side."""
    order = [*dict.fromkeys(case.op for case in measurements)]
    return {case: measurements[case] for case in sorted(measurements, key=lambda case: order.index(case.op))}


def of_the_best(timings: dict[str, Timing]) -> Timing | None:
    """Return the timing of the fastest other library; None if there is none."""
    right = [timing for name, timing in timings.items() if name != OURS and not isnan(timing.median)]
    return min(right, key=lambda timing: timing.median, default=None)


def mean_and_worst(measurements: Measurements) -> list[str]:
    """Format the number of cases, the geometric mean and the smallest of the ratios of the best to ours."""
    ratios, mark = [], ""
    for timings in measurements.values():
        if best := of_the_best(timings):
            ratios.append(best.median / timings[OURS].median)
            mark = DOUBT if mark or best.doubtful or timings[OURS].doubtful else ""
    if not ratios:
        return ["0", "", ""]
    mean = exp(sum(map(log, ratios)) / len(ratios))
    return [str(len(ratios)), f"{mark}{three_digits(mean)}x", f"{mark}{three_digits(min(ratios))}x"]


def summary(measurements: Measurements, drawn: Collection[Case]) -> None:
    """Print how many times as long as ours the best other library takes, for each operation and all.

    Shapes of the table and shapes drawn at random have columns of their own.
    """
    drawn = set(drawn)
    header = ["best of the others", "shapes", "mean", "worst"]
    rows = []
    for op in (*dict.fromkeys(case.op for case in measurements), None):
        chosen = {case: timings for case, timings in measurements.items() if op in (case.op, None)}
        of_table = {case: timings for case, timings in chosen.items() if case not in drawn}
        of_drawn = {case: timings for case, timings in chosen.items() if case in drawn}
        row = [op or "all", *mean_and_worst(of_table)]
        rows.append([*row, *mean_and_worst(of_drawn)] if drawn else row)
    print()
    print_table([*header, "drawn", "mean", "worst"] if drawn else header, rows)


def write_json(measurements: Measurements, path: Path) -> None:
    """Write all timings in seconds, null where a result was wrong, and the machine."""
    results = [
        asdict(case)
        | {"seconds": {name: None if isnan(t.median) else asdict(t) for name, t in timings.items()}}
        for case, timings in measurements.items()
    ]
    machine = {
        "trimtab": tt.__version__,
        "isa": tt.isa(),
        "threads": tt.get_num_threads(),
        "numpy": np.__version__,
    }
    path.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


def plot(measurements: Measurements, path: Path) -> None:
    """Plot the time of each other library as a multiple of ours, with quartiles, a row for each case."""
    headings: dict[str, int] = {}
    places: dict[Case, int] = {}
    for op, cases in by_operation(measurements):
        headings[op] = len(headings) + len(places)
        for case in cases:
            places[case] = len(headings) + len(places)
    lines = len(headings) + len(places)

    height = MARGIN_INCHES + LINE_INCHES * lines
    figure = extras.load("matplotlib.figure", "bench").Figure((9, height), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log", subs=(2, 5))
    axes.hlines([*places.values()], 0, 1, transform=axes.get_yaxis_transform(), color="#eeeeee", lw=0.8)
    at_right = ("axes fraction", "data")
    for color, name in zip(COLORS, others(measurements), strict=False):
        timed = [case for case in places if name in measurements[case]]
        at = [places[case] for case in timed]
        ours = [measurements[case][OURS].median for case in timed]
        middle, low, high = np.array([astuple(measurements[case][name])[:3] for case in timed]).T / ours
        axes.hlines(at, low, high, color=color, lw=5, alpha=0.4)
        axes.scatter(middle, at, s=24, color=color, label=name, zorder=3)
        for place in np.array(at)[np.isnan(middle)].tolist():
            axes.annotate(f"{name}: wrong", (1, place), (5, 0), color=color, **BESIDE)
    for case, place in places.items():
        time = duration(measurements[case][OURS].median)
        axes.annotate(time, (1, place), (6, 0), xycoords=at_right, **BESIDE)
    axes.annotate(OURS, (1, -0.9), (6, 0), xycoords=at_right, weight="bold", **BESIDE)
    axes.axvline(1, color="black", lw=1.5, label=OURS)
    axes.set(xlim=axes.get_xlim(), ylim=(lines - 0.4, -0.7))
    axes.axvspan(axes.get_xlim()[0], 1, color="black", alpha=0.06, lw=0)

    axes.set_yticks([*headings.values(), *places.values()], [*headings, *(case.label for case in places)])
    axes.tick_params(which="both", labelsize=8, length=4)
    axes.tick_params(axis="y", length=0)
    for label in axes.get_yticklabels()[: len(headings)]:
        label.set_weight("bold")
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.xaxis.set_minor_formatter("{x:g}×")
    axes.grid(axis="x", which="both", color="#e0e0e0")
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    where = f"{tt.isa()}, threads: {tt.get_num_threads()}"
    axes.set_xlabel(f"time of a call, as a multiple of trimtab's ({where})", fontsize=9)
    figure.legend(loc="outside upper center", ncols=len(COLORS), frameon=False, fontsize=9)
    figure.savefig(path)
