"""Checks of results before they are timed, against NumPy in float64."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Case, Inputs
from trimtab.bench.peers.library import Call, Library
from trimtab.bench.peers.numpy import NumPy

# Relative to the largest value of a result. NumPy's float32 means have the largest errors. Scalars have a
# tolerance of their own, as PyTorch adds up whole arrays for norms sequentially.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}
SUM_TOLERANCE = 1e-2
# Operations that drop at random, and the largest deviation of the share dropped, in standard deviations
DROPS = {"dropout_forward", "add_dropout_forward", "alpha_dropout_forward", "drop_path_forward"}
DEVIATIONS = 6


def expect(case: Case) -> list[list[Array]]:
    """Compute the expected results by NumPy in float64; of dropout, for all kept and for all dropped."""
    inputs = Inputs(case, np.float64)
    draws = (True, False) if case.op in DROPS else (None,)
    return [numpy.as_arrays(numpy.prepare(case, inputs)()) for numpy in map(NumPy, draws)]


def distance(array: Array, references: Sequence[Array]) -> float:
    """Return the largest distance of an element to the nearest reference, relative to their largest value."""
    distances = [np.subtract(array, reference, dtype=np.float64) for reference in references]
    for distance in distances:
        np.abs(distance, out=distance)
    largest = max(np.abs(reference).max() for reference in references)
    return float(functools.reduce(np.minimum, distances).max() / largest)


def dropped(array: Array, all_kept: Array, all_dropped: Array) -> float:
    """Return the fraction of elements that are dropped."""
    return float(np.mean(np.abs(array - all_dropped) < np.abs(array - all_kept)))


def check(library: Library, case: Case, call: Call, expected: list[list[Array]]) -> None:
    """Raise a ValueError if a result is not as expected, or the fraction dropped is not about p."""

    def require(what: str, right: bool, got: float) -> None:
        if not right:
            raise ValueError(f"{library.name}: {case.op} {case.label} must {what}, got {got:.1g}")

    results = library.as_arrays(call())
    for array, references in zip(results, zip(*expected, strict=True), strict=False):
        far, tolerance = (
            distance(array, references),
            TOLERANCES[case.dtype] if array.size > 1 else SUM_TOLERANCE,
        )
        require(f"be within {tolerance:g} of float64", far <= tolerance, far)
    if case.op in DROPS and case.p is not None:
        share = dropped(results[0], *(arrays[0] for arrays in expected))
        decisions = case.shape[0] if case.op == "drop_path_forward" else prod(case.shape)
        deviation = sqrt(case.p * (1 - case.p) / decisions)
        require(f"drop {case.p:g} of all", abs(share - case.p) <= DEVIATIONS * deviation, share)
