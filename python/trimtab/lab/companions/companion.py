"""What an exact companion is: a short computation whose result mathematics knows in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from trimtab.lab.experiment import Claim, Wanted

# {"measured": a number for each statement}, and what the figure shows
Measured: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Companion:
    """A computation, and statements about the numbers that it returns: what each is, and must be.

    The arguments of `measure` are the operations that it is about. With a wrong one in the place of the
    default, a statement fails.
    """

    name: str
    source: str
    statements: tuple[tuple[str, Wanted], ...]
    measure: Callable[..., Measured]

    def claims(self, measured: Iterable[float]) -> Iterator[Claim]:
        """Yield the statements with their numbers."""
        for (text, wanted), number in zip(self.statements, measured, strict=True):
            yield Claim(text, number, wanted, exact=True, source=self.source)


def companion(source: str, *statements: tuple[str, Wanted]) -> Callable[[Callable[..., Measured]], Companion]:
    """Make a companion of the decorated function, with its name; the source is paper and year."""
    return lambda measure: Companion(measure.__name__, source, statements, measure)
