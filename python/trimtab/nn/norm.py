"""`LayerNorm`, `RMSNorm`, `GroupNorm`, `InstanceNorm`: each forward and backward is one call of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array
from trimtab.nn.arguments import require_channels, require_last_axes
from trimtab.nn.dtypes import as_float_dtype
from trimtab.nn.module import Module
from trimtab.nn.options import Option, require_addressable, size, sizes
from trimtab.nn.parameter import Parameter


class Norm(Module):
    """Base of the normalizations: the learned scale gamma, initially 1, and shift beta, initially 0.

    Neither is decayed. With ``affine=False`` both are None, which the kernels read as 1 and 0.
    """

    eps = Option(_checks.number, 0)

    def __init__(self, shape: tuple[int, ...], affine: bool, dtype: DTypeLike) -> None:
        name = type(self).__name__
        affine, dtype = _checks.flag(f"{name}: affine", affine), as_float_dtype(dtype, name)
        self.gamma = Parameter(np.ones(shape, dtype), decay=False) if affine else None
        self.beta = Parameter(np.zeros(shape, dtype), decay=False) if affine else None

    @property
    def affine(self) -> tuple[Array | None, Array | None]:
        """The arrays of gamma and beta, or None."""
        gamma, beta = self.gamma, self.beta
        return None if gamma is None else gamma.value, None if beta is None else beta.value

    def keep_gradients(self, dgamma: Array, dbeta: Array) -> None:
        """Write the gradients of gamma and beta."""
        if self.gamma is not None:
            self.gamma.grad[...] = dgamma
        if self.beta is not None:
            self.beta.grad[...] = dbeta


def _normalized_shape(module: Module, shape: Any) -> tuple[int, ...]:
    found = sizes(f"{type(module).__name__}: shape", shape)
    if not found:
        raise ValueError(
            f"{type(module).__name__}: shape must have at least one axis, got {_checks.shown(shape)}"
        )
    require_addressable(type(module).__name__, found)
    return found


class LayerNorm(Norm):
    """Layer normalization (Ba, Kiros and Hinton 2016): each sample by its own mean and variance.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, mean and variance (1/n) over the last axes of x, in
    training and evaluation alike.

    Parameters
    ----------
    shape : int or sequence of int
        Sizes of the last axes of x, over which it normalizes; the shape of gamma and beta.
    eps : float
        Added to the variance inside the root, >= 0.
    affine : bool
        Whether gamma and beta are learned.
    dtype : dtype_like
        Of the parameters; x may have another.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.shape = _normalized_shape(self, shape)
        super().__init__(self.shape, affine, dtype)
        self.axis, self.eps = tuple(range(-len(self.shape), 0)), eps

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, whose last axes have `shape`."""
        x = require_last_axes(self, x, self.shape)
        y, mean, rstd = kernels.layer_norm_forward(x, *self.affine, axis=self.axis, eps=self.eps)
        self.saved = x, mean, rstd
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx, through the statistics."""
        x, mean, rstd = self.saved
        gamma, _ = self.affine
        dx, dgamma, dbeta = kernels.layer_norm_backward(dy, x, mean, rstd, gamma, axis=self.axis)
        self.keep_gradients(dgamma, dbeta)
        return dx

    def __repr__(self) -> str:
        return f"LayerNorm({self.shape})"


class RMSNorm(Module):
    """Root mean square normalization (Zhang and Sennrich 2019): each sample by its root mean square.

    ``y = gamma * x / sqrt(mean(x^2) + eps)``, the mean over the last axes of x, in training and evaluation
    alike. Gamma is initially 1 and not decayed; there is no shift.

    Parameters
    ----------
    shape : int or sequence of int
        Sizes of the last axes of x, over which it normalizes; the shape of gamma.
    eps : float
        Added to the mean square inside the root, >= 0.
    affine : bool
        Whether gamma is learned.
    dtype : dtype_like
        Of gamma; x may have another.
    """

    eps = Option(_checks.number, 0)

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        eps: float = 1e-6,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.shape = _normalized_shape(self, shape)
        affine, dtype = _checks.flag("RMSNorm: affine", affine), as_float_dtype(dtype, "RMSNorm")
        self.gamma = Parameter(np.ones(self.shape, dtype), decay=False) if affine else None
        self.axis, self.eps = tuple(range(-len(self.shape), 0)), eps

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, whose last axes have `shape`."""
        x = require_last_axes(self, x, self.shape)
        gamma = None if self.gamma is None else self.gamma.value
        y, rstd = kernels.rms_norm_forward(x, gamma, axis=self.axis, eps=self.eps)
        self.saved = x, rstd, gamma
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx, through the mean square."""
        x, rstd, gamma = self.saved
        dx, dgamma = kernels.rms_norm_backward(dy, x, rstd, gamma, axis=self.axis)
        if self.gamma is not None:
            self.gamma.grad[...] = dgamma
        return dx

    def __repr__(self) -> str:
        return f"RMSNorm({self.shape})"


class GroupNorm(Norm):
    """Group normalization (Wu and He 2018): each group of channels of each sample by its own statistics.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, mean and variance (1/m) over all values of a
    sample in ``channels / num_groups`` consecutive channels, in training and evaluation alike.

    Parameters
    ----------
    num_groups : int
        Number of groups, a divisor of `channels`. With one group per channel this is instance normalization,
        with a single group layer normalization with parameters for each channel.
    channels : int
        Size of the channel axis; gamma and beta have one value for each.
    axis : int
        The channel axis: 1 for (N, C, H, W), -1 for channels-last.
    eps : float
        Added to the variance inside the root, >= 0.
    affine : bool
        Whether gamma and beta are learned.
    dtype : dtype_like
        Of the parameters; x may have another.
    """

    axis = Option(_checks.whole)

    def __init__(
        self,
        num_groups: int,
        channels: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = type(self).__name__
        channels = size(f"{name}: channels", channels)
        num_groups = _checks.divisor(f"{name}: num_groups", num_groups, channels, "channels")
        super().__init__((channels,), affine, dtype)
        self.num_groups, self.channels, self.axis, self.eps = num_groups, channels, axis, eps

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, which has `channels` entries along `axis`."""
        x = require_channels(self, x, self.axis, self.channels)
        y, mean, rstd = kernels.group_norm_forward(
            x, self.num_groups, *self.affine, axis=self.axis, eps=self.eps
        )
        self.saved = x, mean, rstd
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx, through the statistics."""
        x, mean, rstd = self.saved
        gamma, _ = self.affine
        dx, dgamma, dbeta = kernels.group_norm_backward(
            dy, x, mean, rstd, self.num_groups, gamma, axis=self.axis
        )
        self.keep_gradients(dgamma, dbeta)
        return dx

    def __repr__(self) -> str:
        return f"GroupNorm({self.num_groups}, {self.channels}, axis={self.axis})"


class InstanceNorm(GroupNorm):
    """Instance normalization (Ulyanov, Vedaldi and Lempitsky 2016): each channel of each sample by itself.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, mean and variance (1/m) over all values of a
    sample in a channel, in training and evaluation alike.

    Parameters
    ----------
    channels : int
        Size of the channel axis; gamma and beta have one value for each.
    axis, eps, affine, dtype
        As for `GroupNorm`.
    """

    def __init__(
        self,
        channels: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(channels, channels, axis=axis, eps=eps, affine=affine, dtype=dtype)

    def __repr__(self) -> str:
        return f"InstanceNorm({self.channels}, axis={self.axis})"
