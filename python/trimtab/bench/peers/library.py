"""What a library is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from trimtab.bench.cases import Inputs

Call: TypeAlias = Callable[[], Any]


class Library:
    """A method for each operation that the library has: ``library.op(inputs)()`` runs it.

    What a forward pass saves for its backward is prepared, not timed.
    """

    name: str

    def prepare(self, op: str, inputs: Inputs) -> Call | None:
        """Return a call of the operation, or None where the library lacks it."""
        operation: Callable[[Inputs], Call] | None = getattr(self, op, None)
        return operation(inputs) if operation else None

    def get_num_threads(self) -> int:
        """Return the number of threads; of a library that has no such setting, 1."""
        return 1

    def set_num_threads(self, threads: int) -> None:
        """Use so many threads."""
