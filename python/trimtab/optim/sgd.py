"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import hypot, inf, isfinite, nan
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab._checks import flag, number, whole
from trimtab._typing import Array
from trimtab.nn.module import copy_state
from trimtab.optim.groups import Group
from trimtab.optim.options import NAMES, Keywords, Options, as_schedule, bound
from trimtab.optim.parameters import GroupMapping, Parameters, read_groups
from trimtab.optim.schedules import Constant, Schedule

FIXED = frozenset(NAMES) - {"lr"}
ADVICE = {"learning_rate": "the learning rate is lr", "param_groups": "groups are given when it is made"}


class SGD:
    """Stochastic gradient descent with momentum, decay, max-norm and clipping; one pass over memory per step.

    With ``g = grad + weight_decay * w + l1 * sign(w)``: ``v = momentum * v + (1 - dampening) * g`` (``v = g``
    on the first step), then ``w -= lr * v``, or ``w -= lr * (g + momentum * v)`` with Nesterov's momentum.
    `trimtab.sgd_update` states every option in full.

    It can be pickled and copied: the copy is that of its parameters, too, and goes on with the same bits. A
    copy of a model beside its optimizer, ``copy.deepcopy((model, optimizer))``, is trained by that of the
    optimizer.

    Parameters
    ----------
    parameters : Module, Parameter, iterable or mapping of these, or iterable of groups
        What is trained, each parameter once. A group is a mapping with options of its own:
        ``{"parameters": ..., "lr": ..., ...}`` with any of the options down to `max_norm`.
    lr : float or callable
        Learning rate, >= 0, or a function of the number of steps done that returns it: see
        `trimtab.optim.schedules`.
    momentum, dampening : float, default 0
    nesterov : bool
        The momentum v (Polyak 1964, Nesterov 1983); Nesterov's form needs momentum and no dampening.
    weight_decay, l1 : float, default 0
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
        them a change below half a unit of the parameter's last place is lost. What is written into a
        ``value``, by hand or by `Module.load_state_dict`, its original follows.
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

    Raises
    ------
    TypeError, ValueError
        If an option or a group is of the wrong kind or out of range, a parameter stands twice, is read-only
        or of another dtype than those of the kernels, or there is none.

    Examples
    --------
    >>> from trimtab import nn, optim
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> optimizer = optim.SGD(model, lr=optim.Cosine(0.1, steps=1000), momentum=0.9)
    >>> optimizer.lr
    0.1
    """

    def __init__(
        self,
        parameters: Parameters | GroupMapping | Iterable[GroupMapping],
        lr: float | Schedule,
        *,
        max_grad_norm: float | None = None,
        skip_nonfinite: bool = False,
        **options: Unpack[Keywords],
    ) -> None:
        shared = Options(lr=lr, **options)  # type: ignore[arg-type]
        self._groups = [
            Group(parameters, replace(shared, **own)) for parameters, own in read_groups(parameters)
        ]
        self.parameters = [slot.parameter for group in self._groups for slot in group.slots]
        self.max_grad_norm = bound("SGD: max_grad_norm", max_grad_norm)
        self.skip_nonfinite = flag("SGD: skip_nonfinite", skip_nonfinite)
        self.steps = self.skipped = 0
        self.grad_norm = nan

    @property
    def lr(self) -> float:
        """Learning rate of the next step, of the first group; setting it sets that of all groups."""
        return self._groups[0].rate(self.steps)

    @lr.setter
    def lr(self, lr: float | Schedule) -> None:
        schedule = as_schedule("SGD: lr", lr)
        for group in self._groups:
            group.options = replace(group.options, lr=schedule)

    def require_rates(self) -> None:
        """Raise an error unless every group has a learning rate for the next step."""
        for group in self._groups:
            group.rate(self.steps)

    def __setattr__(self, name: str, value: object) -> None:
        if name in FIXED or name in ADVICE:
            rule = ADVICE.get(name, "it is fixed when the optimizer is made")
            raise AttributeError(f"{type(self).__name__}: {name} cannot be set: {rule}")
        object.__setattr__(self, name, value)

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
        TypeError, ValueError
            If `grad_scale` or the learning rate of any group is no number or out of range, or a parameter has
            become read-only or another array of another shape; nothing has been changed then.
        """
        grad_scale = number("SGD: grad_scale", grad_scale, 0)
        statistics = flag("SGD: statistics", statistics)
        rates = [group.rate(self.steps) for group in self._groups]
        for group in self._groups:
            group.prepare()
        limit = inf if self.max_grad_norm is None else number("SGD: max_grad_norm", self.max_grad_norm, 0)
        if limit < inf or self.skip_nonfinite:
            self.grad_norm = grad_scale * hypot(
                *(norm for group in self._groups for norm in group.grad_norms())
            )
            if self.skip_nonfinite and not isfinite(self.grad_norm):
                self.skipped += 1
                return None
            if limit < self.grad_norm < inf:
                grad_scale *= limit / self.grad_norm
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
        """Return what a resumed training needs beside the parameters: copies of arrays, by name.

        ``steps``, ``skipped``; ``lr.<group>`` of groups whose learning rate is a number and not a schedule;
        ``momentum.<parameter>`` and ``master.<parameter>`` where there are such.
        """
        rates = [group.options.constant_lr for group in self._groups]
        own = {name: array.copy() for name, array in self._arrays().items()}
        return {
            **own,
            "skipped": np.array(self.skipped),
            **{f"lr.{place}": np.array(lr) for place, lr in enumerate(rates) if lr is not None},
        }

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over the `state_dict` of an optimizer of such parameters and options.

        A learning rate in the state becomes that of its group. A schedule is code and no part of the state:
        where a group was saved with one, the schedule or number that the group has here stays, and a schedule
        goes on at the step that was saved.

        Raises
        ------
        ValueError, TypeError
            As `Module.load_state_dict`, or if a number in the state is out of range; nothing has been changed
            then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: state must be a mapping of arrays, got {type(state).__name__}")
        for name in ("steps", "skipped"):
            if name in state:
                whole(f"load_state_dict: {name}", state[name], 0)
        rates = {f"lr.{place}": group for place, group in enumerate(self._groups)}
        for name in rates.keys() & state.keys():
            number(f"load_state_dict: {name}", state[name], 0)
        optional = {"skipped": np.array(0)} | {name: np.array(nan) for name in rates}
        own = self._arrays()
        copy_state(own | optional, optional | dict(state), "the optimizer")
        self.steps, self.skipped = int(own["steps"]), int(optional["skipped"])
        for name in rates.keys() & state.keys():
            rates[name].options = replace(rates[name].options, lr=Constant(float(optional[name])))

    def _arrays(self) -> dict[str, Array]:
        """What every state has, the arrays of the parameters as they are."""
        slots = [slot for group in self._groups for slot in group.slots]
        for slot in slots:
            slot.follow()
        return {"steps": np.array(self.steps)} | {
            f"{name}.{place}": array
            for place, slot in enumerate(slots)
            for name, array in (("momentum", slot.momentum), ("master", slot.master))
            if array is not None
        }
