"""How a call is cut into tasks, and how many threads take part: ``trimtab info --tasks OP SHAPE``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from math import gcd

import trimtab as tt
from trimtab import _core
from trimtab.bench.cases import CASES, Case, Inputs, Shape, Weights
from trimtab.bench.peers.trimtab import Trimtab
from trimtab.terminal import can_encode, print_table


def read_shape(text: str) -> Shape:
    """Return the shape of a text such as ``64x256`` or ``64,256``."""
    try:
        shape = tuple(int(extent) for extent in text.replace(",", "x").split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(f"info: SHAPE must be extents >= 1 such as 64x256, got {text!r}")
    return shape


def case_of(op: str, shape: Shape, axis: int | None, dtype: str) -> Case:
    """Return the case of an operation at a shape, with the options of the first case of the benchmark."""
    of_op = [case for case in CASES if case.op == op]
    if not of_op:
        known = ", ".join(dict.fromkeys(case.op for case in CASES))
        raise ValueError(f"info: OP must be one of {known}, got {op!r}")
    if axis is None:
        images = len(shape) > 2 and any(case.axis == 1 for case in of_op)
        axis = 1 if images else -1
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"info: axis must be in a shape of {len(shape)} axes, got {axis}")
    like = of_op[0]
    groups = like.groups and gcd(like.groups, shape[axis])
    weights = like.weights and Weights("x".join(map(str, shape)), (shape,))
    return replace(like, shape=shape, axis=axis, groups=groups, weights=weights, dtype=dtype, out=False)


def prepare(op: str, shape: str, axis: int | None, dtype: str, threads: int | None) -> Callable[[], None]:
    """Check the arguments; return the function that makes the call and shows its parallel steps."""
    if dtype not in Trimtab.dtypes:
        raise ValueError(f"info: dtype must be one of {', '.join(sorted(Trimtab.dtypes))}, got {dtype!r}")
    case = case_of(op, read_shape(shape), axis, dtype)
    return lambda: show(case, threads or tt.get_num_threads())


def show(case: Case, threads: int) -> None:
    """Print a row for each parallel step of a call."""
    before = tt.get_num_threads()
    tt.set_num_threads(threads)
    try:
        try:
            call = Trimtab().prepare(case, Inputs(case))
            call()
        except (ValueError, IndexError) as error:
            raise ValueError(f"info: SHAPE must suit {case.op}, got {case.label}: {error}") from error
        runs = _core.runs_of(call)
    finally:
        tt.set_num_threads(before)
    print(f"{case.op} {case.label}, at most {threads} thread{'s' * (threads > 1)}\n")
    header = ("step", "tasks", "time on one thread", "threads after a pause", "in a series of calls")
    micro = "µ" if can_encode("µ", sys.stdout) else "u"
    rows = [
        (str(step), f"{tasks:,}", f"{cost / 1000:,.1f} {micro}s", str(after_pause), str(in_series))
        for step, (tasks, cost, after_pause, in_series) in enumerate(runs, 1)
    ]
    print_table(header, rows, left=0)
    print("\nThe times are estimates, by which calls decide how many threads they are worth.")
