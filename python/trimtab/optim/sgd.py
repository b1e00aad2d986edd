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
from trimtab._inputs import require_state
from trimtab._typing import Array
from trimtab.nn.state import copy_state
from trimtab.optim.groups import Group
from trimtab.optim.options import NAMES, Keywords, Options, as_schedule, optional_non_negative
from trimtab.optim.parameters import GroupMapping, Parameters, read_groups
from trimtab.optim.schedules import Constant, Schedule

FIXED_OPTIONS = frozenset(NAMES) - {"lr"}
FOREIGN_NAMES = {
    "learning_rate": "the learning rate is lr",
    "param_groups": "groups are given when it is made",
}


class SGD:
    """Stochastic gradient descent with momentum, decay, max-norm and clipping; one pass over memory a step.

    With ``g = grad + weight_decay * w + l1 * sign(w)``: ``v = momentum * v + (1 - dampening) * g`` (``v = g``
    on the first step), then ``w -= lr * v``, or ``w -= lr * (g + momentum * v)`` with Nesterov's momentum.
    `trimtab.sgd_update` states every option in full.

    An optimizer can be pickled and copied, together with its parameters; the copy continues with the same
    bits. Of ``copy.deepcopy((model, optimizer))`` the optimizer trains the model beside it.

    Parameters
    ----------
    parameters : Module, Parameter, iterable or mapping of these, or iterable of groups
        What to train, each parameter once. A group is a mapping that sets options for its parameters:
        ``{"parameters": ..., "lr": ..., ...}``, with any of the options from `lr` to `max_norm`.
    lr : float or callable
        Learning rate, >= 0, or a function that returns it for the number of steps done so far: see
        `trimtab.optim.schedules`.
    momentum, dampening : float, default 0
    nesterov : bool
        Whether momentum has Nesterov's form (1983) instead of Polyak's (1964); it needs momentum and no
        dampening.
    weight_decay, l1 : float, default 0
        c in the penalty ``c/2 * sum(w**2)``, and the factor of ``sum(|w|)``. `trimtab.optim.conventions`
        converts from the conventions of other libraries.
    decoupled : bool
        Whether decay is applied to the weights directly, outside gradient and momentum (Loshchilov and
        Hutter 2019).
    proximal : bool
        Whether L1 is a soft threshold after the step, which gives exact zeros. Decay outside the momentum,
        decoupled or proximal, has the effect of a penalty of ``1 - momentum`` times its strength, because
        momentum accumulates the gradients.
    maximize : bool
        Whether to ascend.
    zero_grad : bool
        Whether a step sets every ``grad`` to zero. The layers of `trimtab.nn` do not need it.
    masters : bool
        Whether the optimizer keeps float32 masters of 16-bit parameters, which are rounded copies of them.
        Without masters, a change below half a unit in the last place of the parameter is lost. A master
        takes over what is written into the ``value``, by hand or by `Module.load_state_dict`.
    decay_all : bool
        Whether decay, L1 and `max_norm` also apply to parameters that exclude them: biases and those of norm
        layers.
    max_norm : float, optional
        Bound of the norm of the weights into each unit: after a step, longer ones are projected onto it
        (Srivastava et al. 2014). For parameters of two or more dimensions, the first of which counts the
        units.
    max_grad_norm : float, optional
        Bound of the global norm of all gradients: where they exceed it, they are scaled down to it (Pascanu
        et al. 2013).
    skip_nonfinite : bool
        Whether a step whose gradients have a NaN or Inf changes nothing, and is counted in ``skipped``.

    Attributes
    ----------
    steps, skipped : int
        Number of steps done, and of steps skipped.
    grad_norm : float
        Global norm of the gradients at the last step; NaN unless `max_grad_norm` or `skip_nonfinite` asks
        for it.

    Raises
    ------
    TypeError, ValueError
        If an option or a group is of the wrong kind or out of range, if a parameter is listed twice, is
        read-only or has a dtype other than those of the kernels, or if there are no parameters.

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
        self._states = [state for group in self._groups for state in group.states]
        self.parameters = [state.parameter for state in self._states]
        self.max_grad_norm = optional_non_negative("SGD: max_grad_norm", max_grad_norm)
        self.skip_nonfinite = flag("SGD: skip_nonfinite", skip_nonfinite)
        self.steps = self.skipped = 0
        self.grad_norm = nan

    @property
    def lr(self) -> float:
        """Learning rate of the first group at the next step. Setting it sets that of all groups."""
        return self._groups[0].lr_at(self.steps)

    @lr.setter
    def lr(self, lr: float | Schedule) -> None:
        schedule = as_schedule("SGD: lr", lr)
        for group in self._groups:
            group.options = replace(group.options, lr=schedule)

    def require_rates(self) -> None:
        """Raise an error unless every group has a learning rate for the next step."""
        for group in self._groups:
            group.lr_at(self.steps)

    def __setattr__(self, name: str, value: object) -> None:
        if name in FIXED_OPTIONS or name in FOREIGN_NAMES:
            rule = FOREIGN_NAMES.get(name, "it is fixed when the optimizer is made")
            raise AttributeError(f"{type(self).__name__}: {name} cannot be set: {rule}")
        object.__setattr__(self, name, value)

    def step(self, *, grad_scale: float = 1.0, statistics: bool = False) -> kernels.UpdateStatistics | None:
        """Update every parameter from its ``grad``.

        Parameters
        ----------
        grad_scale : float
            Factor of the gradients, such as 1 over the scale of the loss; finite and >= 0.
        statistics : bool
            Whether to return norms, computed in the same pass.

        Returns
        -------
        UpdateStatistics or None
            ``(l1_norm, l2_norm_sq, grad_norm)`` over all parameters, as `trimtab.sgd_update` returns them; of
            the gradients after clipping. None without `statistics`, or if the step is skipped.

        Raises
        ------
        TypeError, ValueError
            If `grad_scale` or the learning rate of a group is not a number or out of range, or a parameter
            has become read-only or has arrays of another shape; nothing has been changed then.
        """
        grad_scale = number("SGD: grad_scale", grad_scale, 0)
        statistics = flag("SGD: statistics", statistics)
        rates = [group.lr_at(self.steps) for group in self._groups]
        for group in self._groups:
            group.prepare()
        limit = inf if self.max_grad_norm is None else number("SGD: max_grad_norm", self.max_grad_norm, 0)
        if limit < inf or self.skip_nonfinite:
            self.grad_norm = self._global_grad_norm(grad_scale)
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
        return _combined(results) if statistics else None

    def _global_grad_norm(self, grad_scale: float) -> float:
        """Return the norm of all scaled gradients together."""
        return grad_scale * hypot(*(norm for group in self._groups for norm in group.grad_norms()))

    def state_dict(self) -> dict[str, Array]:
        """Return what a resumed training needs besides the parameters, as copies of arrays by name.

        ``steps``, ``skipped``; ``lr.<group>`` for groups whose learning rate is a number, not a schedule;
        ``momentum.<parameter>`` and ``master.<parameter>`` where the optimizer keeps them.
        """
        arrays = {name: array.copy() for name, array in self._arrays().items()}
        rates = [group.options.constant_lr for group in self._groups]
        return {
            **arrays,
            "skipped": np.array(self.skipped),
            **{f"lr.{place}": np.array(lr) for place, lr in enumerate(rates) if lr is not None},
        }

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Restore the `state_dict` of an optimizer with like parameters and options.

        A learning rate in the state becomes that of its group. A schedule is code and not part of the state:
        if a group was saved with one, it keeps the schedule or number that it has here; a schedule continues
        at the saved step.

        Raises
        ------
        ValueError, TypeError
            As `Module.load_state_dict`, or if a number in the state is out of range; nothing has been changed
            then.
        """
        require_state(state)
        for name in ("steps", "skipped"):
            if name in state:
                whole(f"load_state_dict: {name}", state[name], 0)
        groups = {f"lr.{place}": group for place, group in enumerate(self._groups)}
        saved_rates = groups.keys() & state.keys()
        for name in saved_rates:
            number(f"load_state_dict: {name}", state[name], 0)
        optional = {"skipped": np.array(0)} | {name: np.array(nan) for name in groups}
        arrays = self._arrays()
        copy_state(arrays | optional, optional | dict(state), "the optimizer")
        self.steps, self.skipped = int(arrays["steps"]), int(optional["skipped"])
        for name in saved_rates:
            groups[name].options = replace(groups[name].options, lr=Constant(float(optional[name])))

    def _arrays(self) -> dict[str, Array]:
        """Return the arrays that every state has, uncopied: the number of steps, and those of parameters."""
        for state in self._states:
            state.refresh_master()
        return {"steps": np.array(self.steps)} | {
            f"{name}.{place}": array
            for place, state in enumerate(self._states)
            for name, array in (("momentum", state.momentum), ("master", state.master))
            if array is not None
        }


def _combined(results: Iterable[kernels.UpdateStatistics | None]) -> kernels.UpdateStatistics:
    """Combine the statistics of all plans."""
    l1_norms, l2_norms_sq, grad_norms = zip(*filter(None, results), strict=True)
    return kernels.UpdateStatistics(sum(l1_norms), sum(l2_norms_sq), hypot(*grad_norms))
