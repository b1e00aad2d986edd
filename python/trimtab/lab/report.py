"""What an experiment has found: a table, JSON, a figure."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import isnan
from pathlib import Path
from typing import Any

import trimtab as tt
from trimtab import extras
from trimtab.lab.experiment import Claim, Experiment, Runs
from trimtab.lab.speed import times_as_long_in_torch
from trimtab.lab.store import plain
from trimtab.terminal import print_table

HOLDS = {True: "yes", False: "NO", None: ""}
INCHES, DPI = (8.0, 4.8), 100
COLORS = 128  # of a PNG, which is a third as large as with all colors


def present(experiment: Experiment[Any], setting: Any, runs: Runs, folder: Path) -> list[Claim]:
    """Print the claims, write NAME.json, NAME.png and NAME.svg, and return the claims."""
    claims = [
        replace(claim, source=claim.source or experiment.source) for claim in experiment.claims(setting, runs)
    ]
    print(f"\n{experiment.name}: {experiment.claim} ({experiment.source})")
    print_claims(claims)
    count = len(runs.seeds)
    ratio = times_as_long_in_torch(experiment.step(setting)) if experiment.step else None
    in_torch = None if ratio is None else ratio * runs.seconds
    seeds = f"{count} {'seed' if count == 1 else 'seeds'}"
    print(f"{seeds}, {duration(runs.seconds)}{'' if in_torch is None else text_of_torch(in_torch)}")
    results = {
        "name": experiment.name,
        "claims": [claim.as_json() for claim in claims],
        "setting": plain(asdict(setting)),
        "seeds": runs.seeds,
        "seconds": round(runs.seconds, 3),
        "seconds in PyTorch": None if in_torch is None or isnan(in_torch) else round(in_torch, 3),
        "version": tt.__version__,
        "isa": tt.isa(),
        "threads": tt.get_num_threads(),
    }
    path = folder / f"{experiment.name}.json"
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    print(f"results: {path}")
    try:
        print(f"figure: {draw(experiment, setting, runs, folder)}")
    except extras.MissingExtra as missing:
        print(f"figure: not drawn, {missing}")
    return claims


def print_claims(claims: list[Claim]) -> None:
    """Print a table of the claims."""
    rows = []
    for claim in claims:
        spread = "" if claim.spread is None else f"{claim.spread:.2g}"
        exact = ", exact" if claim.exact else ""
        wanted = claim.wanted.text + exact
        rows.append([claim.claim, f"{claim.measured:.4g}", spread, wanted, HOLDS[claim.holds]])
    print_table(["claim", "measured", "sd", "wanted", "holds"], rows)


def text_of_torch(seconds: float) -> str:
    """Say how long PyTorch would take, or that other processes took the CPUs when it was timed."""
    return (
        "; PyTorch: the machine is busy" if isnan(seconds) else f"; the same in PyTorch: {duration(seconds)}"
    )


def duration(seconds: float) -> str:
    """Format as seconds, or as minutes from two of them on."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def draw(experiment: Experiment[Any], setting: Any, runs: Runs, folder: Path) -> Path:
    """Draw the figure as PNG and SVG, and return the path of the former.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    matplotlib = extras.load("matplotlib", "lab")
    figure = extras.load("matplotlib.figure", "lab").Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    path = folder / f"{experiment.name}.png"
    # The same figure gives the same bytes: no date, no random names; text stays text.
    with matplotlib.rc_context({"svg.hashsalt": experiment.name, "svg.fonttype": "none"}):
        experiment.draw(setting, runs, figure)
        figure.savefig(path)
        colors = extras.load("PIL.Image", "lab").open(path).convert("RGB").quantize(COLORS)
        colors.save(path, optimize=True)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path
