"""`LayerNorm`, `RMSNorm`, `GroupNorm`, `InstanceNorm`: each forward and backward is one call of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array
from trimtab.nn.arguments import require_axes, require_channels
from trimtab.nn.dtypes import as_float_dtype
from trimtab.nn.module import Module
from trimtab.nn.options import Fixed, Option, require_addressable, size, sizes
from trimtab.nn.parameter import Parameter


class Norm(Module):
    """Base of the normalizations: the learned scale gamma, initially 1, and shift beta, initially 0.

    Neither is decayed. One that is not learned is None, which the kernels read as 1 and 0.
    """

    eps = Option(_checks.number, 0)

    def __init__(
        self, shape: tuple[int, ...], affine: bool, scale: bool, bias: bool, dtype: DTypeLike
    ) -> None:
        name = type(self).__name__
        affine, dtype = _checks.flag(f"{name}: affine", affine), as_float_dtype(dtype, name)
        scaled = _checks.flag(f"{name}: scale", scale) and affine
        shifted = _checks.flag(f"{name}: bias", bias) and affine
        self.gamma = Parameter(np.ones(shape, dtype), decay=False) if scaled else None
        self.beta = Parameter(np.zeros(shape, dtype), decay=False) if shifted else None

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


def _normalized_axes(module: Module, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of the sizes in `shape`, by default the last ones."""
    name = f"{type(module).__name__}: axis"
    if axis is None:
        return tuple(range(-len(shape), 0))
    axes = sizes(name, axis, _checks.whole)
    if len(set(axes)) != len(shape) or len(axes) != len(shape):
        raise ValueError(
            f"{name} must be {len(shape)} different axes as shape has, got {_checks.shown(axis)}"
        )
    return axes


def _axis_text(axis: tuple[int, ...]) -> str:
    """Return the axes as an argument, empty for the last ones."""
    return "" if axis == tuple(range(-len(axis), 0)) else f", axis={axis}"


class LayerNorm(Norm):
    """Layer normalization (Ba, Kiros and Hinton 2016): each sample by its own mean and variance.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, mean and variance (1/n) over `axis`, in training and
    evaluation alike.

    Parameters
    ----------
    shape : int or sequence of int
        Sizes of the axes of x over which it normalizes; the shape of gamma and beta.
    axis : int or sequence of int, optional
        The axes over which it normalizes, in the order of x: one for each size of `shape`. By default the
        last ones.
    eps : float
        Added to the variance inside the root, >= 0.
    affine : bool
        Whether gamma and beta are learned.
    scale, bias : bool
        Whether each of them is, gamma and beta; with ``affine=False`` neither is.
    dtype : dtype_like
        Of the parameters; x may have another.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.LayerNorm(2, eps=0.0)(np.array([[1.0, 3.0], [10.0, 30.0]]))
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    shape = Fixed(sizes)
    axis = Fixed(sizes, _checks.whole)

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        axis: int | Sequence[int] | None = None,
        eps: float = 1e-5,
        affine: bool = True,
        scale: bool = True,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.shape = _normalized_shape(self, shape)
        super().__init__(self.shape, affine, scale, bias, dtype)
        self.axis, self.eps = _normalized_axes(self, axis, self.shape), eps

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, whose normalized axes have `shape`."""
        x = require_axes(self, x, self.axis, self.shape)
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
        return f"LayerNorm({self.shape}{_axis_text(self.axis)})"


class RMSNorm(Module):
    """Root mean square normalization (Zhang and Sennrich 2019): each sample by its root mean square.

    ``y = gamma * x / sqrt(mean(x^2) + eps)``, the mean over `axis`, in training and evaluation alike. Gamma
    is initially 1 and not decayed; there is no shift.

    Parameters
    ----------
    shape : int or sequence of int
        Sizes of the axes of x over which it normalizes; the shape of gamma.
    axis : int or sequence of int, optional
        The axes over which it normalizes, in the order of x: one for each size of `shape`. By default the
        last ones.
    eps : float
        Added to the mean square inside the root, >= 0.
    affine : bool
        Whether gamma is learned.
    dtype : dtype_like
        Of gamma; x may have another.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.RMSNorm(2, eps=0.0)(np.array([[1.0, 7.0]]))
    array([[0.2, 1.4]])
    """

    shape = Fixed(sizes)
    axis = Fixed(sizes, _checks.whole)
    eps = Option(_checks.number, 0)

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        axis: int | Sequence[int] | None = None,
        eps: float = 1e-6,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.shape = _normalized_shape(self, shape)
        affine, dtype = _checks.flag("RMSNorm: affine", affine), as_float_dtype(dtype, "RMSNorm")
        self.gamma = Parameter(np.ones(self.shape, dtype), decay=False) if affine else None
        self.axis, self.eps = _normalized_axes(self, axis, self.shape), eps

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, whose normalized axes have `shape`."""
        x = require_axes(self, x, self.axis, self.shape)
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
        return f"RMSNorm({self.shape}{_axis_text(self.axis)})"


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
    scale, bias : bool
        Whether each of them is, gamma and beta; with ``affine=False`` neither is.
    dtype : dtype_like
        Of the parameters; x may have another.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.GroupNorm(2, 4, eps=0.0)(np.array([[1.0, 3.0, 10.0, 30.0]]))
    array([[-1.,  1., -1.,  1.]])
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
        scale: bool = True,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        name = type(self).__name__
        channels = size(f"{name}: channels", channels)
        num_groups = _checks.divisor(f"{name}: num_groups", num_groups, channels, "channels")
        super().__init__((channels,), affine, scale, bias, dtype)
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
    sample in a channel, in training and evaluation alike unless running statistics are tracked.

    Parameters
    ----------
    channels : int
        Size of the channel axis; gamma and beta have one value for each.
    axis, eps, affine, scale, bias, dtype
        As for `GroupNorm`.
    track_running_stats : bool
        Whether training averages the statistics of each channel, and evaluation uses the averages as
        constants, as in PyTorch: those of a batch are the mean over its samples of ``mean`` and of
        ``var * m / (m - 1)``. Training then needs two values in each channel of a sample.
    momentum : float
        Weight of the new batch in the running averages, from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> nn.InstanceNorm(1, eps=0.0)(np.array([[[1.0, 3.0]], [[10.0, 30.0]]])).tolist()
    [[[-1.0, 1.0]], [[-1.0, 1.0]]]
    """

    momentum = Option(_checks.number, 0, 1)
    track_running_stats = Fixed(_checks.flag)

    def __init__(
        self,
        channels: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        affine: bool = True,
        scale: bool = True,
        bias: bool = True,
        track_running_stats: bool = False,
        momentum: float = 0.1,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            channels, channels, axis=axis, eps=eps, affine=affine, scale=scale, bias=bias, dtype=dtype
        )
        self.track_running_stats, self.momentum = track_running_stats, momentum
        if self.track_running_stats:
            self.running_mean = np.zeros(channels, as_float_dtype(dtype))
            self.running_var = np.ones(channels, as_float_dtype(dtype))
            self.buffer_names = ("running_mean", "running_var")

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, which has `channels` entries along `axis`."""
        if not self.track_running_stats:
            return super().forward(x)
        x = require_channels(self, x, self.axis, self.channels)
        if not self.training:
            mean, var = self.running_mean.astype(np.float64), self.running_var.astype(np.float64)
            self.saved = x, mean, 1 / np.sqrt(var + self.eps), True
            return kernels.batch_norm(x, mean, var, *self.affine, axis=self.axis, eps=self.eps)
        values = x.size // max(len(x) * self.channels, 1)
        if values < 2:
            raise ValueError(
                f"{self!r}: x must have two values in each channel of a sample, got shape {x.shape}"
            )
        y, mean, rstd = kernels.instance_norm_forward(x, *self.affine, axis=self.axis, eps=self.eps)
        var = (1 / np.square(rstd) - self.eps).clip(0) * (values / (values - 1))
        for running, of_batch in ((self.running_mean, mean), (self.running_var, var)):
            running += self.momentum * (of_batch.mean(axis=0) - running)
        self.saved = x, mean, rstd, False
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx, through the statistics unless forward used the averages."""
        if not self.track_running_stats:
            return super().backward(dy)
        x, mean, rstd, constant = self.saved
        gamma, _ = self.affine
        if constant:
            dx, dgamma, dbeta, _ = kernels.batch_norm_backward(
                dy, x, mean, rstd, gamma, axis=self.axis, training=False
            )
        else:
            dx, dgamma, dbeta = kernels.instance_norm_backward(dy, x, mean, rstd, gamma, axis=self.axis)
        self.keep_gradients(dgamma, dbeta)
        return dx

    def __repr__(self) -> str:
        return f"InstanceNorm({self.channels}, axis={self.axis})"
