"""The updates of scikit-learn's stochastic solvers, by the kernels.

Penalties change from batch to batch, as scikit-learn divides `alpha` by the size of the batch. So the kernels
are called with the values of each step, where an optimizer of `trimtab.optim` has fixed ones. An update is,
with the gradient g of the penalized loss::

    SGD     v = momentum v - lr g;  w += v, or with Nesterov's momentum  w += momentum v - lr g
    Adam    m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) g²
            w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)

The learning rate is inside the velocity of SGD, which matters where it changes: the kernel gets a rate of 1
and gradients times the rate. `epsilon` of Adam is added before the correction of the bias, that of the kernel
after it: the kernel gets ``epsilon / sqrt(1 - beta_2^t)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import cast

import numpy as np

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.nn import Parameter


@dataclass(frozen=True)
class Penalty:
    """The penalties of one step: coupled L2 and L1 as parts of the loss, and decoupled decay."""

    l2: float
    l1: float
    decoupled: float


class Solver:
    """Updates the parameters of a net: ``lr`` is the learning rate of the next step, ``steps`` counts them.

    Parameters
    ----------
    parameters : sequence of Parameter
        Those with ``decay`` are penalized, and bounded by `max_norm`. Their arrays are not kept: a step takes
        them again, so that a copy or a pickle of the solver needs nothing but its own buffers.
    lr : float
    max_norm : float or None
        Bound of the norm of the weights into each unit.
    max_grad_norm : float or None
        Bound of the global norm of the gradients of the loss without its penalties.
    """

    def __init__(
        self, parameters: Sequence[Parameter], lr: float, max_norm: float | None, max_grad_norm: float | None
    ) -> None:
        self.lr, self.max_norm, self.max_grad_norm = float(lr), max_norm, max_grad_norm
        self.steps = 0
        self.buffers = [self.new_buffers([p.value for p in part]) for part in split(parameters)]

    def new_buffers(self, values: list[Array]) -> dict[str, list[Array]]:
        """Return the arrays that the solver keeps for parameters, by name."""
        raise NotImplementedError

    def step(self, parameters: Sequence[Parameter], penalty: Penalty) -> float:
        """Update the parameters from their gradients; return the coupled penalties of the weights before."""
        if self.max_grad_norm is not None:
            kernels.clip_grad_norm([p.grad for p in parameters], self.max_grad_norm)
        self.steps += 1
        penalties = penalty, Penalty(0.0, 0.0, 0.0)
        value_of_penalty = 0.0
        for part, buffers, own in zip(split(parameters), self.buffers, penalties, strict=True):
            penalized = own
            values, grads = [p.value for p in part], [p.grad for p in part]
            if own.decoupled and (own.l2 or own.l1):  # the kernels take one kind at a time
                for value, grad in zip(values, grads, strict=True):
                    grad += own.l2 * value + own.l1 * np.sign(value)
                own = Penalty(0.0, 0.0, own.decoupled)
            sums = self.update(values, grads, buffers, own)
            value_of_penalty += penalized.l1 * sums.l1_norm + penalized.l2 / 2 * sums.l2_norm_sq
        if self.max_norm is not None:
            for weight in (p.value for p in split(parameters)[0]):
                kernels.max_norm(weight, self.max_norm, axis=1, out=weight)
        return value_of_penalty

    def update(
        self, values: list[Array], grads: list[Array], buffers: dict[str, list[Array]], penalty: Penalty
    ) -> kernels.UpdateStatistics:
        """Update arrays that share their penalties, either coupled or decoupled ones.

        Return sums of the values before.
        """
        raise NotImplementedError


class SGD(Solver):
    """Stochastic gradient descent with momentum."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        lr: float,
        max_norm: float | None,
        max_grad_norm: float | None,
        *,
        momentum: float,
        nesterov: bool,
    ) -> None:
        self.momentum, self.nesterov = momentum, nesterov and momentum > 0
        super().__init__(parameters, lr, max_norm, max_grad_norm)

    def new_buffers(self, values: list[Array]) -> dict[str, list[Array]]:
        """Return the velocities."""
        return {"velocities": [np.zeros_like(value) for value in values]} if self.momentum else {}

    def update(
        self, values: list[Array], grads: list[Array], buffers: dict[str, list[Array]], penalty: Penalty
    ) -> kernels.UpdateStatistics:
        """Update arrays that share their penalties."""
        sums = kernels.sgd_update(
            values,
            grads,
            buffers.get("velocities"),
            lr=1.0,
            grad_scale=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.lr * (penalty.l2 + penalty.decoupled),
            l1=self.lr * penalty.l1,
            decoupled=penalty.decoupled > 0,
            statistics=True,
        )
        return cast(kernels.UpdateStatistics, sums)


class Adam(Solver):
    """Adam, with decoupled decay AdamW."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        lr: float,
        max_norm: float | None,
        max_grad_norm: float | None,
        *,
        betas: tuple[float, float],
        epsilon: float,
    ) -> None:
        self.betas, self.epsilon = betas, epsilon
        super().__init__(parameters, lr, max_norm, max_grad_norm)

    def new_buffers(self, values: list[Array]) -> dict[str, list[Array]]:
        """Return the averages of the gradients and of their squares."""
        return {name: [np.zeros_like(value) for value in values] for name in ("exp_avgs", "exp_avg_sqs")}

    def update(
        self, values: list[Array], grads: list[Array], buffers: dict[str, list[Array]], penalty: Penalty
    ) -> kernels.UpdateStatistics:
        """Update arrays that share their penalties."""
        sums = kernels.adam_update(
            values,
            grads,
            *buffers.values(),
            step=self.steps,
            lr=self.lr,
            betas=self.betas,
            eps=self.epsilon / sqrt(1 - self.betas[1] ** self.steps),
            weight_decay=penalty.l2 + penalty.decoupled,
            l1=penalty.l1,
            decoupled=penalty.decoupled > 0,
            statistics=True,
        )
        return cast(kernels.UpdateStatistics, sums)


def split(parameters: Sequence[Parameter]) -> tuple[list[Parameter], list[Parameter]]:
    """Split parameters into those that decay and the others."""
    return [p for p in parameters if p.decay], [p for p in parameters if not p.decay]
