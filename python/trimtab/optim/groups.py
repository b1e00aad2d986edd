"""What an optimizer keeps for its parameters, and the arrays that the kernel updates at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import trimtab._core as kernels
from trimtab._checks import number
from trimtab._typing import Array
from trimtab.nn.module import Parameter
from trimtab.optim.options import Options
from trimtab.optim.parameters import Named, require_trainable


class Slot:
    """A parameter and what is kept for it.

    `master` and `momentum` are None where the options ask for none. `written` has the bits of the value that
    was last rounded from the master.
    """

    def __init__(self, named: Named, options: Options) -> None:
        self.path, self.parameter = named
        self.decays = self.parameter.decay or options.decay_all
        value = self.parameter.value
        self.form = value.shape, value.dtype
        mastered = options.masters and value.itemsize == 2
        self.master = value.astype(np.float32) if mastered else None
        self.written = _bits(value).copy() if mastered else None
        self.momentum = np.zeros_like(self.weight) if options.momentum > 0 else None

    @property
    def weight(self) -> Array:
        """The array that is updated: the master, or the value itself."""
        return self.parameter.value if self.master is None else self.master

    def require_form(self) -> None:
        """Raise an error that names the parameter unless it can be updated and is of the shape it had."""
        require_trainable(self.path, self.parameter)
        (shape, dtype), value = self.form, self.parameter.value
        if (value.shape, value.dtype) != self.form:
            raise ValueError(
                f"SGD: {self.path} must stay {dtype} of shape {shape}, got {value.dtype} of {value.shape}"
            )

    def follow(self) -> None:
        """Take over into the master what was written into the value since it was rounded from it.

        A master that rounds to what was written stays: it has been loaded beside it.
        """
        if self.master is None or self.written is None:
            return
        value = self.parameter.value
        if np.array_equal(self.written, _bits(value)):
            return
        with np.errstate(over="ignore"):  # a master that was not loaded may be infinite in 16 bits
            rounded = self.master.astype(value.dtype)
        np.copyto(self.master, value, where=_bits(rounded) != _bits(value))
        self.note()

    def note(self) -> None:
        """Remember the value as rounded from the master."""
        if self.written is not None:
            np.copyto(self.written, _bits(self.parameter.value))

    def bound(self, limit: float) -> None:
        """Project the weights into each unit into the ball of radius `limit`."""
        into_a_unit = tuple(range(1, self.weight.ndim))
        kernels.max_norm(self.weight, limit, axis=into_a_unit, out=self.weight)
        if self.master is not None:
            self.parameter.value[...] = self.master


class Group:
    """Parameters that share their options."""

    def __init__(self, parameters: Iterable[Named], options: Options) -> None:
        self.options = options
        self.slots = [Slot(named, options) for named in parameters]
        self._mastered = [slot for slot in self.slots if slot.master is not None]
        self._bounded = [
            slot
            for slot in self.slots
            if options.max_norm is not None and slot.decays and slot.weight.ndim > 1
        ]
        self._plans: list[kernels.SgdPlan] = []
        self._planned: list[tuple[Parameter, Array, Array]] = []
        self.prepare()

    def __getstate__(self) -> dict[str, Any]:
        # A plan holds addresses: a copy makes its own
        return {**vars(self), "_plans": [], "_planned": []}

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return number("SGD: lr", self.options.lr(step), 0)

    def prepare(self) -> None:
        """Plan the next steps, unless that is done and the arrays are those that were planned for.

        Raises
        ------
        TypeError, ValueError
            If an array cannot be updated any more; the message names its parameter.
        """
        moved = [
            parameter
            for parameter, value, grad in self._planned
            if parameter.value is not value or parameter.grad is not grad
        ]
        if self._plans and not moved and all(map(kernels.sgd_plan_is_valid, self._plans)):
            return
        by_dtype: dict[np.dtype[Any], list[Slot]] = {}
        for slot in self.slots:
            slot.require_form()
            by_dtype.setdefault(slot.form[1], []).append(slot)
        self._plans = [_plan(slots, self.options) for slots in by_dtype.values()]
        parameters = [slot.parameter for slot in self.slots]
        self._planned = [(parameter, parameter.value, parameter.grad) for parameter in parameters]

    def grad_norms(self) -> list[float]:
        """Return norms that together are those of all gradients."""
        return [kernels.sgd_grad_norm(plan) for plan in self._plans]

    def step(
        self, lr: float, grad_scale: float, first: bool, statistics: bool
    ) -> list[kernels.SgdStatistics | None]:
        """Update the parameters, and return the statistics of each plan."""
        for slot in self._mastered:
            slot.follow()
        results = [kernels.sgd_step(plan, lr, grad_scale, first, statistics) for plan in self._plans]
        for slot in self._bounded:
            slot.bound(self.options.limit)
        for slot in self._mastered:
            slot.note()
        return results


def _plan(slots: list[Slot], options: Options) -> kernels.SgdPlan:
    """What the kernel takes at once: arrays of one dtype."""
    return kernels.sgd_plan(
        [slot.parameter.value for slot in slots],
        [slot.parameter.grad for slot in slots],
        [slot.momentum for slot in slots if slot.momentum is not None] or None,
        masters=[slot.master for slot in slots if slot.master is not None] or None,
        decays=[slot.decays for slot in slots],
        **options.of_plan,
    )


def _bits(array: Array) -> Array:
    """Return a 16-bit array as the integers that its bits are."""
    return array.view(np.uint16)
