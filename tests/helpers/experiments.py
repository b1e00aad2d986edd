"""Experiments that take no time, in the place of those of the lab."""

import os
from dataclasses import dataclass

import numpy as np
from trimtab.lab.experiment import SHOWN, Claim, Experiment, above, at_least, below


@dataclass(frozen=True)
class Setting:
    steps: int = 4
    factor: float = 2.0
    log: str = ""  # a file with a line for each run
    fails_at: int = -1  # seed whose run raises KeyboardInterrupt, as after Ctrl-C


def cells(setting):
    return [{"norm": None}, {"norm": "batch"}]


def run(setting, seed, data, progress, norm):
    """The result: seed times factor, 100 more with a norm."""
    if seed == setting.fails_at:
        raise KeyboardInterrupt
    with open(setting.log or os.devnull, "a") as log:
        log.write(f"{norm} {seed}\n")
    for _ in progress(range(setting.steps)):
        pass
    value = setting.factor * seed + (100 if norm else 0)
    return {"value": np.float32(value), "curve": np.arange(3.0), "name": str(norm)}


def claims(setting, runs):
    gain = runs.values("value", norm="batch") - runs.values("value", norm=None)
    return [
        Claim("gain", gain.min(), at_least(100), exact=True),
        Claim.of_mean("mean", runs.values("value", norm="batch"), above(1000)),
        Claim("not a number", float("nan"), SHOWN, source="nobody 1999"),
    ]


def draw(setting, runs, figure):
    figure.subplots().plot(runs.values("curve").T)


def broken_claims(setting, runs):
    return [Claim("sum is below 1", float(np.sum(runs.values("value"))), below(1), exact=True)]


def make(name, **options):
    given = {
        "claim": f"what {name} claims",
        "source": "somebody 2001",
        "passes": "a gain",
        "minutes": 1,
        "setting": Setting(),
        "quick": Setting(steps=2, factor=3.0),
        "run": run,
        "claims": claims,
        "draw": draw,
        "cells": cells,
        "quick_seeds": 2,
    }
    return Experiment(name=name, **given | options)
