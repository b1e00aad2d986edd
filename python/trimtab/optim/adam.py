"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import trimtab._core as kernels
from trimtab._checks import flag, items, number, shown
from trimtab.optim.optimizer import Optimizer
from trimtab.optim.options import Keywords, Options, Plan, PlanArrays, StepArguments, non_negative, option
from trimtab.optim.parameters import Given
from trimtab.optim.schedules import Schedule


def as_betas(name: str, value: Any) -> tuple[float, float]:
    """Return two floats, each >= 0 and < 1."""
    betas = items(name, value, "be two numbers")
    if len(betas) != 2:
        raise ValueError(f"{name} must be two numbers, got {shown(value)}")
    first, second = (number(f"{name}[{place}]", beta, 0, below=1) for place, beta in enumerate(betas))
    return first, second


@dataclass(frozen=True, kw_only=True)
class AdamOptions(Options):
    """The options of `Adam` and `AdamW`, and their kernel."""

    betas: tuple[float, float] = option((0.9, 0.999), as_betas, kernel=True)
    eps: float = option(1e-8, non_negative, kernel=True)
    amsgrad: bool = option(False, flag)

    @property
    def buffers(self) -> tuple[str, ...]:
        """The averages of the gradients and of their squares, and the largest of the latter for amsgrad."""
        averages = "exp_avg", "exp_avg_sq"
        return (*averages, "max_exp_avg_sq") if self.amsgrad else averages

    @property
    def squares(self) -> tuple[str, ...]:
        """The averages of squares, and the largest of them."""
        return self.buffers[1:]

    def make_plan(self, arrays: PlanArrays) -> Plan:
        """Return a plan of `trimtab.adam_update`."""
        return kernels.adam_plan(
            arrays.values,
            arrays.grads,
            arrays.buffers["exp_avg"],
            arrays.buffers["exp_avg_sq"],
            max_exp_avg_sqs=arrays.buffers.get("max_exp_avg_sq"),
            masters=arrays.masters,
            decays=arrays.decays,
            **self.for_kernel,
        )

    def run(self, plan: Plan, step: StepArguments) -> kernels.UpdateStatistics | None:
        """Do one step of a plan."""
        return kernels.adam_step(plan, step.steps + 1, step.lr, step.grad_scale, step.statistics)


class AdamKeywords(Keywords, total=False):
    """The options beside the learning rate, as type checkers see the keywords of `Adam` and `AdamW`."""

    betas: tuple[float, float]
    eps: float
    amsgrad: bool


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with decay in the gradient; one pass over memory a step.

    With ``g = grad + weight_decay * w + l1 * sign(w)`` and t the number of the step, from 1 on:
    ``m = beta1 * m + (1 - beta1) * g``, ``v = beta2 * v + (1 - beta2) * g**2``, and
    ``w -= lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)``. `trimtab.adam_update` states every
    option in full.

    Parameters
    ----------
    parameters, max_grad_norm, skip_nonfinite
        And `weight_decay`, `l1`, `decoupled`, `proximal`, `maximize`, `zero_grad`, `masters`, `decay_all`,
        `max_norm`: see `Optimizer`. All flags are False and all numbers 0 unless given.
    lr : float or callable, default 0.001
        As of `Optimizer`.
    betas : (float, float), default (0.9, 0.999)
        Weights of the old averages of the gradients and of their squares; >= 0 and < 1.
    eps : float, default 1e-8
        Added to the root of the average square; >= 0.
    amsgrad : bool, default False
        Whether to divide by the largest average square so far (Reddi, Kale, and Kumar 2018).

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`.

    See Also
    --------
    AdamW : with decay outside the averages.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn, optim
    >>> weight = nn.Parameter(np.zeros(2))
    >>> optimizer = optim.Adam(weight, lr=0.5)
    >>> weight.grad = np.array([3.0, -1e-3])
    >>> optimizer.step()
    >>> weight.value.round(3)
    array([-0.5,  0.5])
    """

    algorithm = AdamOptions

    def __init__(
        self,
        parameters: Given,
        lr: float | Schedule = 1e-3,
        *,
        max_grad_norm: float | None = None,
        skip_nonfinite: bool = False,
        **options: Unpack[AdamKeywords],
    ) -> None:
        super().__init__(
            parameters, lr=lr, max_grad_norm=max_grad_norm, skip_nonfinite=skip_nonfinite, **options
        )


class AdamW(Adam):
    """Adam with decay of the weights outside the averages (Loshchilov and Hutter 2019): see `Adam`.

    The step is that of `Adam` without decay, and ``w -= lr * (weight_decay * w + l1 * sign(w))``.

    Parameters
    ----------
    parameters, lr, max_grad_norm, skip_nonfinite
        And `betas`, `eps`, `amsgrad`, `l1`, `proximal`, `maximize`, `zero_grad`, `masters`, `decay_all`,
        `max_norm`: see `Adam`.
    weight_decay : float, default 0.01
    decoupled : bool, default True

    Examples
    --------
    >>> from trimtab import nn, optim
    >>> body, head = nn.Linear(8, 4), nn.Linear(4, 2)
    >>> groups = {"body": {"parameters": body}, "head": {"parameters": head, "weight_decay": 0.0}}
    >>> optimizer = optim.AdamW(groups, lr=3e-4)
    >>> [group.options.weight_decay for group in optimizer.groups]
    [0.01, 0.0]
    """

    def __init__(
        self,
        parameters: Given,
        lr: float | Schedule = 1e-3,
        *,
        weight_decay: float = 0.01,
        decoupled: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, decoupled=decoupled, **options)
