"""Stopping gradient descent early regularizes, and theory says when to stop.

A function f is known by m noisy values. Kernel gradient descent approaches f at first, and then fits the
noise. If f is smooth of degree r, the root mean squared error after

    t*(m) = ceil(m^(1 / ((2r + 2)(1 - theta))))

steps is at most a multiple of m^(-r / (2r + 2)). Here K(x, y) = min(x, y) and f(x) = x - x^2 / 2, which is
the integral of K(x, y) over y from 0 to 1, so that r = 1 and the error falls at least as m^(-1/4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab._typing import Array
from trimtab.early_stopping_theory import descend_exactly, stopping_time
from trimtab.lab.data import Data
from trimtab.lab.experiment import SHOWN, Claim, Experiment, Runs, at_least, at_most, deviation
from trimtab.lab.progress import Progress

SMOOTHNESS = 1  # r of f


@dataclass(frozen=True)
class Setting:
    """x is uniform on [0, 1]; the descent goes on to `past` times t*, for each theta."""

    sizes: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048, 4096)
    thetas: tuple[float, ...] = (0.0, 0.5)
    past: tuple[int, ...] = (10_000, 100)
    noise: float = 0.3
    times: int = 40  # of which the error is measured
    points: int = 1000  # on which it is


def cells(setting: Setting) -> list[dict[str, Any]]:
    """Every size with every theta."""
    pairs = zip(setting.thetas, setting.past, strict=True)
    return [{"theta": theta, "past": past, "size": size} for theta, past in pairs for size in setting.sizes]


def function(x: Array) -> Array:
    """Return f(x)."""
    return x - x**2 / 2


def run(
    setting: Setting, seed: int, data: Data, progress: Progress, size: int, theta: float, past: int
) -> dict[str, Any]:
    """Return the error at times from 1 to `past` times t*, and at t*."""
    rng = np.random.default_rng(seed)
    x = rng.random(size)
    y = function(x) + setting.noise * rng.standard_normal(size)
    stop = stopping_time(size, SMOOTHNESS, theta)
    times = sorted({stop, *np.geomspace(1, past * stop, setting.times).round().astype(int).tolist()})
    coefficients = descend_exactly(np.minimum.outer(x, x), y, times, theta=theta)  # (times, size)
    points = (np.arange(setting.points) + 0.5) / setting.points
    found = coefficients @ np.minimum.outer(x, points)
    errors = np.sqrt(((found - function(points)) ** 2).mean(axis=1))
    return {"times": times, "errors": errors, "stop": stop, "error": errors[times.index(stop)]}


def slopes(setting: Setting, runs: Runs, theta: float) -> Array:
    """Return the slope of log(error at t*) over log(m) of each seed."""
    errors = [runs.values("error", size=size, theta=theta) for size in setting.sizes]
    slope: Array = np.polyfit(np.log(setting.sizes), np.log(errors), 1)[0]
    return slope


def claims(setting: Setting, runs: Runs) -> list[Claim]:
    """Compare the slopes with the bound, and the error at t* with that far past it and with the least."""
    bound = -SMOOTHNESS / (2 * SMOOTHNESS + 2)
    found = [
        Claim.of_mean(f"slope of the error at t* over m, theta {theta:g}", slope, at_most(bound))
        for theta in setting.thetas
        for slope in [slopes(setting, runs, theta)]
    ]
    theta, past, size = setting.thetas[0], setting.past[0], setting.sizes[-1]
    errors, at_stop = (runs.values(name, size=size, theta=theta) for name in ("errors", "error"))
    text = f"theta {theta:g}, m = {size}: error"
    return [
        *found,
        Claim.of_mean(f"{text} at {past:,} t* / error at t*", errors[:, -1] / at_stop, at_least(3)),
        Claim.of_mean(f"{text} at t* / least error of all times", at_stop / errors.min(axis=1), SHOWN),
    ]


def draw(setting: Setting, runs: Runs, figure: Any) -> None:
    """Draw the error over the time for theta[0], and the error at t* over m."""
    left, right = figure.subplots(1, 2, sharey=True)
    theta = setting.thetas[0]
    for number, size in enumerate(setting.sizes):
        cell = {"size": size, "theta": theta}
        times, stop = runs.values("times", **cell)[0], runs.values("stop", **cell)[0]
        shade = f"{0.8 - 0.8 * number / len(setting.sizes):.2f}"
        left.loglog(times, runs.values("errors", **cell).mean(axis=0), color=shade, label=f"m = {size}")
        left.plot(stop, runs.values("error", **cell).mean(), "o", color="C3", zorder=3)
    left.plot([], [], "o", color="C3", label="t*")
    left.set(xlabel="steps t", ylabel="root mean squared error", title=f"theta {theta:g}, mean over seeds")
    left.legend(frameon=False, fontsize="small")
    sizes = np.array(setting.sizes)
    for number, theta in enumerate(setting.thetas):
        errors = np.stack([runs.values("error", size=size, theta=theta) for size in setting.sizes], 1)
        right.errorbar(sizes, errors.mean(axis=0), deviation(errors), color=f"C{number}", capsize=3)
        right.plot(sizes, errors.mean(axis=0), "o", color=f"C{number}", label=f"theta {theta:g}")
    bound = errors[:, 0].mean() * (sizes / sizes[0]) ** (-SMOOTHNESS / (2 * SMOOTHNESS + 2))
    right.plot(sizes, bound, "k:", label="slope of the bound")
    right.set_xscale("log", base=2)
    right.set(xlabel="samples m", title="at t*, mean and sd over seeds")
    right.legend(frameon=False)


EXPERIMENT = Experiment(
    name="yao_stop",
    claim="Stopped after t*(m) steps, descent errs as little as theory says; later it fits the noise",
    source="Yao, Rosasco and Caponnetto 2007",
    passes="The slope of log(error at t*) over log(m) is at most -0.25; for theta 0 the error far past t* is "
    "at least 3 times that at t*.",
    minutes=15,
    setting=Setting(),
    quick=Setting(sizes=(64, 128, 256, 512), times=20),
    run=run,
    claims=claims,
    draw=draw,
    cells=cells,
    seeds=10,
    quick_seeds=10,
    notes="The paper proves the bound and has no experiment; K, f and the noise are ours.",
)
