"""The statistics that a pass of batch normalization uses.

=====================  =================================================================================
`BatchStatistics`      mean and variance of the batch, or of each virtual batch; updates the averages
`CorrectedStatistics`  those of the batch, corrected toward the averages (renormalization); updates them
`RunningStatistics`    the running averages, as constants: evaluation, and frozen layers
=====================  =================================================================================

An instance is what a forward saves:
``forward(norm, x, residual, gamma, beta)`` returns y and an instance,
``backward(norm, dy)`` returns dx, dgamma, dbeta and dresidual. `norm` is the layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

import numpy as np

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.nn.arguments import as_input

if TYPE_CHECKING:
    from trimtab.nn.batch_norm import BatchNorm, Limit

Gradients: TypeAlias = tuple[Array, Array, Array, Array | None]  # dx, dgamma, dbeta, dresidual


class BatchStatistics(NamedTuple):
    """Mean and variance of the batch, or of each virtual batch."""

    x: Array
    y: Array | None  # None without activation
    mean: Array
    rstd: Array
    gamma: Array | None
    has_residual: bool
    order: Array | None  # of the samples; None unless virtual batches are strided

    @classmethod
    def forward(
        cls, norm: BatchNorm, x: Array, residual: Array | None, gamma: Array | None, beta: Array | None
    ) -> tuple[Array, Self]:
        """Normalize, and update the running averages."""
        order = _order_of_samples(norm, len(x)) if norm.strided else None
        if order is not None:
            x, residual = x[order], None if residual is None else as_input(norm, residual)[order]
        y, mean, rstd = kernels.batch_norm_forward(
            x,
            gamma,
            beta,
            running_mean=norm.running_mean,
            running_var=norm.running_var,
            momentum=norm.weight_of_batch,
            unbiased=norm.unbiased,
            axis=norm.axis,
            eps=norm.eps,
            activation=norm.activation,
            residual=residual,
            virtual_batch_size=norm.virtual_batch_size,
        )
        kept = cls(x, y if norm.activation else None, mean, rstd, gamma, residual is not None, order)
        return y if order is None else _restored(y, order), kept

    def backward(self, norm: BatchNorm, dy: Array) -> Gradients:
        """Return the gradients, through mean and variance."""
        order = self.order
        dx, dgamma, dbeta, dresidual = kernels.batch_norm_backward(
            dy if order is None else dy[order],
            self.x,
            self.mean,
            self.rstd,
            self.gamma,
            axis=norm.axis,
            y=self.y,
            activation=norm.activation,
            residual=self.has_residual,
            virtual_batch_size=norm.virtual_batch_size,
        )
        if order is not None:
            dx = _restored(dx, order)
            dresidual = None if dresidual is None else _restored(dresidual, order)
        return dx, dgamma, dbeta, dresidual


class CorrectedStatistics(NamedTuple):
    """Mean and variance of the batch, corrected toward the running averages by r and d."""

    x: Array
    mean: Array
    rstd: Array
    r: Array
    d: Array
    gamma: Array | None
    y: None = None  # there is no activation

    @classmethod
    def forward(
        cls, norm: BatchNorm, x: Array, residual: Array | None, gamma: Array | None, beta: Array | None
    ) -> tuple[Array, Self]:
        """Normalize, and update the running averages."""
        if residual is not None:
            raise ValueError(f"{norm!r}: residual must be None with renorm, got an array")
        batch = int(norm.batches)
        y, mean, rstd, r, d = kernels.batch_renorm_forward(
            x,
            gamma,
            beta,
            running_mean=norm.running_mean,
            running_std=norm.running_std,
            r_max=_at(norm.r_max, batch),
            d_max=_at(norm.d_max, batch),
            momentum=norm.weight_of_batch,
            axis=norm.axis,
            eps=norm.eps,
        )
        return y, cls(x, mean, rstd, r, d, gamma)

    def backward(self, norm: BatchNorm, dy: Array) -> Gradients:
        """Return the gradients, through mean and variance; r and d are constants."""
        gradients = kernels.batch_renorm_backward(
            dy, self.x, self.mean, self.rstd, self.r, self.d, self.gamma, axis=norm.axis
        )
        return *gradients, None


class RunningStatistics(NamedTuple):
    """The running averages, as constants."""

    x: Array
    y: Array | None  # None without activation
    mean: Array
    var: Array  # eps included
    gamma: Array | None
    has_residual: bool

    @classmethod
    def forward(
        cls, norm: BatchNorm, x: Array, residual: Array | None, gamma: Array | None, beta: Array | None
    ) -> tuple[Array, Self]:
        """Normalize."""
        mean, var = norm.running_moments()
        y = kernels.batch_norm(
            x,
            mean,
            var,
            gamma,
            beta,
            axis=norm.axis,
            eps=0.0,
            activation=norm.activation,
            residual=residual,
        )
        return y, cls(x, y if norm.activation else None, mean, var, gamma, residual is not None)

    def backward(self, norm: BatchNorm, dy: Array) -> Gradients:
        """Return the gradients."""
        return kernels.batch_norm_backward(
            dy,
            self.x,
            self.mean,
            1 / np.sqrt(self.var),
            self.gamma,
            axis=norm.axis,
            y=self.y,
            activation=norm.activation,
            residual=self.has_residual,
            training=False,
        )


def _at(limit: Limit, batch: int) -> float:
    return limit(batch) if callable(limit) else limit


def _order_of_samples(norm: BatchNorm, samples: int) -> Array:
    """Sample numbers, those of a virtual batch next to each other."""
    size = norm.virtual_batch_size or samples
    if samples % size:
        raise ValueError(f"{norm!r}: x must have a multiple of {size} samples, got {samples}")
    return np.arange(samples).reshape(size, -1).T.ravel()


def _restored(array: Array, order: Array) -> Array:
    """The inverse of ``array[order]``."""
    result: Array = np.empty_like(array)
    result[order] = array
    return result
