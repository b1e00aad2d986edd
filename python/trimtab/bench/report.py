"""How measurements are shown: a table, JSON, a plot."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

import numpy as np

import trimtab as tt
from trimtab import extras
from trimtab.bench.cases import Case
from trimtab.bench.measure import OURS, Timing
from trimtab.terminal import can_encode, print_table

Measurements: TypeAlias = dict[Case, dict[str, Timing]]


def duration(seconds: float) -> str:
    """Return three digits with a unit."""
    micro = "µs" if can_encode("µ", sys.stdout) else "us"
    value, unit = (seconds * 1e6, micro) if seconds < 1e-3 else (seconds * 1e3, "ms")
    return f"{value:#.3g}".rstrip(".") + f" {unit}"


def times_ours(timings: dict[str, Timing], name: str) -> float:
    """Return how many times longer than ours a library takes; NaN where its result was wrong."""
    return timings[name].median / timings[OURS].median if name in timings else float("nan")


def table(measurements: Measurements) -> None:
    """Print our median and quartiles, and how many times longer each other library takes."""
    others = list(
        dict.fromkeys(name for timings in measurements.values() for name in timings if name != OURS)
    )
    rows = []
    for case, timings in measurements.items():
        ours = timings[OURS]
        ratios = [f"{times_ours(timings, name):.1f}x" if name in timings else "wrong" for name in others]
        quartiles = f"{duration(ours.lower)} - {duration(ours.upper)}"
        rows.append([f"{case.op} {case.label}", duration(ours.median), quartiles, *ratios])
    print_table(["operation", OURS, "quartiles", *others], rows)


def write_json(measurements: Measurements, path: Path) -> None:
    """Write every timing in seconds, with what they were measured on."""
    results = [
        asdict(case) | {"seconds": {name: asdict(timing) for name, timing in timings.items()}}
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
    """Draw how many times longer than ours each library takes, one group of bars for each case."""
    figure = extras.load("matplotlib.figure", "bench").Figure(
        figsize=(8, 1.2 + 0.55 * len(measurements)), dpi=150, layout="constrained"
    )
    axes = figure.subplots()
    others = list(
        dict.fromkeys(name for timings in measurements.values() for name in timings if name != OURS)
    )
    places = np.arange(len(measurements))
    height = 0.8 / len(others)
    for position, name in enumerate(others):
        ratios = [times_ours(timings, name) for timings in measurements.values()]
        centres = places + (position - (len(others) - 1) / 2) * height
        axes.barh(centres, np.subtract(ratios, 1), height * 0.9, left=1, label=name)
        for centre, ratio in zip(centres, ratios, strict=True):
            label, end = (f"{ratio:.1f}x", max(ratio, 1)) if ratio == ratio else ("wrong", 1)
            axes.annotate(label, (end, centre), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.axvline(1, color="black", lw=0.8)
    axes.set_yticks(places, [f"{case.op}  {case.label}" for case in measurements], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.margins(x=0.1)
    axes.set_xlabel(f"time, as a multiple of trimtab's ({tt.isa()}, threads: {tt.get_num_threads()})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)
