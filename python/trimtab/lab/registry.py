"""The experiments by name."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from trimtab.lab import experiments
from trimtab.lab.experiment import Experiment

ALL = "all"


def names() -> list[str]:
    """List the names of all experiments: those of their files."""
    return sorted(module.name for module in iter_modules(experiments.__path__))


def find(name: str) -> Experiment[Any]:
    """Return an experiment.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists the known ones.
    """
    if name not in names():
        raise ValueError(f"lab: name must be one of {', '.join(names())}, got {name!r}")
    experiment: Experiment[Any] = import_module(f"{experiments.__name__}.{name}").EXPERIMENT
    return experiment


def chosen(given: Iterable[str]) -> list[Experiment[Any]]:
    """Return the experiments of the given names, each once; "all" stands for all of them."""
    expanded = [name for one in given for name in (names() if one == ALL else [one])]
    return [find(name) for name in dict.fromkeys(expanded)]
