"""The interface of a library to the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Case, Inputs

Call: TypeAlias = Callable[[], Any]


class Library:
    """A method for each operation of the library: ``library.op(inputs)`` returns the call that is timed.

    A method computes what a forward pass saves for its backward pass beforehand, so it is not timed. Where
    the library can write to an array made beforehand, ``library.op_out(inputs)`` returns that call.
    """

    name: str
    dtypes: frozenset[str] = frozenset({"float32", "float64"})

    def has(self, case: Case) -> bool:
        """Whether the library has the operation in the dtype of the case."""
        known = case.dtype != "bfloat16" or find_spec("ml_dtypes")
        return hasattr(self, case.op) and case.dtype in self.dtypes and bool(known)

    def prepare(self, case: Case, inputs: Inputs) -> Call:
        """Return a call of the operation."""
        plain: Callable[[Inputs], Call] = getattr(self, case.op)
        operation: Callable[[Inputs], Call] = getattr(self, f"{case.op}_out", plain) if case.out else plain
        return operation(inputs)

    def as_arrays(self, result: Any) -> list[Array]:
        """Return the arrays of a result that NumPy can compute with."""
        results = result if isinstance(result, tuple) else (result,)
        return [np.atleast_1d(array) for array in results if array is not None]

    def get_num_threads(self) -> int:
        """Return the number of threads; 1 if the library has no such setting."""
        return 1

    def set_num_threads(self, threads: int) -> None:
        """Set the number of threads."""
