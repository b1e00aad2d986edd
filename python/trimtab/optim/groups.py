"""The state that an optimizer keeps for its parameters, and the arrays that the kernel updates at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import trimtab._core as kernels
from trimtab._checks import number
from trimtab._typing import Array
from trimtab.nn.parameter import Parameter
from trimtab.optim.options import Options
from trimtab.optim.parameters import NamedParameter, require_trainable


class ParameterState:
    """A parameter and the arrays that the optimizer keeps for it.

    `master` is the float32 original of a 16-bit value, `momentum` the buffer of the momentum; each is None if
    the options do not ask for it. `rounded_bits` are the bits of the value as last rounded from the master.
    """

    def __init__(self, named: NamedParameter, options: Options) -> None:
        self.path, self.parameter = named
        self.decays = self.parameter.decay or options.decay_all
        value = self.parameter.value
        self.shape, self.dtype = value.shape, value.dtype
        has_master = options.masters and value.itemsize == 2
        self.master = value.astype(np.float32) if has_master else None
        self.rounded_bits = _bits(value).copy() if has_master else None
        self.momentum = np.zeros_like(self.weight) if options.momentum > 0 else None

    @property
    def weight(self) -> Array:
        """The array that is updated: the master, or the value itself."""
        return self.parameter.value if self.master is None else self.master

    def require_unchanged_form(self) -> None:
        """Raise an error that names the parameter unless it is trainable, of the shape and dtype it had."""
        require_trainable(self.path, self.parameter)
        value = self.parameter.value
        if (value.shape, value.dtype) != (self.shape, self.dtype):
            raise ValueError(
                f"SGD: {self.path} must stay {self.dtype} of shape {self.shape}, "
                f"got {value.dtype} of {value.shape}"
            )

    def refresh_master(self) -> None:
        """Copy into the master what has been written into the value since it was rounded from the master.

        Elements of the master that round to what was written stay: they have been loaded beside the value.
        """
        if self.master is None or self.rounded_bits is None:
            return
        value = self.parameter.value
        if np.array_equal(self.rounded_bits, _bits(value)):
            return
        with np.errstate(over="ignore"):  # a master that was not loaded may be infinite in 16 bits
            rounded = self.master.astype(value.dtype)
        np.copyto(self.master, value, where=_bits(rounded) != _bits(value))
        self.remember_rounded()

    def remember_rounded(self) -> None:
        """Remember the value as rounded from the master."""
        if self.rounded_bits is not None:
            np.copyto(self.rounded_bits, _bits(self.parameter.value))

    def bound_norms(self, limit: float) -> None:
        """Project the weights into each unit onto the ball of radius `limit`."""
        into_a_unit = tuple(range(1, self.weight.ndim))
        kernels.max_norm(self.weight, limit, axis=into_a_unit, out=self.weight)
        if self.master is not None:
            self.parameter.value[...] = self.master


class Group:
    """Parameters that share their options."""

    def __init__(self, parameters: Iterable[NamedParameter], options: Options) -> None:
        self.options = options
        self.states = [ParameterState(named, options) for named in parameters]
        self._with_master = [state for state in self.states if state.master is not None]
        self._norm_bounded = [
            state
            for state in self.states
            if options.max_norm is not None and state.decays and state.weight.ndim > 1
        ]
        self._plans: list[kernels.SgdPlan] = []
        self._planned: list[tuple[Parameter, Array, Array]] = []
        self.prepare()

    def __getstate__(self) -> dict[str, Any]:
        # A plan holds the addresses of arrays, so a copy makes its own
        return {**vars(self), "_plans": [], "_planned": []}

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        return number("SGD: lr", self.options.lr(step), 0)

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
            state.require_unchanged_form()
            by_dtype.setdefault(state.dtype, []).append(state)
        self._plans = [_plan(states, self.options) for states in by_dtype.values()]
        parameters = [state.parameter for state in self.states]
        self._planned = [(parameter, parameter.value, parameter.grad) for parameter in parameters]

    def _arrays_replaced(self) -> bool:
        """Whether a parameter has other arrays than those that were planned for."""
        for parameter, value, grad in self._planned:
            if parameter.value is not value or parameter.grad is not grad:
                return True
        return False

    def grad_norms(self) -> list[float]:
        """Return the norms of the gradients of each plan."""
        return [kernels.plan_grad_norm(plan) for plan in self._plans]

    def step(
        self, lr: float, grad_scale: float, first_step: bool, statistics: bool
    ) -> list[kernels.UpdateStatistics | None]:
        """Update the parameters, and return the statistics of each plan."""
        for state in self._with_master:
            state.refresh_master()
        results = [kernels.sgd_step(plan, lr, grad_scale, first_step, statistics) for plan in self._plans]
        limit = self.options.max_norm_or_inf
        for state in self._norm_bounded:
            state.bound_norms(limit)
        for state in self._with_master:
            state.remember_rounded()
        return results


def _plan(states: list[ParameterState], options: Options) -> kernels.SgdPlan:
    """Return the plan of arrays of one dtype, which the kernel updates in one pass."""
    return kernels.sgd_plan(
        [state.parameter.value for state in states],
        [state.parameter.grad for state in states],
        [state.momentum for state in states if state.momentum is not None] or None,
        masters=[state.master for state in states if state.master is not None] or None,
        decays=[state.decays for state in states],
        **options.for_kernel,
    )


def _bits(array: Array) -> Array:
    """View a 16-bit array as the integers of its bits."""
    return array.view(np.uint16)
