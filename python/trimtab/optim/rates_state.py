"""The learning rates of groups in the state of an optimizer: numbers as they are, schedules as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab._checks import number
from trimtab._typing import Array
from trimtab.optim.groups import Group
from trimtab.optim.schedules import Constant, Schedule, from_notes, to_notes


def write_rates(groups: Iterable[Group]) -> dict[str, Array]:
    """Return ``lr.<group>`` or ``schedule.<group>`` of each group."""
    return dict(map(_entry, groups))


def _entry(group: Group) -> tuple[str, Array]:
    constant = group.options.constant_lr
    if constant is not None:
        return f"lr.{group.name}", np.array(constant)
    text = json.dumps(to_notes(group.schedule))
    return f"schedule.{group.name}", np.frombuffer(text.encode(), np.uint8)


def read_rates(
    groups: Iterable[Group], state: Mapping[str, ArrayLike]
) -> tuple[dict[str, Schedule], dict[str, ArrayLike]]:
    """Return the saved schedules by group, and the rest of the state.

    States of older versions have no schedules, or no rates at all; such groups keep what they have.

    Raises
    ------
    TypeError, ValueError
        If a rate is out of range, a schedule is damaged, or a group has no rate or was saved with a function
        that a state cannot hold, while it has a number now.
    """
    others = dict(state)
    found: dict[str, Schedule | None] = {}
    for group in groups:
        for kind, read in (("lr", _read_number), ("schedule", _read_schedule)):
            name = f"{kind}.{group.name}"
            if name in others:
                found[group.name] = read(f"load_state_dict: {name}", others.pop(name))
    for group in groups if found else ():
        if found.get(group.name) is None and group.options.constant_lr is not None:
            raise ValueError(_missing(group, group.name in found))
    return {name: schedule for name, schedule in found.items() if schedule is not None}, others


def _missing(group: Group, is_function: bool) -> str:
    if is_function:
        return (
            f"load_state_dict: lr of group {group.name!r} must be the function that it was saved with, "
            f"which a state cannot hold, got {group.lr_text}"
        )
    return f"load_state_dict: state must have the arrays of the optimizer, got missing: lr.{group.name}"


def _read_number(name: str, value: Any) -> Schedule:
    return Constant(number(name, value, 0))


def _read_schedule(name: str, value: Any) -> Schedule | None:
    """Return the schedule, or None for a function that is not one of `trimtab.optim`."""
    try:
        return from_notes(json.loads(np.asarray(value, np.uint8).tobytes()))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name} must be a schedule of trimtab.optim, got {error!r}") from error
