"""Keeps the best value of a metric so far."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import inf, isfinite

from trimtab import _checks

DIRECTIONS = {"min": -1, "max": 1}
# The mode of metrics whose name says which values are better
MODE_OF_NAME = {
    "min": re.compile(r"(^|_)(loss|error)$"),
    "max": re.compile(r"accuracy$|(^|_)(top_\d+|f1|auc|r2)$"),
}


class Monitor:
    """Follows a metric and keeps its best value. NaN and the worst infinity are never the best.

    Parameters
    ----------
    owner : str
        The class that uses the monitor; messages of errors begin with it.
    name : str
        Name of the metric.
    mode : {"auto", "min", "max"}
        Whether smaller or larger values are better. "auto" is "min" for names that end in ``loss`` or
        ``error``, and "max" for names that end in ``accuracy``, ``f1``, ``auc`` or ``r2``, or are like
        ``top_5``.
    min_delta : float
        The amount by which a value must be better, >= 0.
    threshold : float
        The share of the reference by which a value must be better, >= 0.

    Attributes
    ----------
    best : float
        The best value so far; at first the worst possible, an infinity.

    Examples
    --------
    >>> from trimtab.callbacks import Monitor
    >>> monitor = Monitor("mine", "val_loss", "auto")
    >>> [monitor.improves(value) for value in (1.0, 2.0)]
    [True, False]
    """

    def __init__(
        self, owner: str, name: str, mode: str, min_delta: float = 0.0, threshold: float = 0.0
    ) -> None:
        owner = _checks.instance("Monitor: owner", owner, str, "be a name")
        mode = _checks.one_of(f"{owner}: mode", mode, ["auto", *DIRECTIONS])
        name = _checks.instance(f"{owner}: monitor", name, str, "be the name of a metric")
        min_delta = _checks.number(f"{owner}: min_delta", min_delta, 0)
        threshold = _checks.number(f"{owner}: threshold", threshold, 0)
        if mode == "auto":
            modes = [mode for mode, pattern in MODE_OF_NAME.items() if pattern.search(name)]
            if not modes:
                raise ValueError(f"{owner}: mode must be 'min' or 'max' for {name!r}, got 'auto'")
            (mode,) = modes
        self.owner, self.name, self.mode = owner, name, mode
        self.min_delta, self.threshold = min_delta, threshold
        self._sign = DIRECTIONS[mode]
        self.reset()

    @property
    def identity(self) -> str:
        """The owner, the metric and its mode: monitors with the same identity have the same best value."""
        return f"{self.owner}({self.name}, {self.mode})"

    def reset(self) -> None:
        """Forget the values seen so far."""
        self.best = -self._sign * inf

    def require(self, names: Iterable[str]) -> None:
        """Raise a ValueError that lists the known names unless the metric is among them."""
        known = list(names)
        if self.name not in known:
            raise ValueError(f"{self.owner}: monitor must be one of {', '.join(known)}, got {self.name!r}")

    def beats(self, value: float, reference: float) -> bool:
        """Whether a value is better than a reference by more than ``min_delta`` and the threshold."""
        share = self.threshold * abs(reference) if isfinite(reference) else 0.0
        better = self._sign * value
        return better - self.min_delta > self._sign * reference and better - share > self._sign * reference

    def improves(self, value: float) -> bool:
        """Whether a value is better than the best so far; if so, it becomes the best."""
        improved = self.beats(value, self.best)
        if improved:
            self.best = value
        return improved
