"""Stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import trimtab._core as kernels
from trimtab._checks import flag
from trimtab.optim.optimizer import Optimizer
from trimtab.optim.options import Keywords, Options, Plan, PlanArrays, StepArguments, non_negative, option
from trimtab.optim.parameters import Given
from trimtab.optim.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class SGDOptions(Options):
    """The options of `SGD`, and its kernel."""

    momentum: float = option(0.0, non_negative, kernel=True)
    dampening: float = option(0.0, non_negative, kernel=True)
    nesterov: bool = option(False, flag, kernel=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not (self.momentum > 0 and self.dampening == 0):
            raise ValueError(
                f"{self.owner}: nesterov must go with momentum > 0 and dampening 0, "
                f"got {self.momentum} and {self.dampening}"
            )

    @property
    def buffers(self) -> tuple[str, ...]:
        """The velocity, if there is momentum."""
        return ("momentum",) if self.momentum > 0 else ()

    def make_plan(self, arrays: PlanArrays) -> Plan:
        """Return a plan of `trimtab.sgd_update`."""
        return kernels.sgd_plan(
            arrays.values,
            arrays.grads,
            arrays.buffers.get("momentum"),
            masters=arrays.masters,
            decays=arrays.decays,
            **self.for_kernel,
        )

    def run(self, plan: Plan, step: StepArguments) -> kernels.UpdateStatistics | None:
        """Do one step of a plan."""
        return kernels.sgd_step(plan, step.lr, step.grad_scale, step.steps == 0, step.statistics)


class SGDKeywords(Keywords, total=False):
    """The options beside the learning rate, as type checkers see the keywords of `SGD`."""

    momentum: float
    dampening: float
    nesterov: bool


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, decay, max-norm and clipping; one pass over memory a step.

    With ``g = grad + weight_decay * w + l1 * sign(w)``: ``v = momentum * v + (1 - dampening) * g`` (``v = g``
    on the first step), then ``w -= lr * v``, or ``w -= lr * (g + momentum * v)`` with Nesterov's momentum.
    `trimtab.sgd_update` states every option in full.

    Decay outside the momentum, decoupled or proximal, has the effect of a penalty of ``1 - momentum`` times
    its strength, because momentum accumulates the gradients.

    Parameters
    ----------
    parameters, lr, max_grad_norm, skip_nonfinite
        And `weight_decay`, `l1`, `decoupled`, `proximal`, `maximize`, `zero_grad`, `masters`, `decay_all`,
        `max_norm`: see `Optimizer`. All flags are False and all numbers 0 unless given; `lr` has no default.
    momentum, dampening : float, default 0
    nesterov : bool, default False
        Whether momentum has Nesterov's form (1983) instead of Polyak's (1964); it needs momentum and no
        dampening.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`.

    Examples
    --------
    >>> from trimtab import nn, optim
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> optimizer = optim.SGD(model, lr=optim.Cosine(0.1, steps=1000), momentum=0.9)
    >>> optimizer.lr
    0.1
    """

    algorithm = SGDOptions

    def __init__(
        self,
        parameters: Given,
        lr: float | Schedule,
        *,
        max_grad_norm: float | None = None,
        skip_nonfinite: bool = False,
        **options: Unpack[SGDKeywords],
    ) -> None:
        super().__init__(
            parameters, lr=lr, max_grad_norm=max_grad_norm, skip_nonfinite=skip_nonfinite, **options
        )
