"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import hypot, inf, isfinite, nan
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.nn.module import Module, Parameter, copy_state
from trimtab.optim.schedules import Constant, Schedule

Parameters: TypeAlias = Module | Iterable[Parameter]


class SGD:
    """Stochastic gradient descent with momentum, decay, max-norm and clipping; one pass over memory per step.

    With ``g = grad + weight_decay * w + l1 * sign(w)``: ``v = momentum * v + (1 - dampening) * g`` (``v = g``
    on the first step), then ``w -= lr * v``, or ``w -= lr * (g + momentum * v)`` with Nesterov's momentum.
    `trimtab.sgd_update` states every option in full.

    Parameters
    ----------
    parameters : Module, iterable of Parameter, or iterable of mappings
        What is trained. A mapping is a group with options of its own: ``{"parameters": ..., "lr": ..., ...}``
        with a Module or an iterable of Parameter, and any of the options down to `max_norm`.
    lr : float or callable
        Learning rate, >= 0, or a function of the number of steps done that returns it: see
        `trimtab.optim.schedules`.
    momentum, dampening, nesterov
        The momentum v (Polyak 1964, Nesterov 1983); Nesterov's form needs momentum and no dampening.
    weight_decay, l1 : float
        c in the penalty ``c/2 * sum(w**2)``, and the factor of ``sum(|w|)``. For strengths stated otherwise
        see `trimtab.optim.conventions`.
    decoupled : bool
        Whether the decay stays outside gradient and momentum (Loshchilov and Hutter 2019).
    proximal : bool
        Whether L1 is a soft threshold after the step, which gives exact zeros. Beside a momentum that adds up
        gradients, what stays outside it weighs less: like a penalty of ``1 - momentum`` times the strength.
    maximize : bool
        Whether to climb.
    zero_grad : bool
        Whether a step leaves zeros in every ``grad``. The layers of `trimtab.nn` do not need it.
    masters : bool
        Whether 16-bit parameters are rounded copies of float32 originals that the optimizer keeps. Without
        them a change below half a unit of the parameter's last place is lost. The originals follow what
        `Module.load_state_dict` changes; what is written into a ``value`` by hand the next step overwrites.
    decay_all : bool
        Whether decay, L1 and `max_norm` also apply to parameters that exclude them: biases and those of norm
        layers.
    max_norm : float, optional
        Length that the weights into any one unit are projected to after each step where they exceed it
        (Srivastava et al. 2014); for parameters of two dimensions and more, of which the first is that of the
        units.
    max_grad_norm : float, optional
        Bound of the common norm of all gradients: where they exceed it they are scaled down to it (Pascanu et
        al. 2013).
    skip_nonfinite : bool
        Whether a step whose gradients have a NaN or Inf changes nothing, and is counted in ``skipped``.

    Attributes
    ----------
    steps, skipped : int
        Number of steps done, and of those left out.
    grad_norm : float
        Norm of all gradients at the last step; NaN unless `max_grad_norm` or `skip_nonfinite` measures it.
    """

    def __init__(
        self,
        parameters: Parameters | Iterable[Mapping[str, Any]],
        lr: float | Schedule,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        decoupled: bool = False,
        proximal: bool = False,
        maximize: bool = False,
        zero_grad: bool = False,
        masters: bool = False,
        decay_all: bool = False,
        max_norm: float | None = None,
        max_grad_norm: float | None = None,
        skip_nonfinite: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "l1": l1,
            "decoupled": decoupled,
            "proximal": proximal,
            "maximize": maximize,
            "zero_grad": zero_grad,
            "masters": masters,
            "decay_all": decay_all,
            "max_norm": max_norm,
        }
        self._groups = [_Group({**options, **group}) for group in _as_groups(parameters, options)]
        self.parameters = [slot.parameter for group in self._groups for slot in group.slots]
        if not self.parameters:
            raise ValueError("SGD: parameters must not be empty, got none")
        if len({id(parameter) for parameter in self.parameters}) < len(self.parameters):
            raise ValueError("SGD: parameters must be in one group each, got one in several")
        self.max_grad_norm = _bound("max_grad_norm", max_grad_norm)
        self.skip_nonfinite = skip_nonfinite
        self.steps = self.skipped = 0
        self.grad_norm = nan

    @property
    def lr(self) -> float:
        """Learning rate of the next step, of the first group; setting it sets that of all groups."""
        return self._groups[0].schedule(self.steps)

    @lr.setter
    def lr(self, lr: float | Schedule) -> None:
        for group in self._groups:
            group.schedule = _as_schedule(lr)

    def step(self, *, grad_scale: float = 1.0, statistics: bool = False) -> kernels.SgdStatistics | None:
        """Update every parameter from its ``grad``.

        Parameters
        ----------
        grad_scale : float
            Factor of the gradients, such as 1 over the scale of the loss; finite and >= 0.
        statistics : bool
            Whether to return norms, from the same pass.

        Returns
        -------
        SgdStatistics or None
            ``(l1_norm, l2_norm_sq, grad_norm)`` over all parameters, as `trimtab.sgd_update` has them, of the
            gradients after clipping. None unless asked for, or where the step is left out.

        Raises
        ------
        ValueError
            If `grad_scale` or the learning rate of any group is out of range; nothing has been changed then.
        """
        _non_negative("grad_scale", grad_scale)
        rates = [_non_negative("lr", group.schedule(self.steps)) for group in self._groups]
        if self.max_grad_norm < inf or self.skip_nonfinite:
            self.grad_norm = grad_scale * hypot(
                *(norm for group in self._groups for norm in group.grad_norms())
            )
            if self.skip_nonfinite and not isfinite(self.grad_norm):
                self.skipped += 1
                return None
            if self.max_grad_norm < self.grad_norm < inf:
                grad_scale *= self.max_grad_norm / self.grad_norm
        results = [
            result
            for group, lr in zip(self._groups, rates, strict=True)
            for result in group.step(lr, grad_scale, self.steps == 0, statistics)
        ]
        self.steps += 1
        if not statistics:
            return None
        l1_norms, l2_norms_sq, grad_norms = zip(*results, strict=True)
        return kernels.SgdStatistics(sum(l1_norms), sum(l2_norms_sq), hypot(*grad_norms))

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the number of steps, the momenta and the masters, by name."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy the arrays of `state`, the `state_dict` of an optimizer of such parameters and options.

        Raises
        ------
        ValueError, TypeError
            As `Module.load_state_dict`; nothing has been changed then.
        """
        own = self._state()
        copy_state(own, state, "the optimizer")
        self.steps = int(own["steps"])

    def _state(self) -> dict[str, Array]:
        slots = [slot for group in self._groups for slot in group.slots]
        for slot in slots:
            slot.follow()
        return {"steps": np.array(self.steps)} | {
            f"{name}.{number}": array
            for number, slot in enumerate(slots)
            for name, array in (("momentum", slot.momentum), ("master", slot.master))
            if array is not None
        }


class _Slot:
    """A parameter and what the optimizer keeps for it."""

    def __init__(self, parameter: Parameter, *, momentum: bool, master: bool, decays: bool) -> None:
        self.parameter, self.decays = parameter, decays
        value = parameter.value
        self.master = value.astype(np.float32) if master and value.itemsize == 2 else None
        self.weight = value if self.master is None else self.master
        self.loads = parameter.loads
        self.momentum = np.zeros_like(self.weight) if momentum else None

    def follow(self) -> None:
        """After the model has loaded its state: take over what no longer is the master rounded."""
        if self.master is None or self.loads == self.parameter.loads:
            return
        value = self.parameter.value
        with np.errstate(over="ignore"):  # a master that was not loaded may be infinite in 16 bits
            rounded = self.master.astype(value.dtype)
        np.copyto(self.master, value, where=rounded != value)
        self.loads = self.parameter.loads

    def bound(self, limit: float) -> None:
        """Project the weights into each unit into the ball of radius `limit`."""
        into_a_unit = tuple(range(1, self.weight.ndim))
        kernels.max_norm(self.weight, limit, axis=into_a_unit, out=self.weight)
        if self.master is not None:
            self.parameter.value[...] = self.master


class _Group:
    """Parameters that share their options."""

    def __init__(self, options: dict[str, Any]) -> None:
        for name in ("momentum", "dampening", "weight_decay", "l1"):
            _non_negative(name, options[name])
        if options["nesterov"] and not (options["momentum"] > 0 and options["dampening"] == 0):
            raise ValueError(
                "SGD: nesterov must go with momentum > 0 and dampening 0, "
                f"got {options['momentum']} and {options['dampening']}"
            )
        self.schedule = _as_schedule(options.pop("lr"))
        given, masters, decay_all, limit = map(
            options.pop, ("parameters", "masters", "decay_all", "max_norm")
        )
        self.slots = [
            _Slot(
                parameter,
                momentum=options["momentum"] > 0,
                master=masters,
                decays=parameter.decay or decay_all,
            )
            for parameter in (given.parameters() if isinstance(given, Module) else given)
        ]
        self._mastered = [slot for slot in self.slots if slot.master is not None]
        self._limit = _bound("max_norm", limit)
        self._bounded = [
            slot for slot in self.slots if self._limit < inf and slot.decays and slot.weight.ndim > 1
        ]
        dtypes = dict.fromkeys(slot.parameter.value.dtype for slot in self.slots)
        self._plans = [
            _plan([slot for slot in self.slots if slot.parameter.value.dtype == dtype], options)
            for dtype in dtypes
        ]

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
            slot.bound(self._limit)
        return results


def _plan(slots: list[_Slot], options: Mapping[str, Any]) -> kernels.SgdPlan:
    """What the kernel takes at once: arrays of one dtype."""
    return kernels.sgd_plan(
        [slot.parameter.value for slot in slots],
        [slot.parameter.grad for slot in slots],
        [slot.momentum for slot in slots if slot.momentum is not None] or None,
        masters=[slot.master for slot in slots if slot.master is not None] or None,
        decays=[slot.decays for slot in slots],
        **options,
    )


def _as_groups(
    parameters: Parameters | Iterable[Mapping[str, Any]], options: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return one mapping for each group."""
    if isinstance(parameters, Module):
        return [{"parameters": parameters}]
    items = list(parameters)
    groups = [item for item in items if isinstance(item, Mapping)]
    if not groups:
        return [{"parameters": items}]
    known = {"parameters", *options}
    for group in items:
        if not isinstance(group, Mapping) or "parameters" not in group or not known >= group.keys():
            raise ValueError(
                f"SGD: parameters must be groups of 'parameters' and {', '.join(options)}, got {group!r}"
            )
    return groups


def _as_schedule(lr: float | Schedule) -> Schedule:
    return lr if callable(lr) else Constant(_non_negative("lr", lr))


def _bound(name: str, value: float | None) -> float:
    return inf if value is None else _non_negative(name, value)


def _non_negative(name: str, value: float) -> float:
    if not 0 <= value < inf:
        raise ValueError(f"SGD: {name} must be finite and >= 0, got {value}")
    return value
