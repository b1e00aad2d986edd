"""How much of an experiment is done, and the time left."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from trimtab import extras
from trimtab.terminal import can_style, print_status

Item = TypeVar("Item")
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total:.0f} runs, {elapsed}, {remaining} left"


class Progress(Protocol):
    """``for step in progress(range(steps))`` iterates, and shows how much of the run is done."""

    def __call__(self, steps: Sequence[Item], /) -> Iterable[Item]:
        """Return the steps."""


def silent(steps: Sequence[Item], /) -> Iterable[Item]:
    """Iterate without showing anything."""
    return steps


class RunsBar:
    """A bar over the runs of an experiment; a line for each run where there is no terminal or no tqdm.

    As a `Progress` it shows the steps of the run that is carried out.
    """

    def __init__(self, name: str, total: int, done: int) -> None:
        self.name, self.total, self.finished = name, total, done
        self._shown: float = done
        self._bar: Any = None
        if can_style(sys.stderr) and total > done:
            try:
                tqdm = extras.load("tqdm", "lab").tqdm
            except extras.MissingExtra:
                return
            self._bar = tqdm(
                total=total, initial=done, desc=name, bar_format=BAR, leave=False, dynamic_ncols=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, steps: Sequence[Item], /) -> Iterator[Item]:
        """Yield the steps; together they are one run."""
        for step in steps:
            yield step
            self._show(min(self._shown + 1 / len(steps), self.finished + 1))

    def finish_run(self) -> None:
        """Show that one more run is done."""
        self.finished += 1
        self._show(self.finished)
        if self._bar is None:
            print_status(f"{self.name}: {self.finished} of {self.total} runs", stays=True)

    def _show(self, runs: float) -> None:
        if self._bar is not None:
            self._bar.update(runs - self._shown)
        self._shown = runs
