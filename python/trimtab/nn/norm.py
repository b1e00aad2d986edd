"""Normalization layers: each forward and backward is one call of a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import trimtab._core as kernels
from trimtab._typing import Array
from trimtab.nn.module import Module, Parameter, as_float_dtype


class Norm(Module):
    """What normalizations share: the learned scale gamma (starts at 1) and shift beta (starts at 0).

    Neither is decayed. With ``affine=False`` both are None, which the kernels read as 1 and 0.
    """

    def __init__(self, shape: tuple[int, ...], affine: bool, dtype: np.dtype[Any]) -> None:
        self.gamma = Parameter(np.ones(shape, dtype), decay=False) if affine else None
        self.beta = Parameter(np.zeros(shape, dtype), decay=False) if affine else None

    @property
    def affine(self) -> tuple[Array | None, Array | None]:
        """The arrays of gamma and beta."""
        if self.gamma is None or self.beta is None:
            return None, None
        return self.gamma.value, self.beta.value

    def keep_gradients(self, dgamma: Array, dbeta: Array) -> None:
        """Write the gradients of gamma and beta."""
        for parameter, gradient in ((self.gamma, dgamma), (self.beta, dbeta)):
            if parameter is not None:
                parameter.grad[...] = gradient


class BatchNorm(Norm):
    """Batch normalization of each channel (Ioffe and Szegedy 2015), for arrays of any rank.

    In training ``y = gamma * (x - mean) / sqrt(var + eps) + beta`` with the mean and variance (1/m) of the
    batch, taken over every axis but `axis`; running averages of both are kept for evaluation, where they
    replace them. ``backward`` after a forward in evaluation treats the statistics as constants.

    Parameters
    ----------
    channels : int
        Size of the channel axis.
    axis : int
        The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
    eps : float
        Added to the variance inside the root, >= 0.
    momentum : float
        Weight of the new batch in the running averages, from 0 to 1.
    affine : bool
        Whether gamma and beta are learned.
    unbiased : bool
        Whether the running variance averages m/(m-1) times the batch variance (the paper's inference rule).
    dtype : dtype_like
        Of the parameters and running averages: the dtype of x or wider.

    Notes
    -----
    In training each channel needs at least two values. ``running_mean`` starts at 0 and ``running_var`` at 1.
    """

    buffer_names = ("running_mean", "running_var")

    def __init__(
        self,
        channels: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        unbiased: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        dtype = as_float_dtype(dtype)
        super().__init__((channels,), affine, dtype)
        self.running_mean = np.zeros(channels, dtype)
        self.running_var = np.ones(channels, dtype)
        self.axis, self.eps, self.momentum, self.unbiased = axis, eps, momentum, unbiased

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, which has `channels` entries along `axis`."""
        if x.shape[self.axis :][:1] != self.running_mean.shape:
            raise ValueError(f"{self!r}: x must have {len(self.running_mean)} channels, got shape {x.shape}")
        if self.training:
            y, mean, rstd = kernels.batch_norm_forward(
                x,
                *self.affine,
                running_mean=self.running_mean,
                running_var=self.running_var,
                momentum=self.momentum,
                unbiased=self.unbiased,
                axis=self.axis,
                eps=self.eps,
            )
        else:
            y = kernels.batch_norm(
                x, self.running_mean, self.running_var, *self.affine, axis=self.axis, eps=self.eps
            )
            mean = self.running_mean.astype(np.float64)
            rstd = 1 / np.sqrt(self.running_var + np.float64(self.eps))
        self.saved = x, mean, rstd, self.training
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx, through the batch statistics where they were used."""
        x, mean, rstd, training = self.saved
        gamma, _ = self.affine
        dx, dgamma, dbeta, _ = kernels.batch_norm_backward(
            dy, x, mean, rstd, gamma, axis=self.axis, training=training
        )
        self.keep_gradients(dgamma, dbeta)
        return dx

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.running_mean)}, axis={self.axis})"


class LayerNorm(Norm):
    """Layer normalization (Ba, Kiros and Hinton 2016): each sample by its own mean and variance.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``, mean and variance (1/n) over the last axes of x, in
    training and evaluation alike.

    Parameters
    ----------
    shape : int or tuple of int
        Sizes of the last axes of x, those that are normalized over; the shape of gamma and beta.
    eps : float
        Added to the variance inside the root, >= 0.
    affine : bool
        Whether gamma and beta are learned.
    dtype : dtype_like
        Of the parameters: the dtype of x or wider.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        *,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        super().__init__(self.shape, affine, as_float_dtype(dtype))
        self.axis, self.eps = tuple(range(-len(self.shape), 0)), eps

    def forward(self, x: Array) -> Array:
        """Return y of the shape and dtype of x, whose last axes have `shape`."""
        if x.shape[-len(self.shape) :] != self.shape:
            raise ValueError(f"{self!r}: x must have last axes {self.shape}, got shape {x.shape}")
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
