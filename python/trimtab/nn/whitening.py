"""`Whitening`: decorrelated batch normalization as a layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from trimtab import _checks
from trimtab._typing import Array
from trimtab.nn.arguments import as_gradient, require_channels
from trimtab.nn.dtypes import as_float_dtype
from trimtab.nn.module import Module
from trimtab.nn.options import Option, require_addressable, size
from trimtab.whitening import WhitenSaved, whiten_backward, whiten_forward


class Whitening(Module):
    """Decorrelated batch normalization (Huang et al. 2018): channels of mean 0, variance 1, no correlation.

    ``y = W (x - mean)`` for each group of channels. In training, mean is that of the batch and W the inverse
    square root of its covariance (ZCA). Evaluation uses their running averages. There are no parameters: a
    linear layer after it can undo the whitening.

    Parameters
    ----------
    channels : int
        Size of the channel axis.
    num_groups : int
        Number of groups of channels, each whitened by itself; a divisor of `channels`.
    axis : int
        The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
    eps : float
        Added to the variances, >= 0.
    momentum : float
        Weight of the new batch in the running averages, from 0 to 1.
    dtype : dtype_like
        Of the running averages; x may have another.

    Notes
    -----
    ``running_mean`` starts at 0 and ``running_matrix`` at the identity.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> x = np.random.default_rng(0).standard_normal((100, 2)) @ np.array([[2.0, 1.0], [0.0, 1.0]])
    >>> y = nn.Whitening(2, dtype=np.float64)(x)
    >>> bool(np.abs(np.cov(y.T, bias=True) - np.eye(2)).max() < 1e-4)
    True
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
        num_groups = _checks.divisor("Whitening: num_groups", num_groups, channels, "channels")
        dtype, of_group = as_float_dtype(dtype, "Whitening"), channels // num_groups
        require_addressable("Whitening", (num_groups, of_group, of_group))
        self.num_groups, self.axis, self.eps, self.momentum = num_groups, axis, eps, momentum
        self.running_mean = np.zeros(channels, dtype)
        self.running_matrix = np.tile(np.eye(of_group, dtype=dtype), (num_groups, 1, 1))

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, which has `channels` entries along `axis`."""
        x = require_channels(self, x, self.axis, len(self.running_mean))
        if not self.training:
            mean = np.expand_dims(self.running_mean.astype(np.float64), tuple(range(1, x.ndim)))
            self.saved = x.shape, self.running_matrix.copy()
            return self._multiply(self.running_matrix, x - np.moveaxis(mean, 0, self.axis), x.dtype)
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
        """Return dx, through the statistics of the batch if forward used them."""
        saved = self.saved
        if isinstance(saved, WhitenSaved):
            return whiten_backward(dy, saved)
        shape, matrix = saved
        dy = as_gradient(self, dy, shape)
        return self._multiply(matrix, dy, dy.dtype)  # the matrix is symmetric

    def _multiply(self, matrix: Array, x: Array, dtype: DTypeLike) -> Array:
        """The product of the matrix and x for each group, in float64."""
        moved = np.moveaxis(x, self.axis, 0)
        size = len(moved) // self.num_groups
        groups = moved.astype(np.float64).reshape(self.num_groups, size, moved.size // len(moved))
        mapped = (matrix.astype(np.float64) @ groups).reshape(moved.shape)
        return np.ascontiguousarray(np.moveaxis(mapped, 0, self.axis), dtype)

    def __repr__(self) -> str:
        return f"Whitening({len(self.running_mean)}, num_groups={self.num_groups}, axis={self.axis})"
