"""The groups of an optimizer: parameters that share their options, and are updated at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np

import trimtab._core as kernels
from trimtab._checks import number, shown
from trimtab._typing import Array
from trimtab.nn.parameter import Parameter
from trimtab.optim.options import Options, Plan, PlanArrays, StepArguments, as_schedule
from trimtab.optim.parameter_state import ParameterState
from trimtab.optim.parameters import NamedParameter
from trimtab.optim.schedules import Schedule

SETTABLE = {"lr", "steps", "_plans", "_planned"}


class Group:
    """Parameters that share their options.

    Attributes
    ----------
    name : str
        The name it was given, or its number from 0 on.
    parameters : list of Parameter
    lr : float
        Learning rate of the next step. Set it to a number, or to a schedule.
    options : Options
        The other options as attributes, such as ``group.options.weight_decay``; fixed when it is made.

    Raises
    ------
    TypeError, ValueError
        If `lr` is set to what is neither a number >= 0 nor a function.

    Examples
    --------
    >>> from trimtab import nn, optim
    >>> sgd = optim.SGD({"body": {"parameters": nn.Linear(4, 3, rng=0), "lr": 0.01}}, lr=0.1)
    >>> group = sgd.groups["body"]
    >>> group.name, group.lr, len(group.parameters)
    ('body', 0.01, 2)
    """

    name: str
    parameters: list[Parameter]
    options: Options
    states: list[ParameterState]
    _norm_bounded: list[ParameterState]

    def __init__(self, name: str, parameters: Iterable[NamedParameter], options: Options) -> None:
        states = [ParameterState(named, options) for named in parameters]
        vars(self).update(
            name=name,
            parameters=[state.parameter for state in states],
            options=options,
            states=states,
            _norm_bounded=[
                state
                for state in states
                if options.max_norm is not None and state.decays and state.weight.ndim > 1
            ],
        )
        self.steps = 0
        self._plans: list[Plan] = []
        self._planned: list[tuple[Parameter, Array, Array]] = []
        self.prepare()

    def __getstate__(self) -> dict[str, Any]:
        # A plan holds the addresses of arrays, so a copy makes its own
        return {**vars(self), "_plans": [], "_planned": []}

    def __setattr__(self, name: str, value: object) -> None:
        if name not in SETTABLE:
            raise AttributeError(
                f"{self.options.owner}: {name} of group {self.name!r} cannot be set: only lr can, "
                "the other options are fixed when the optimizer is made"
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Group({self.name!r}, parameters={len(self.parameters)}, lr={self.lr_text})"

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return self.lr_at(self.steps)

    @lr.setter
    def lr(self, lr: float | Schedule) -> None:
        self.follow(as_schedule(f"{self.options.owner}: lr", lr))

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a function of the number of steps done so far."""
        return self.options.lr

    @property
    def lr_text(self) -> str:
        """The learning rate, or the schedule that it follows."""
        constant = self.options.constant_lr
        return shown(self.schedule) if constant is None else str(constant)

    def follow(self, schedule: Schedule) -> None:
        """Take the learning rate from a checked schedule."""
        vars(self)["options"] = replace(self.options, lr=schedule)

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return number(f"{self.options.owner}: lr", self.schedule(step), 0)

    def prepare(self) -> None:
        """Make the plans of the next steps, unless those made hold the arrays that the parameters have now.

        Raises
        ------
        TypeError, ValueError
            If an array can no longer be updated; the message names its parameter.
        """
        if self._plans and not self._arrays_replaced() and all(map(kernels.plan_is_valid, self._plans)):
            return
        by_dtype: dict[np.dtype[Any], list[ParameterState]] = {}
        for state in self.states:
            state.require_unchanged_form(self.options.owner)
            by_dtype.setdefault(state.dtype, []).append(state)
        self._plans = [self.options.make_plan(_arrays(states)) for states in by_dtype.values()]
        self._planned = [(parameter, parameter.value, parameter.grad) for parameter in self.parameters]

    def _arrays_replaced(self) -> bool:
        """Whether a parameter has other arrays than those that were planned for."""
        for parameter, value, grad in self._planned:
            if parameter.value is not value or parameter.grad is not grad:
                return True
        return False

    def grad_norms(self) -> list[float]:
        """Return the norms of the gradients of each plan."""
        return [kernels.plan_grad_norm(plan) for plan in self._plans]

    def step(self, lr: float, grad_scale: float, statistics: bool) -> list[kernels.UpdateStatistics | None]:
        """Update the parameters, and return the statistics of each plan."""
        for state in self.states:
            state.refresh_master()
        arguments = StepArguments(lr, grad_scale, self.steps, statistics)
        results = [self.options.run(plan, arguments) for plan in self._plans]
        limit = self.options.max_norm_or_inf
        for state in self._norm_bounded:
            state.bound_norms(limit)
        for state in self.states:
            state.remember_rounded()
        self.steps += 1
        return results


def _arrays(states: list[ParameterState]) -> PlanArrays:
    """Return the arrays of parameters of one dtype."""
    return PlanArrays(
        values=[state.parameter.value for state in states],
        grads=[state.parameter.grad for state in states],
        buffers={name: [state.buffers[name] for state in states] for name in states[0].buffers},
        masters=[state.master for state in states if state.master is not None] or None,
        decays=[state.decays for state in states],
    )


class Groups(Sequence[Group]):
    """The groups of an optimizer, in order: by number as in a list, and by name.

    Examples
    --------
    >>> from trimtab import nn, optim
    >>> body, head = nn.Linear(8, 4), nn.Linear(4, 2)
    >>> optimizer = optim.SGD({"body": {"parameters": body}, "head": {"parameters": head}}, lr=0.1)
    >>> optimizer.groups["head"].lr = 0.02
    >>> for group in optimizer.groups:
    ...     group.lr *= 0.5
    >>> [group.lr for group in optimizer.groups]
    [0.05, 0.01]
    """

    def __init__(self, owner: str, groups: Iterable[Group]) -> None:
        self._owner, self._groups = owner, tuple(groups)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the groups."""
        return tuple(group.name for group in self._groups)

    @overload
    def __getitem__(self, key: int | str) -> Group: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Group, ...]: ...
    def __getitem__(self, key: int | str | slice) -> Group | tuple[Group, ...]:
        if not isinstance(key, str):
            try:
                return self._groups[key]
            except (IndexError, TypeError) as error:
                raise type(error)(
                    f"{self._owner}: groups must be taken by name, or by number below {len(self)}, "
                    f"got {key!r}"
                ) from error
        for group in self._groups:
            if group.name == key:
                return group
        raise KeyError(f"{self._owner}: groups must be one of {', '.join(self.names)}, got {key!r}")

    def __contains__(self, item: object) -> bool:
        return item in self.names if isinstance(item, str) else item in self._groups

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return f"Groups({', '.join(map(repr, self._groups))})"
