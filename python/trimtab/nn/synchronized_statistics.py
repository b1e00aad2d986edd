"""The statistics of a batch whose parts are on several ranks, or are computed one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.distributed.part import Part

if TYPE_CHECKING:
    from trimtab.nn.batch_norm import BatchNorm
    from trimtab.nn.batch_statistics import Gradients


class SynchronizedStatistics(NamedTuple):
    """Mean and variance of all parts of the batch together.

    The forward pass gathers count, mean and variance of the parts, the backward pass two sums. Parts may have
    different numbers of samples, or none. The parts are combined in their order, so that the bits do not
    depend on where they are computed.
    """

    part: Part
    x: Array
    y: Array | None  # None without activation
    mean: Array
    rstd: Array
    values: int  # per channel
    gamma: Array | None
    has_residual: bool

    @classmethod
    def forward(
        cls,
        norm: BatchNorm,
        part: Part,
        x: Array,
        residual: Array | None,
        gamma: Array | None,
        beta: Array | None,
    ) -> tuple[Array, Self]:
        """Normalize, and update the running averages."""
        own = kernels.batch_moments(x, axis=norm.axis)
        parts = part.gather(np.stack([own.mean, own.var, np.full_like(own.mean, own.count)]))
        mean, var, count = kernels.combine_moments(parts[:, 0], parts[:, 1], parts[:, 2, 0])
        if count < 2:
            raise ValueError(
                f"{norm!r}: x must have at least two values per channel on all ranks, got {count}"
            )
        if part.updates:
            _update(norm, mean, var * (count / (count - 1)) if norm.unbiased else var)
        spread = var + norm.eps
        y = kernels.batch_norm(
            x,
            mean,
            spread,
            gamma,
            beta,
            axis=norm.axis,
            eps=0.0,
            activation=norm.activation,
            residual=residual,
        )
        with np.errstate(divide="ignore"):  # of a constant channel with eps = 0
            rstd = 1 / np.sqrt(spread)
        kept = cls(part, x, y if norm.activation else None, mean, rstd, count, gamma, residual is not None)
        return y, kept

    def backward(self, norm: BatchNorm, dy: Array) -> Gradients:
        """Return the gradients: dx through mean and variance, those of the parameters by this part alone."""
        if self.y is not None:
            dy = kernels.relu_backward(dy, self.y)
        sums = np.stack(kernels.batch_norm_backward_sums(dy, self.x, self.mean, self.rstd, axis=norm.axis))
        sum_dy, sum_dy_xhat = _total(self.part.gather(sums))
        dx = kernels.batch_norm_backward_apply(
            dy, self.x, self.mean, self.rstd, self.gamma, sum_dy, sum_dy_xhat, self.values, axis=norm.axis
        )
        return dx, sums[1], sums[0], dy if self.has_residual else None


def _update(norm: BatchNorm, mean: Array, var: Array) -> None:
    """Let the running averages take in a batch, in float64 and rounded once."""
    share = norm.weight_of_batch
    for running, value in ((norm.running_mean, mean), (norm.running_var, var)):
        running[...] = (1 - share) * running.astype(np.float64) + share * value


def _total(parts: Array) -> Array:
    """Return the sum over the first axis, in its order."""
    total: Array = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
