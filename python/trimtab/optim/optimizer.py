"""`Optimizer`: the base class of all optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import hypot, inf, isfinite, nan
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab._checks import flag, number, whole
from trimtab._inputs import require_state
from trimtab._typing import Array
from trimtab.nn.parameter import Parameter
from trimtab.nn.state import copy_state
from trimtab.optim.groups import Group, Groups
from trimtab.optim.options import Options, as_schedule, optional_non_negative, require_known
from trimtab.optim.parameters import Given, ParametersReader
from trimtab.optim.rates_state import read_rates, write_rates
from trimtab.optim.schedules import Schedule

FOREIGN_NAMES = {
    "learning_rate": "the learning rate is lr",
    "param_groups": "the groups are in groups, made with the optimizer",
}


class Optimizer:
    """Updates parameters from their gradients, in groups with options of their own.

    An optimizer can be pickled and copied, together with its parameters; the copy continues with the same
    bits. Of ``copy.deepcopy((model, optimizer))`` the optimizer trains the model beside it.

    To sum gradients over several backward passes before a step, add them up in each ``grad`` and step with
    ``grad_scale=1 / passes``, or with 1 over the sum of their weights.

    Parameters
    ----------
    parameters : Module, Parameter, iterable or mapping of these, or groups
        What to train, each parameter once. A group is a mapping that sets options for its parameters:
        ``{"parameters": ..., "lr": ..., "name": ...}``, with any of the options from `lr` to `max_norm`.
        Groups are a list, or a mapping by name.
    lr : float or callable
        Learning rate, >= 0, or a function that returns it for the number of steps done so far: see
        `trimtab.optim.schedules`.
    weight_decay, l1 : float
        c in the penalty ``c/2 * sum(w**2)``, and the factor of ``sum(|w|)``. `trimtab.optim.conventions`
        converts from the conventions of other libraries.
    decoupled : bool
        Whether decay is applied to the weights directly, and not to the gradient (Loshchilov and Hutter
        2019).
    proximal : bool
        Whether L1 is a soft threshold after the step, which gives exact zeros.
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
    groups : Groups
        The groups in order, also by name: ``optimizer.groups["head"].lr = 0.01``.
    parameters : list of Parameter
        The parameters of all groups.
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
    """

    algorithm: ClassVar[type[Options]]

    def __init__(
        self,
        parameters: Given,
        *,
        max_grad_norm: float | None,
        skip_nonfinite: bool,
        **options: Any,
    ) -> None:
        owner, names = type(self).__name__, self.algorithm.names()
        require_known(owner, [*options], [*names, "max_grad_norm", "skip_nonfinite"])
        shared = self.algorithm(owner=owner, **options)
        requests = ParametersReader(owner, names).read(parameters)
        groups = [Group(name, named, replace(shared, **own)) for name, named, own in requests]
        self._groups = Groups(owner, groups)
        self._states = [state for group in self._groups for state in group.states]
        self.parameters: list[Parameter] = [state.parameter for state in self._states]
        self.max_grad_norm = optional_non_negative(f"{owner}: max_grad_norm", max_grad_norm)
        self.skip_nonfinite = flag(f"{owner}: skip_nonfinite", skip_nonfinite)
        self.skipped = 0
        self.grad_norm = nan

    @property
    def groups(self) -> Groups:
        """The groups, by number and by name."""
        return self._groups

    @property
    def steps(self) -> int:
        """Number of steps done."""
        return self._groups[0].steps

    @property
    def lr(self) -> float:
        """Learning rate of the next step, if it is that of all groups. Setting it sets that of all groups.

        Groups that differ have no common rate, and reading it is an AttributeError: ``optimizer.lr *= 0.5``
        would make them equal. Write ``for group in optimizer.groups: group.lr *= 0.5``. Setting a number
        ends a schedule.
        """
        first, *others = self._groups
        if any(group.schedule not in [first.schedule] for group in others):
            rates = ", ".join(f"{group.lr_text} ({group.name})" for group in self._groups)
            raise AttributeError(
                f"{type(self).__name__}: lr must be the same in all groups to be read, got {rates}: "
                "use that of each group, optimizer.groups[...].lr"
            )
        return first.lr

    @lr.setter
    def lr(self, lr: float | Schedule) -> None:
        schedule = as_schedule(f"{type(self).__name__}: lr", lr)
        for group in self._groups:
            group.follow(schedule)

    def require_rates(self) -> None:
        """Raise an error unless every group has a learning rate for the next step."""
        for group in self._groups:
            group.lr_at(self.steps)

    def __setattr__(self, name: str, value: object) -> None:
        if name in FOREIGN_NAMES or (name != "lr" and name in self.algorithm.names()):
            rule = FOREIGN_NAMES.get(name, "it is fixed when the optimizer is made")
            raise AttributeError(f"{type(self).__name__}: {name} cannot be set: {rule}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._groups))})"

    def step(self, *, grad_scale: float = 1.0, statistics: bool = False) -> kernels.UpdateStatistics | None:
        """Update every parameter from its ``grad``.

        Parameters
        ----------
        grad_scale : float
            Factor of the gradients, such as 1 over the scale of the loss, or over the number of backward
            passes that the gradients are sums of; finite and >= 0.
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
        owner = type(self).__name__
        grad_scale = number(f"{owner}: grad_scale", grad_scale, 0)
        statistics = flag(f"{owner}: statistics", statistics)
        rates = [group.lr_at(self.steps) for group in self._groups]
        for group in self._groups:
            group.prepare()
        limit = (
            inf if self.max_grad_norm is None else number(f"{owner}: max_grad_norm", self.max_grad_norm, 0)
        )
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
            for result in group.step(lr, grad_scale, statistics)
        ]
        return _combined(results) if statistics else None

    def _global_grad_norm(self, grad_scale: float) -> float:
        """Return the norm of all scaled gradients together."""
        return grad_scale * hypot(*(norm for group in self._groups for norm in group.grad_norms()))

    def state_dict(self) -> dict[str, Array]:
        """Return what a resumed training needs besides the parameters, as copies of arrays by name.

        ``steps``, ``skipped``; for each group ``lr.<group>`` if its learning rate is a number, otherwise
        ``schedule.<group>``, its schedule as text; ``<buffer>.<number of the parameter>`` for the buffers of
        the algorithm and ``master``, where the optimizer keeps them.
        """
        arrays = {name: array.copy() for name, array in self._arrays().items()}
        return arrays | {"skipped": np.array(self.skipped)} | write_rates(self._groups)

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Restore the `state_dict` of an optimizer with like parameters, groups and options.

        The learning rate or schedule of each group becomes the saved one. A schedule continues at the saved
        step. Functions other than the schedules of `trimtab.optim` are code and not part of a state: a group
        that was saved with one must have a function here, too, and keeps it.

        Raises
        ------
        ValueError, TypeError
            As `Module.load_state_dict`; if a number in the state is out of range, an average of squares is
            negative, or the state is of other groups or buffers. The message names them, and nothing has been
            changed.
        """
        require_state(state)
        for name in ("steps", "skipped"):
            if name in state:
                whole(f"load_state_dict: {name}", state[name], 0)
        schedules, others = read_rates(self._groups, state)
        arrays, skipped = self._arrays(), {"skipped": np.array(0)}
        kinds = {kind for group in self._groups for kind in group.options.squares}
        squares = [name for name in arrays if name.rpartition(".")[0] in kinds]
        copy_state(arrays | skipped, skipped | others, "the optimizer", not_negative=squares)
        self.skipped = int(skipped["skipped"])
        for group in self._groups:
            group.steps = int(arrays["steps"])
            if group.name in schedules:
                group.follow(schedules[group.name])

    def _arrays(self) -> dict[str, Array]:
        """Return the arrays that every state has, uncopied: the number of steps, and those of parameters."""
        for state in self._states:
            state.refresh_master()
        return {"steps": np.array(self.steps)} | {
            f"{name}.{place}": array
            for place, state in enumerate(self._states)
            for name, array in state.arrays.items()
        }


def _combined(results: Iterable[kernels.UpdateStatistics | None]) -> kernels.UpdateStatistics:
    """Combine the statistics of all plans."""
    l1_norms, l2_norms_sq, grad_norms = zip(*filter(None, results), strict=True)
    return kernels.UpdateStatistics(sum(l1_norms), sum(l2_norms_sq), hypot(*grad_norms))
