"""Batch renormalization: Ioffe 2017."""

from typing import NamedTuple

import numpy as np

from reference.axes import along, wide
from reference.batch_norm import batch_moments, batch_norm_apply, batch_norm_backward, update_running
from reference.moments import NormGradients, affine


class Renormalized(NamedTuple):
    y: np.ndarray
    mean: np.ndarray
    rstd: np.ndarray
    r: np.ndarray
    d: np.ndarray


def batch_renorm_forward(
    x,
    gamma=None,
    beta=None,
    *,
    running_mean,
    running_std,
    r_max=np.inf,
    d_max=np.inf,
    momentum=0.01,
    axis=1,
    eps=1e-5,
):
    """y = (xhat * r + d) * gamma + beta, with r and d from the running statistics before their update

    r = clip(std / running_std, 1 / r_max, r_max)
    d = clip((mean - running_mean) / running_std, -d_max, d_max)
    """
    x = wide(x)
    mean, var, _ = batch_moments(x, axis=axis)
    std = np.sqrt(var + eps)
    r = np.clip(std / wide(running_std), 1 / r_max, r_max)
    d = np.clip((mean - wide(running_mean)) / wide(running_std), -d_max, d_max)
    corrected = batch_norm_apply(x, mean, 1 / std, r, d, axis=axis)
    update_running(running_mean, mean, momentum)
    update_running(running_std, std, momentum)
    y = affine(corrected, along(gamma, axis, x.ndim), along(beta, axis, x.ndim))
    return Renormalized(y, mean, 1 / std, r, d)


def batch_renorm_backward(dy, x, mean, rstd, r, d, gamma=None, *, axis=1):
    """dx = r * dx of batch norm, dgamma = sum(dy * (xhat * r + d)), dbeta = sum(dy); r and d are constants"""
    dx, sum_dy_xhat, sum_dy, _ = batch_norm_backward(dy, x, mean, rstd, gamma, axis=axis)
    r, d = wide(r), wide(d)
    return NormGradients(dx * along(r, axis, dx.ndim), sum_dy_xhat * r + sum_dy * d, sum_dy)
