"""Batch norm: statistics of each channel over samples and space, parameters of shape (C,)."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from reference.axes import along, others, wide
from reference.moments import Normalized, affine, standardize


class BatchNormGradients(NamedTuple):
    dx: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray
    dresidual: np.ndarray | None


class Moments(NamedTuple):
    mean: np.ndarray
    var: np.ndarray
    count: int


def activated(z, activation):
    """z, or max(z, 0) for "relu" """
    return {None: lambda z: z, "relu": lambda z: np.maximum(z, 0)}[activation](z)


def batch_norm(x, mean, var, gamma=None, beta=None, *, axis=1, eps=1e-5, activation=None, residual=None):
    """y = activation((x - mean) / sqrt(var + eps) * gamma + beta + residual)"""
    z = batch_norm_apply(x, mean, 1 / np.sqrt(wide(var) + eps), gamma, beta, axis=axis)
    return activated(z if residual is None else z + wide(residual), activation)


def batch_norm_apply(x, mean, rstd, gamma=None, beta=None, *, axis=1):
    """y = (x - mean) * rstd * gamma + beta"""
    x = wide(x)
    xhat = (x - along(mean, axis, x.ndim)) * along(rstd, axis, x.ndim)
    return affine(xhat, along(gamma, axis, x.ndim), along(beta, axis, x.ndim))


def update_running(running, batch, momentum):
    """running = (1 - momentum) * running + momentum * batch, in place and in its own dtype."""
    running[...] = (1 - momentum) * wide(running) + momentum * batch


def blocks_of(x, virtual_batch_size, axis):
    """Slices of the first axis, one for each virtual batch. The last may be shorter, but has two values."""
    starts = list(range(0, len(x), virtual_batch_size or len(x)))
    if len(starts) > 1 and x[starts[-1] :].size == x.shape[axis]:
        starts.pop()
    return [slice(*ends) for ends in pairwise([*starts, len(x)])]


def batch_norm_forward(
    x,
    gamma=None,
    beta=None,
    *,
    running_mean=None,
    running_var=None,
    momentum=0.1,
    unbiased=True,
    axis=1,
    eps=1e-5,
    activation=None,
    residual=None,
    virtual_batch_size=None,
):
    """y = activation(xhat * gamma + beta + residual), with statistics of each virtual batch

    The running statistics average those of the whole batch.
    """
    x = wide(x)
    over = others(axis, x.ndim)
    if running_mean is not None:
        mean, var, count = batch_moments(x, axis=axis)
        update_running(running_mean, mean, momentum)
        update_running(running_var, var * count / (count - 1) if unbiased else var, momentum)
    blocks = [standardize(x[block], over, eps) for block in blocks_of(x, virtual_batch_size, axis)]
    xhat, means, rstds = zip(*blocks, strict=True)
    y = affine(np.concatenate(xhat), along(gamma, axis, x.ndim), along(beta, axis, x.ndim))
    z = y + (0 if residual is None else wide(residual))
    mean, rstd = (np.array([part.squeeze(over) for part in parts]) for parts in (means, rstds))
    if virtual_batch_size is None:
        mean, rstd = mean[0], rstd[0]
    return Normalized(activated(z, activation), mean, rstd)


def batch_norm_backward(
    dy,
    x,
    mean,
    rstd,
    gamma=None,
    *,
    axis=1,
    y=None,
    activation=None,
    residual=False,
    training=True,
    virtual_batch_size=None,
):
    """dx = gamma * rstd * (g - mean(g) - xhat * mean(g * xhat)), or gamma * rstd * g of constant statistics

    g = dy, or 0 where ReLU returned 0; dgamma = sum(g * xhat), dbeta = sum(g), dresidual = g
    """
    g, x = wide(dy), wide(x)
    if activation == "relu":
        g = np.where(wide(y) > 0, g, 0)
    dx = np.empty_like(x)
    dgamma, dbeta = np.zeros((2, x.shape[axis]))
    blocks = blocks_of(x, virtual_batch_size, axis)
    for block, mu, s in zip(blocks, np.atleast_2d(mean), np.atleast_2d(rstd), strict=True):
        sums = batch_norm_backward_sums(g[block], x[block], mu, s, axis=axis)
        dbeta += sums[0]
        dgamma += sums[1]
        count = x[block].size // x.shape[axis] if training else np.inf
        dx[block] = batch_norm_backward_apply(g[block], x[block], mu, s, gamma, *sums, count, axis=axis)
    return BatchNormGradients(dx, dgamma, dbeta, g if residual else None)


def batch_moments(x, *, axis=1):
    """mean = sum(x) / m, var = sum((x - mean)^2) / m and m of each channel; all 0 for m = 0"""
    x = wide(x)
    count = x.size // x.shape[axis]
    mean = x.sum(others(axis, x.ndim)) / max(count, 1)
    mean = mean + (x - along(mean, axis, x.ndim)).sum(others(axis, x.ndim)) / max(count, 1)
    var = np.square(x - along(mean, axis, x.ndim)).sum(others(axis, x.ndim)) / max(count, 1)
    return Moments(mean, var, count)


def combine_moments(means, vars, counts):
    """mean = sum n_i mean_i / n, var = sum n_i (var_i + (mean_i - mean)^2) / n over parts i, axis 0"""
    means, vars, counts = wide(means), wide(vars), np.asarray(counts)
    weights = counts.reshape(-1, *[1] * (means.ndim - 1)) / counts.sum()
    mean = (weights * means).sum(0)
    var = (weights * (vars + np.square(means - mean))).sum(0)
    return Moments(mean, var, int(counts.sum()))


def batch_norm_backward_sums(dy, x, mean, rstd, *, axis=1):
    """sum(dy) and sum(dy * xhat) of each channel"""
    dy = wide(dy)
    xhat = batch_norm_apply(x, mean, rstd, axis=axis)
    return dy.sum(others(axis, dy.ndim)), (dy * xhat).sum(others(axis, dy.ndim))


def batch_norm_backward_apply(dy, x, mean, rstd, gamma, sum_dy, sum_dy_xhat, count, *, axis=1):
    """dx = gamma * rstd * (dy - sum_dy / count - xhat * sum_dy_xhat / count)"""
    dy = wide(dy)
    xhat = batch_norm_apply(x, mean, rstd, axis=axis)
    centered = dy - along(sum_dy, axis, dy.ndim) / count - xhat * along(sum_dy_xhat, axis, dy.ndim) / count
    return affine(centered * along(rstd, axis, dy.ndim), along(gamma, axis, dy.ndim), None)


def fold_batch_norm(weight, bias, mean, var, gamma=None, beta=None, *, eps=1e-5, axis=0):
    """W' = W * scale, b' = (b - mean) * scale + beta with scale = gamma / sqrt(var + eps)"""
    weight = wide(weight)
    scale = affine(1 / np.sqrt(wide(var) + eps), gamma, None)
    bias = affine((0 if bias is None else wide(bias)) - wide(mean), scale, beta)
    return weight * along(scale, axis, weight.ndim), bias
