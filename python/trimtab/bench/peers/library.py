"""The interface of a library to the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from trimtab.bench.cases import Inputs

Call: TypeAlias = Callable[[], Any]


class Library:
    """A method for each operation of the library: ``library.op(inputs)`` returns the call that is timed.

    A method computes what a forward pass saves for its backward pass beforehand, so it is not timed.
    """

    name: str

    def prepare(self, op: str, inputs: Inputs) -> Call | None:
        """Return a call of the operation, or None where the library lacks it."""
        operation: Callable[[Inputs], Call] | None = getattr(self, op, None)
        return operation(inputs) if operation else None

    def get_num_threads(self) -> int:
        """Return the number of threads; 1 if the library has no such setting."""
        return 1

    def set_num_threads(self, threads: int) -> None:
        """Set the number of threads."""
