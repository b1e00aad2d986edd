"""Group and instance norm: statistics of each sample over a group of channels, parameters of shape (C,)."""

import numpy as np

from reference.axes import along, others, wide
from reference.moments import Normalized, NormGradients, affine, standardize, through_statistics


def split_groups(x, num_groups, axis):
    """(N, ..., C, ...) -> (N, G, C / G, values), with one statistic over the axes 2 and 3"""
    channels_first = np.moveaxis(x, axis, 1)
    return channels_first.reshape(len(x), num_groups, x.shape[axis] // num_groups, -1)


def join_groups(grouped, x, axis):
    """The inverse of split_groups, for the shape of x."""
    return np.moveaxis(grouped.reshape(np.moveaxis(x, axis, 1).shape), 1, axis)


def group_norm_forward(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5):
    """y = xhat * gamma + beta with mean and rstd (N, G)"""
    x = wide(x)
    xhat, mean, rstd = standardize(split_groups(x, num_groups, axis), (2, 3), eps)
    y = affine(join_groups(xhat, x, axis), along(gamma, axis, x.ndim), along(beta, axis, x.ndim))
    return Normalized(y, mean.squeeze((2, 3)), rstd.squeeze((2, 3)))


def group_norm(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5):
    """y of group_norm_forward"""
    return group_norm_forward(x, num_groups, gamma, beta, axis=axis, eps=eps).y


def group_norm_backward(dy, x, mean, rstd, num_groups, gamma=None, *, axis=1):
    """dx = rstd * (h - mean(h) - xhat * mean(h * xhat)), h = dy * gamma, means over the group

    dgamma = sum(dy * xhat), dbeta = sum(dy) over samples and space
    """
    dy, x = wide(dy), wide(x)
    rstd = np.expand_dims(rstd, (2, 3))
    xhat = (split_groups(x, num_groups, axis) - np.expand_dims(mean, (2, 3))) * rstd
    h = split_groups(affine(dy, along(gamma, axis, x.ndim), None), num_groups, axis)
    dx = join_groups(through_statistics(h, xhat, rstd, (2, 3)), x, axis)
    sample_and_space = others(axis, x.ndim)
    return NormGradients(
        dx, (dy * join_groups(xhat, x, axis)).sum(sample_and_space), dy.sum(sample_and_space)
    )


def instance_norm_forward(x, gamma=None, beta=None, *, axis=1, eps=1e-5):
    """Group norm with one group for each channel."""
    return group_norm_forward(x, np.shape(x)[axis], gamma, beta, axis=axis, eps=eps)


def instance_norm(x, gamma=None, beta=None, *, axis=1, eps=1e-5):
    """y of instance_norm_forward"""
    return instance_norm_forward(x, gamma, beta, axis=axis, eps=eps).y


def instance_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=1):
    """Group norm's gradients with one group for each channel."""
    return group_norm_backward(dy, x, mean, rstd, np.shape(x)[axis], gamma, axis=axis)
