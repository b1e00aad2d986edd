"""Whitening as a layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from trimtab._typing import Array
from trimtab.nn.module import Module, as_float_dtype
from trimtab.nn.norm import require_channels
from trimtab.whitening import whiten_backward, whiten_forward


class Whitening(Module):
    """Decorrelated batch normalization (Huang et al. 2018): channels of mean 0, variance 1, no correlation.

    In training ``y = W (x - mean)`` for each group of channels, with the mean of the batch and W the inverse
    root of its covariance (ZCA); running averages of both are kept for evaluation, where they replace them.
    It has no parameters: a linear layer after it undoes what it should not have done.

    Parameters
    ----------
    channels : int
        Size of the channel axis.
    num_groups : int
        Groups of channels that are whitened by themselves, a divisor of `channels`.
    axis : int
        The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
    eps : float
        Added to the variances, >= 0.
    momentum : float
        Weight of the new batch in the running averages, from 0 to 1.
    dtype : dtype_like
        Of the running averages.

    Notes
    -----
    ``running_mean`` starts at 0 and ``running_matrix`` at the identity.
    """

    buffer_names = ("running_mean", "running_matrix")

    def __init__(
        self,
        channels: int,
        *,
        num_groups: int = 1,
        axis: int = 1,
        eps: float = 1e-5,
        momentum: float = 0.1,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if num_groups < 1 or channels % num_groups:
            raise ValueError(f"Whitening: num_groups must divide the {channels} channels, got {num_groups}")
        dtype, size = as_float_dtype(dtype), channels // num_groups
        self.num_groups, self.axis, self.eps, self.momentum = num_groups, axis, eps, momentum
        self.running_mean = np.zeros(channels, dtype)
        self.running_matrix = np.tile(np.eye(size, dtype=dtype), (num_groups, 1, 1))

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, which has `channels` entries along `axis`."""
        require_channels(self, x, self.axis, len(self.running_mean))
        if not self.training:
            self.saved = None
            mean = np.expand_dims(self.running_mean, tuple(range(1, x.ndim)))
            return self._map(x - np.moveaxis(mean, 0, self.axis), x.dtype)
        y, _, _, self.saved = whiten_forward(
            x,
            num_groups=self.num_groups,
            axis=self.axis,
            eps=self.eps,
            running_mean=self.running_mean,
            running_matrix=self.running_matrix,
            momentum=self.momentum,
        )
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx, through the statistics of the batch where they were used."""
        if self.saved is None:
            return self._map(dy, dy.dtype)  # the matrix is symmetric
        return whiten_backward(dy, self.saved)

    def _map(self, x: Array, dtype: DTypeLike) -> Array:
        """The running matrix times x, group by group."""
        moved = np.moveaxis(x, self.axis, 0)
        groups = moved.reshape(self.num_groups, -1, moved[0].size)
        mapped = (self.running_matrix @ groups).reshape(moved.shape)
        return np.ascontiguousarray(np.moveaxis(mapped, 0, self.axis), dtype)

    def __repr__(self) -> str:
        return f"Whitening({len(self.running_mean)}, num_groups={self.num_groups}, axis={self.axis})"
