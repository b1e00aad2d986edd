"""Whitening as a layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from trimtab import _checks
from trimtab._typing import Array
from trimtab.nn.module import Module, as_float_dtype, as_gradient
from trimtab.nn.norm import require_channels
from trimtab.nn.options import Option, size
from trimtab.whitening import WhitenSaved, whiten_backward, whiten_forward


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

    axis = Option(_checks.whole)
    eps = Option(_checks.number, 0)
    momentum = Option(_checks.number, 0, 1)

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
        channels = size("Whitening: channels", channels)
        num_groups = _checks.whole("Whitening: num_groups", num_groups)
        if num_groups < 1 or channels % num_groups:
            raise ValueError(f"Whitening: num_groups must divide the {channels} channels, got {num_groups}")
        dtype, of_group = as_float_dtype(dtype, "Whitening"), channels // num_groups
        self.num_groups, self.axis, self.eps, self.momentum = num_groups, axis, eps, momentum
        self.running_mean = np.zeros(channels, dtype)
        self.running_matrix = np.tile(np.eye(of_group, dtype=dtype), (num_groups, 1, 1))

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, which has `channels` entries along `axis`."""
        x = require_channels(self, x, self.axis, len(self.running_mean))
        if not self.training:
            mean = np.expand_dims(self.running_mean.astype(np.float64), tuple(range(1, x.ndim)))
            self.saved = x.shape, self.running_matrix.copy()
            return self._map(self.running_matrix, x - np.moveaxis(mean, 0, self.axis), x.dtype)
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
        saved = self.saved
        if isinstance(saved, WhitenSaved):
            return whiten_backward(dy, saved)
        shape, matrix = saved
        dy = as_gradient(self, dy, shape)
        return self._map(matrix, dy, dy.dtype)  # the matrix is symmetric

    def _map(self, matrix: Array, x: Array, dtype: DTypeLike) -> Array:
        """The matrix times x, group by group, in float64."""
        moved = np.moveaxis(x, self.axis, 0)
        size = len(moved) // self.num_groups
        groups = moved.astype(np.float64).reshape(self.num_groups, size, moved.size // len(moved))
        mapped = (matrix.astype(np.float64) @ groups).reshape(moved.shape)
        return np.ascontiguousarray(np.moveaxis(mapped, 0, self.axis), dtype)

    def __repr__(self) -> str:
        return f"Whitening({len(self.running_mean)}, num_groups={self.num_groups}, axis={self.axis})"
