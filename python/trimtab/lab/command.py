"""The command ``trimtab lab``: lists, shows and runs experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import fill
from typing import Any

import trimtab as tt
from trimtab import extras
from trimtab.lab import registry
from trimtab.lab.data import Data, default_folder
from trimtab.lab.experiment import Experiment
from trimtab.lab.report import present
from trimtab.lab.runner import run_all
from trimtab.lab.store import Store
from trimtab.terminal import print_table

RUNS = "runs"  # the folder of the finished runs, in the folder of the results


class ClaimsFailed(ValueError):
    """Claims that mathematics leaves no choice about do not hold."""


def show_list() -> None:
    """Print the name, the claim and the minutes of every experiment."""
    experiments = [registry.find(name) for name in registry.names()]
    rows = [[one.name, one.claim, f"{one.minutes:g}"] for one in experiments]
    print_table(["experiment", "claim", "minutes"], rows, left=2)


def prepare_show(name: str) -> Callable[[], None]:
    """Return the function that shows an experiment; raise a ValueError if there is none of that name."""
    return partial(show, registry.find(name))


def show(experiment: Experiment[Any]) -> None:
    """Print the claim, its source, what a pass is, and the settings."""
    print(f"{experiment.name}: {experiment.claim}")
    paragraphs = {"source": experiment.source, "a pass": experiment.passes, "notes": experiment.notes}
    for title, text in paragraphs.items():
        if text:
            print(fill(f"{title}: {text}", 100, subsequent_indent="  "))
    seeds = ["seeds", str(experiment.seeds), str(experiment.quick_seeds)]
    quick = asdict(experiment.quick)
    rows = [[name, str(value), str(quick[name])] for name, value in asdict(experiment.setting).items()]
    print()
    print_table(["setting", "full", "--quick"], [*rows, seeds])


def prepare_run(
    names: Sequence[str], data: Path | None, quick: bool, seeds: int | None, out: Path, jobs: int
) -> Callable[[], None]:
    """Return the function that runs experiments.

    Raises
    ------
    MissingExtra
        If several jobs are asked for and joblib is not installed.
    ValueError
        If a name is not known, a data set is missing or damaged, or the results cannot be written.
    """
    experiments = registry.chosen(names)
    if jobs > 1:
        extras.load("joblib", "lab")
    source = Data(data or default_folder())
    source.require([name for experiment in experiments for name in experiment.data])
    make_folder(out)
    return partial(run, experiments, source, quick, seeds, out, jobs)


def make_folder(out: Path) -> None:
    """Make the folder of the results; raise a ValueError if it cannot be made or written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise ValueError(
            f"lab: out must be a folder that can be written, got {str(out)!r}: {error.strerror}"
        ) from error


def run(
    experiments: Sequence[Experiment[Any]], data: Data, quick: bool, seeds: int | None, out: Path, jobs: int
) -> None:
    """Run experiments one after the other, and present each.

    Raises
    ------
    ClaimsFailed
        At the end, if exact claims do not hold.
    """
    store = Store(out / RUNS)
    failed: list[str] = []
    for experiment in experiments:
        for version, count in store.other_versions(experiment.name).items():
            runs = f"{count} runs of {experiment.name} by version {version}"
            print(f"{runs} in {store.folder} are not used: this is {tt.__version__}")
        setting = experiment.quick if quick else experiment.setting
        number = seeds or (experiment.quick_seeds if quick else experiment.seeds)
        try:
            results = run_all(experiment, setting, number, data, store, jobs)
        except KeyboardInterrupt:
            print(f"{experiment.name}: finished runs are kept in {store.folder}; the same command continues")
            raise
        claims = present(experiment, setting, results, out)
        failed += [
            f"{experiment.name}: {claim.claim}" for claim in claims if claim.exact and claim.holds is False
        ]
    if failed:
        raise ClaimsFailed(f"lab: exact claims must hold, got {len(failed)} that do not: {'; '.join(failed)}")
