"""Layer norm: statistics of each sample over `axis`, parameters of the shape of those axes."""

from typing import NamedTuple

import numpy as np

from reference.axes import along, as_axes, others, wide
from reference.moments import Normalized, NormGradients, affine, standardize, through_statistics


class AddNormalized(NamedTuple):
    y: np.ndarray
    summed: np.ndarray
    mean: np.ndarray
    rstd: np.ndarray


def layer_norm_forward(x, gamma=None, beta=None, *, axis=-1, eps=1e-5):
    """y = xhat * gamma + beta"""
    x = wide(x)
    axes = as_axes(axis, x.ndim)
    xhat, mean, rstd = standardize(x, axes, eps)
    y = affine(xhat, along(gamma, axes, x.ndim), along(beta, axes, x.ndim))
    return Normalized(y, mean.squeeze(axes), rstd.squeeze(axes))


def layer_norm(x, gamma=None, beta=None, *, axis=-1, eps=1e-5):
    """y of layer_norm_forward"""
    return layer_norm_forward(x, gamma, beta, axis=axis, eps=eps).y


def layer_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=-1):
    """dx = rstd * (h - mean(h) - xhat * mean(h * xhat)), h = dy * gamma

    dgamma = sum(dy * xhat), dbeta = sum(dy) over samples
    """
    dy, x = wide(dy), wide(x)
    axes = as_axes(axis, x.ndim)
    samples = others(axes, x.ndim)
    rstd = np.expand_dims(rstd, axes)
    xhat = (x - np.expand_dims(mean, axes)) * rstd
    dx = through_statistics(affine(dy, along(gamma, axes, x.ndim), None), xhat, rstd, axes)
    return NormGradients(dx, (dy * xhat).sum(samples), dy.sum(samples))


def add_layer_norm_forward(x, residual, gamma=None, beta=None, *, axis=-1, eps=1e-5):
    """summed = x + residual, y = layer_norm(summed)"""
    summed = wide(x) + wide(residual)
    y, mean, rstd = layer_norm_forward(summed, gamma, beta, axis=axis, eps=eps)
    return AddNormalized(y, summed, mean, rstd)
