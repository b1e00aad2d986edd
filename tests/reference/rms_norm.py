"""RMS norm: layer norm without a mean and without beta."""

from typing import NamedTuple

import numpy as np

from reference.axes import along, as_axes, others, wide
from reference.moments import affine, standardize


class RMSNormalized(NamedTuple):
    y: np.ndarray
    rstd: np.ndarray


class AddRMSNormalized(NamedTuple):
    y: np.ndarray
    summed: np.ndarray
    rstd: np.ndarray


class RMSNormGradients(NamedTuple):
    dx: np.ndarray
    dgamma: np.ndarray


def rms_norm_forward(x, gamma=None, *, axis=-1, eps=1e-6):
    """y = x * rstd * gamma with rstd = 1 / sqrt(mean(x^2) + eps)"""
    x = wide(x)
    axes = as_axes(axis, x.ndim)
    xhat, _, rstd = standardize(x, axes, eps, centered=False)
    return RMSNormalized(affine(xhat, along(gamma, axes, x.ndim), None), rstd.squeeze(axes))


def rms_norm(x, gamma=None, *, axis=-1, eps=1e-6):
    """y of rms_norm_forward"""
    return rms_norm_forward(x, gamma, axis=axis, eps=eps).y


def rms_norm_backward(dy, x, rstd, gamma=None, *, axis=-1):
    """dx = rstd * (h - xhat * mean(h * xhat)) with h = dy * gamma, xhat = x * rstd

    dgamma = sum(dy * xhat) over samples
    """
    dy, x = wide(dy), wide(x)
    axes = as_axes(axis, x.ndim)
    samples = others(axes, x.ndim)
    rstd = np.expand_dims(rstd, axes)
    xhat = x * rstd
    h = affine(dy, along(gamma, axes, x.ndim), None)
    dx = rstd * (h - xhat * (h * xhat).mean(axes, keepdims=True))
    return RMSNormGradients(dx, (dy * xhat).sum(samples))


def add_rms_norm_forward(x, residual, gamma=None, *, axis=-1, eps=1e-6):
    """summed = x + residual, y = rms_norm(summed)"""
    summed = wide(x) + wide(residual)
    y, rstd = rms_norm_forward(summed, gamma, axis=axis, eps=eps)
    return AddRMSNormalized(y, summed, rstd)
