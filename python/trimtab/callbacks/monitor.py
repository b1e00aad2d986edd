"""The best value of a metric so far."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import inf

from trimtab import _checks

DIRECTIONS = {"min": -1, "max": 1}
# Names of metrics that say themselves which way is better
KNOWN = {"min": re.compile(r"(^|_)(loss|error)$"), "max": re.compile(r"accuracy$|(^|_)top_\d+$")}


class Monitor:
    """Follows a metric and keeps its best value. NaN is never the best, nor the worst of the infinities.

    Parameters
    ----------
    owner : str
        Who asks; errors begin with it.
    name : str
        Of the metric.
    mode : {"auto", "min", "max"}
        Which values are better: smaller or larger ones; "auto" is "min" for names that end in ``loss`` or
        ``error`` and "max" for those that end in ``accuracy`` or, like ``top_5``, count the best guesses.
    min_delta : float
        What a value must be better by, >= 0.

    Attributes
    ----------
    best : float
        The best value so far; at first the worst there can be, an infinity.
    """

    def __init__(self, owner: str, name: str, mode: str, min_delta: float = 0.0) -> None:
        if not isinstance(owner, str):
            raise TypeError(f"Monitor: owner must be a name, got {_checks.shown(owner)}")
        mode = _checks.one_of(f"{owner}: mode", mode, ["auto", *DIRECTIONS])
        if not isinstance(name, str):
            raise TypeError(f"{owner}: monitor must be the name of a metric, got {_checks.shown(name)}")
        min_delta = _checks.number(f"{owner}: min_delta", min_delta, 0)
        if mode == "auto":
            modes = [mode for mode, pattern in KNOWN.items() if pattern.search(name)]
            if not modes:
                raise ValueError(f"{owner}: mode must be 'min' or 'max' for {name!r}, got 'auto'")
            (mode,) = modes
        self.owner, self.name, self.mode, self.min_delta = owner, name, mode, min_delta
        self._sign = DIRECTIONS[mode]
        self.reset()

    @property
    def identity(self) -> str:
        """What tells its best value from those of others: the owner, the metric and its mode."""
        return f"{self.owner}({self.name}, {self.mode})"

    def reset(self) -> None:
        """Forget what has been seen."""
        self.best = -self._sign * inf

    def require(self, names: Iterable[str]) -> None:
        """Raise a ValueError that lists the known names unless the metric is among them."""
        known = list(names)
        if self.name not in known:
            raise ValueError(f"{self.owner}: monitor must be one of {', '.join(known)}, got {self.name!r}")

    def beats(self, value: float, reference: float) -> bool:
        """Whether a value is better than a reference by more than ``min_delta``."""
        return self._sign * value - self.min_delta > self._sign * reference

    def improves(self, value: float) -> bool:
        """Whether a value is better than the best, which it then becomes."""
        improved = self.beats(value, self.best)
        if improved:
            self.best = value
        return improved
