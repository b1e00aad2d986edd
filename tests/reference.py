"""Every operation of the library in float64 NumPy: the specification that tests and benchmarks compare with.

The formulas come first and speed last. Names, arguments and results are those of the library; inputs may
have any float dtype, results are float64. Dropout takes its mask as an argument: the formula begins where
chance ends.

Notation: ``xhat = (x - mean) * rstd``, ``rstd = 1 / sqrt(var + eps)``, ``dy`` the gradient of the loss with
respect to ``y``. Sizes: C channels, G groups, N samples, m values for each statistic.
"""

import fractions
import math
import statistics
from itertools import pairwise
from typing import NamedTuple

import numpy as np

f64 = np.float64
inf = np.inf


class Normalized(NamedTuple):
    y: np.ndarray
    mean: np.ndarray
    rstd: np.ndarray


class RMSNormalized(NamedTuple):
    y: np.ndarray
    rstd: np.ndarray


class Renormalized(NamedTuple):
    y: np.ndarray
    mean: np.ndarray
    rstd: np.ndarray
    r: np.ndarray
    d: np.ndarray


class AddNormalized(NamedTuple):
    y: np.ndarray
    summed: np.ndarray
    mean: np.ndarray
    rstd: np.ndarray


class AddRMSNormalized(NamedTuple):
    y: np.ndarray
    summed: np.ndarray
    rstd: np.ndarray


class Whitened(NamedTuple):
    y: np.ndarray
    mean: np.ndarray
    matrix: np.ndarray
    saved: tuple


class Moments(NamedTuple):
    mean: np.ndarray
    var: np.ndarray
    count: int


class NormGradients(NamedTuple):
    dx: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray


class RMSNormGradients(NamedTuple):
    dx: np.ndarray
    dgamma: np.ndarray


class BatchNormGradients(NamedTuple):
    dx: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray
    dresidual: np.ndarray | None


# What the norms share: statistics over some axes, and the gradient through them.


def wide(x):
    return np.asarray(x, dtype=f64)


def as_axes(axis, ndim):
    """The axes as a sorted tuple of non-negative ints."""
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


def others(axis, ndim):
    """Every axis that is not in `axis`."""
    return tuple(a for a in range(ndim) if a not in as_axes(axis, ndim))


def along(values, axis, ndim):
    """Values of the shape of `axis`, int or tuple, shaped to broadcast against ndim axes; None stays None."""
    return None if values is None else np.expand_dims(wide(values), others(axis, ndim))


def reciprocal_root(spread):
    """1 / sqrt(spread), and 0 where that is a division by 0: there is nothing to divide."""
    return np.divide(1, np.sqrt(spread), out=np.zeros_like(spread), where=np.not_equal(spread, 0))


def standardize(x, axes, eps, centred=True):
    """xhat, mean and rstd over `axes`, which stay as axes of length 1.

    In units of a power of two, which changes no digit, as squares may leave the range of float64.
    """
    size = np.abs(x).max(axes, keepdims=True, initial=0)
    unit = np.clip(np.frexp(np.where(np.isfinite(size), np.maximum(size, np.sqrt(eps)), 1))[1], -1000, 1000)
    scaled = np.ldexp(x, -unit)
    mean = np.zeros_like(size)
    for _ in range(2 if centred else 0):  # twice: what rounding left; constants are their own mean
        mean = mean + (scaled - mean).mean(axes, keepdims=True)
    var = np.square(scaled - mean).mean(axes, keepdims=True)
    rstd = reciprocal_root(var + np.ldexp(eps, -2 * unit))
    # beside large constants a small eps is nothing, and yet all there is
    of_x = np.where(var == 0, reciprocal_root(np.full_like(var, eps)), np.ldexp(rstd, -unit))
    return (scaled - mean) * rstd, np.ldexp(mean, unit), of_x


def affine(xhat, gamma, beta):
    """xhat * gamma + beta"""
    return xhat * (1 if gamma is None else wide(gamma)) + (0 if beta is None else wide(beta))


def through_statistics(h, xhat, rstd, axes):
    """The gradient with respect to x of xhat, given the gradient `h` with respect to xhat."""
    return rstd * (h - h.mean(axes, keepdims=True) - xhat * (h * xhat).mean(axes, keepdims=True))


# Layer norm and RMS norm: statistics of each sample over `axis`, parameters of the shape of those axes.


def layer_norm_forward(x, gamma=None, beta=None, *, axis=-1, eps=1e-5):
    """y = xhat * gamma + beta"""
    x = wide(x)
    axes = as_axes(axis, x.ndim)
    xhat, mean, rstd = standardize(x, axes, eps)
    y = affine(xhat, along(gamma, axes, x.ndim), along(beta, axes, x.ndim))
    return Normalized(y, mean.squeeze(axes), rstd.squeeze(axes))


def layer_norm(x, gamma=None, beta=None, *, axis=-1, eps=1e-5):
    return layer_norm_forward(x, gamma, beta, axis=axis, eps=eps).y


def layer_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=-1):
    """dx = rstd * (h - mean(h) - xhat * mean(h * xhat)), h = dy * gamma; dgamma, dbeta sum over samples."""
    dy, x = wide(dy), wide(x)
    axes = as_axes(axis, x.ndim)
    samples = others(axes, x.ndim)
    rstd = np.expand_dims(rstd, axes)
    xhat = (x - np.expand_dims(mean, axes)) * rstd
    dx = through_statistics(affine(dy, along(gamma, axes, x.ndim), None), xhat, rstd, axes)
    return NormGradients(dx, (dy * xhat).sum(samples), dy.sum(samples))


def rms_norm_forward(x, gamma=None, *, axis=-1, eps=1e-6):
    """y = x * rstd * gamma with rstd = 1 / sqrt(mean(x^2) + eps)"""
    x = wide(x)
    axes = as_axes(axis, x.ndim)
    xhat, _, rstd = standardize(x, axes, eps, centred=False)
    return RMSNormalized(affine(xhat, along(gamma, axes, x.ndim), None), rstd.squeeze(axes))


def rms_norm(x, gamma=None, *, axis=-1, eps=1e-6):
    return rms_norm_forward(x, gamma, axis=axis, eps=eps).y


def rms_norm_backward(dy, x, rstd, gamma=None, *, axis=-1):
    """dx = rstd * (h - xhat * mean(h * xhat)) with h = dy * gamma, xhat = x * rstd"""
    dy, x = wide(dy), wide(x)
    axes = as_axes(axis, x.ndim)
    samples = others(axes, x.ndim)
    rstd = np.expand_dims(rstd, axes)
    xhat = x * rstd
    h = affine(dy, along(gamma, axes, x.ndim), None)
    dx = rstd * (h - xhat * (h * xhat).mean(axes, keepdims=True))
    return RMSNormGradients(dx, (dy * xhat).sum(samples))


def add_layer_norm_forward(x, residual, gamma=None, beta=None, *, axis=-1, eps=1e-5):
    """Layer norm of x + residual."""
    summed = wide(x) + wide(residual)
    y, mean, rstd = layer_norm_forward(summed, gamma, beta, axis=axis, eps=eps)
    return AddNormalized(y, summed, mean, rstd)


def add_rms_norm_forward(x, residual, gamma=None, *, axis=-1, eps=1e-6):
    """RMS norm of x + residual."""
    summed = wide(x) + wide(residual)
    y, rstd = rms_norm_forward(summed, gamma, axis=axis, eps=eps)
    return AddRMSNormalized(y, summed, rstd)


# Group norm and instance norm: statistics of each sample over a group of channels, parameters of shape (C,).


def split_groups(x, num_groups, axis):
    """(N, ..., C, ...) -> (N, G, C / G, values): the axes 2 and 3 share a statistic."""
    channels_first = np.moveaxis(x, axis, 1)
    return channels_first.reshape(len(x), num_groups, x.shape[axis] // num_groups, -1)


def join_groups(grouped, x, axis):
    """The inverse of split_groups, for an array of the shape of x."""
    return np.moveaxis(grouped.reshape(np.moveaxis(x, axis, 1).shape), 1, axis)


def group_norm_forward(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5):
    """y = xhat * gamma + beta; mean, rstd (N, G)"""
    x = wide(x)
    xhat, mean, rstd = standardize(split_groups(x, num_groups, axis), (2, 3), eps)
    y = affine(join_groups(xhat, x, axis), along(gamma, axis, x.ndim), along(beta, axis, x.ndim))
    return Normalized(y, mean.squeeze((2, 3)), rstd.squeeze((2, 3)))


def group_norm(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5):
    return group_norm_forward(x, num_groups, gamma, beta, axis=axis, eps=eps).y


def group_norm_backward(dy, x, mean, rstd, num_groups, gamma=None, *, axis=1):
    """As layer norm for each sample and group; dgamma, dbeta (C,) sum over samples and space."""
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
    return instance_norm_forward(x, gamma, beta, axis=axis, eps=eps).y


def instance_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=1):
    return group_norm_backward(dy, x, mean, rstd, np.shape(x)[axis], gamma, axis=axis)


# Batch norm: statistics of each channel over samples and space, parameters of shape (C,).


def activated(z, activation):
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
    """Consecutive slices of the first axis; the last may be shorter; a single value joins those before it."""
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
    """Batch norm of each block by its own statistics; the running ones average those of the whole batch."""
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
    """dx = gamma * rstd * (g - mean(g) - xhat * mean(g * xhat)), of constant statistics: gamma * rstd * g

    g is dy where the activation let the value through.
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
        count = x[block].size // x.shape[axis] if training else inf
        dx[block] = batch_norm_backward_apply(g[block], x[block], mu, s, gamma, *sums, count, axis=axis)
    return BatchNormGradients(dx, dgamma, dbeta, g if residual else None)


# The parts of batch norm, for statistics over several arrays or processes.


def batch_moments(x, *, axis=1):
    """Mean, variance (1/m) and m of each channel; no values have mean 0 and variance 0."""
    x = wide(x)
    count = x.size // x.shape[axis]
    mean = x.sum(others(axis, x.ndim)) / max(count, 1)
    mean = mean + (x - along(mean, axis, x.ndim)).sum(others(axis, x.ndim)) / max(count, 1)
    var = np.square(x - along(mean, axis, x.ndim)).sum(others(axis, x.ndim)) / max(count, 1)
    return Moments(mean, var, count)


def combine_moments(means, vars, counts):
    """Moments of all parts together: var = sum n_i (var_i + (mean_i - mean)^2) / n. Leading axis = parts."""
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
    centred = dy - along(sum_dy, axis, dy.ndim) / count - xhat * along(sum_dy_xhat, axis, dy.ndim) / count
    return affine(centred * along(rstd, axis, dy.ndim), along(gamma, axis, dy.ndim), None)


def fold_batch_norm(weight, bias, mean, var, gamma=None, beta=None, *, eps=1e-5, axis=0):
    """W' = W * scale, b' = (b - mean) * scale + beta with scale = gamma / sqrt(var + eps)"""
    weight = wide(weight)
    scale = affine(1 / np.sqrt(wide(var) + eps), gamma, None)
    bias = affine((0 if bias is None else wide(bias)) - wide(mean), scale, beta)
    return weight * along(scale, axis, weight.ndim), bias


# Batch renormalization: Ioffe 2017.


def batch_renorm_forward(
    x,
    gamma=None,
    beta=None,
    *,
    running_mean,
    running_std,
    r_max=inf,
    d_max=inf,
    momentum=0.01,
    axis=1,
    eps=1e-5,
):
    """y = (xhat * r + d) * gamma + beta, r and d from the running statistics before their update.

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
    """dx is batch norm's times r, dgamma = sum(dy * (xhat * r + d)); no gradient flows through r and d."""
    dx, sum_dy_xhat, sum_dy, _ = batch_norm_backward(dy, x, mean, rstd, gamma, axis=axis)
    r, d = wide(r), wide(d)
    return NormGradients(dx * along(r, axis, dx.ndim), sum_dy_xhat * r + sum_dy * d, sum_dy)


# Whitening (ZCA, decorrelated batch norm): Huang et al. 2018.


def whiten_forward(
    x, *, num_groups=1, axis=1, eps=1e-5, running_mean=None, running_matrix=None, momentum=0.1
):
    """Y = W Xc with W = D L^(-1/2) D', from Xc Xc' / m + eps I = D L D', for each group of channels.

    mean (C,), matrix W (G, C / G, C / G).
    """
    x = wide(x)
    channels_first = np.moveaxis(x, axis, 0)
    values = channels_first.reshape(num_groups, x.shape[axis] // num_groups, -1)
    mean = values.mean(2, keepdims=True)
    centred = values - mean
    covariance = centred @ centred.mT / values.shape[2]
    eigenvalues, vectors = np.linalg.eigh(covariance + eps * np.eye(values.shape[1]))
    matrix = vectors / np.sqrt(eigenvalues)[:, None, :] @ vectors.mT
    if running_mean is not None:
        update_running(running_mean, mean.ravel(), momentum)
        update_running(running_matrix, matrix, momentum)
    y = np.moveaxis((matrix @ centred).reshape(channels_first.shape), 0, axis)
    return Whitened(y, mean.ravel(), matrix, (centred, eigenvalues, vectors, axis))


def whiten_backward(dy, saved):
    """dXc = W G + 2/m dS Xc, dX = dXc - mean(dXc)

    dS = D (K * (D' sym(G Xc') D)) D', K_ij = -1 / (a b (a + b)), a = sqrt(L_i), b = sqrt(L_j)
    """
    centred, eigenvalues, vectors, axis = saved
    channels_first = np.moveaxis(wide(dy), axis, 0)
    g = channels_first.reshape(centred.shape)
    a = np.sqrt(eigenvalues)[:, :, None]
    b = a.mT
    product = g @ centred.mT
    in_eigenbasis = vectors.mT @ ((product + product.mT) / 2) @ vectors
    dcovariance = vectors @ (-in_eigenbasis / (a * b * (a + b))) @ vectors.mT
    matrix = vectors / b @ vectors.mT
    dcentred = matrix @ g + 2 / centred.shape[2] * dcovariance @ centred
    dvalues = dcentred - dcentred.mean(2, keepdims=True)
    return np.moveaxis(dvalues.reshape(channels_first.shape), 0, axis)


# Dropout: the mask is bit-packed, 1 = kept, over the C-order elements; p is the probability of dropping.

ALPHA = 1.7580993408473766  # minus the limit of SELU at -infinity: its scale times its alpha


def kept(mask, shape, shared_axes=()):
    """The mask as booleans that broadcast against an array of `shape`."""
    decided = [1 if axis in as_axes(shared_axes, len(shape)) else n for axis, n in enumerate(shape)]
    return np.unpackbits(mask, count=int(np.prod(decided)), bitorder="little").reshape(decided).astype(bool)


def dropout(x, mask, p=0.5, *, inverted=True, shared_axes=()):
    """y = x / (1 - p) where kept (classical form: x), 0 where dropped, whatever x is there."""
    scale = 1 / (1 - p) if inverted and p < 1 else 1
    return np.where(kept(mask, np.shape(x), shared_axes), wide(x) * scale, 0)


def dropout_backward(dy, mask, p=0.5, *, inverted=True, shared_axes=()):
    """dx = dy / (1 - p) where kept (classical form: dy), 0 where dropped"""
    return dropout(dy, mask, p, inverted=inverted, shared_axes=shared_axes)


def add_dropout(x, bias, residual, mask, p):
    """y = dropout(x + bias) + residual"""
    return dropout(wide(x) + wide(bias), mask, p) + wide(residual)


def alpha_dropout(x, mask, p=0.5):
    """y = a * (x where kept, -ALPHA where dropped) + a * ALPHA * p, 0 <= p < 1: keeps mean 0, variance 1."""
    a = 1 / np.sqrt((ALPHA**2 * p + 1) * (1 - p))
    return a * np.where(kept(mask, np.shape(x)), wide(x), -ALPHA) + a * ALPHA * p


def alpha_dropout_backward(dy, mask, p=0.5):
    """dx = a * dy where kept, 0 where dropped"""
    a = 1 / np.sqrt((ALPHA**2 * p + 1) * (1 - p))
    return a * np.where(kept(mask, np.shape(dy)), wide(dy), 0)


def gaussian_dropout(x, noise):
    """y = x * noise, where noise has mean 1 and variance p / (1 - p)"""
    return wide(x) * wide(noise)


def gaussian_dropout_backward(dy, noise):
    return wide(dy) * wide(noise)


# Weights: the update, and what keeps them small.


def sgd_update(
    params,
    grads,
    momentum_buffers=None,
    *,
    lr,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    l1=0.0,
    decoupled=False,
    proximal=False,
    maximize=False,
    grad_scale=1.0,
    first_step=False,
):
    """One step of float64 arrays in place: w -= lr * g, where g is the decayed gradient or its momentum."""
    for index, (w, gradient) in enumerate(zip(params, grads, strict=True)):
        decay = weight_decay * w + (0 if proximal else l1) * np.sign(w)
        g = gradient * grad_scale * (-1 if maximize else 1) + (0 if decoupled else decay)
        if momentum_buffers is not None:
            v = momentum_buffers[index]
            v[...] = g if first_step else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        w -= lr * (g + (decay if decoupled else 0))
        if proximal:
            w[...] = np.sign(w) * np.maximum(np.abs(w) - lr * l1, 0)


def penalty(params, *, l1=0.0, l2=0.0):
    """l1 * sum |w| + l2 / 2 * sum w^2"""
    return sum(l1 * np.abs(wide(w)).sum() + l2 / 2 * np.square(wide(w)).sum() for w in params)


def max_norm(w, limit, *, axis):
    """Each vector along `axis` scaled down to length `limit` where it is longer."""
    w = wide(w)
    length = np.sqrt(np.square(w).sum(axis, keepdims=True))
    return np.where(length > limit, w * (limit / np.maximum(length, limit)), w)


def clip_grad_norm(grads, max_norm):
    """Scales all arrays in place so that their common norm is at most `max_norm`; returns the norm before."""
    norm = np.sqrt(sum(np.square(wide(g)).sum() for g in grads))
    for g in grads:
        g *= min(1, max_norm / norm) if norm > 0 else 1
    return norm


# Losses and activations.


def softmax_cross_entropy(
    logits, labels, *, label_smoothing=0.0, class_weight=None, ignore_index=None, reduction="mean"
):
    """-sum_c t_c log p_c of each row, and its gradient p sum(t) - t

    t = class_weight * ((1 - label_smoothing) * target + label_smoothing / K). The mean of class ids divides
    by the sum of their weights, the mean of probabilities by the number of rows.
    """
    z = wide(logits)
    classes = z.shape[1]
    weight = np.ones(classes) if class_weight is None else wide(class_weight)
    if np.ndim(labels) == 1:
        counted = np.full(len(z), True) if ignore_index is None else labels != ignore_index
        target = np.eye(classes)[np.where(counted, labels, 0)]
        total = (target @ weight)[counted].sum()
    else:
        counted, target, total = np.full(len(z), True), wide(labels), len(z)
    t = weight * ((1 - label_smoothing) * target + label_smoothing / classes) * counted[:, None]
    shifted = z - z.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    loss, dlogits = -(t * log_p).sum(1), np.exp(log_p) * t.sum(1, keepdims=True) - t
    return {
        "none": (loss, dlogits),
        "sum": (loss.sum(), dlogits),
        "mean": (loss.sum() / total, dlogits / total),
    }[reduction]


def mse(pred, target, *, reduction="mean"):
    """(pred - target)^2 and its gradient 2 (pred - target)"""
    difference = wide(pred) - wide(target)
    loss, dpred = np.square(difference), 2 * difference
    return {
        "none": (loss, dpred),
        "sum": (loss.sum(), dpred),
        "mean": (loss.mean(), dpred / difference.size),
    }[reduction]


def huber(pred, target, *, delta=1.0, reduction="mean"):
    """d^2 / 2 of d = pred - target as far as |d| <= delta, delta (|d| - delta / 2) beyond; its gradient"""
    difference = wide(pred) - wide(target)
    size = np.abs(difference)
    loss = np.where(size <= delta, difference**2 / 2, delta * (size - delta / 2))
    dpred = np.clip(difference, -delta, delta)
    return {
        "none": (loss, dpred),
        "sum": (loss.sum(), dpred),
        "mean": (loss.mean(), dpred / difference.size),
    }[reduction]


def _under(x, kernel, before, stride, spacing, place):
    """What lies under the kernel at a place: (N, A, B, channels) of images (N, H, W, channels)."""
    window = np.zeros((len(x), *kernel, x.shape[3]))
    for element in np.ndindex(*kernel):
        at = np.multiply(place, stride) + element - before
        inside = at // spacing
        if not np.any(at % spacing) and np.all(inside >= 0) and np.all(inside < x.shape[1:3]):
            window[:, *element] = x[:, *inside]
    return window


def convolve(x, weight, bias, before, stride, spacing, output):
    groups, *kernel, channels, outputs = weight.shape
    y = np.empty((len(x), *output, groups, outputs))
    for place in np.ndindex(*output):
        window = _under(x, kernel, before, stride, spacing, place).reshape(len(x), *kernel, groups, channels)
        y[:, *place] = np.einsum("nabgc,gabco->ngo", window, weight.astype(f64))
    return y.reshape(len(x), *output, -1) + (0 if bias is None else bias)


def convolve_weights(dy, x, groups, kernel, before, stride):
    dweight = 0
    for place in np.ndindex(*dy.shape[1:3]):
        window = _under(x, kernel, before, stride, (1, 1), place).reshape(len(x), *kernel, groups, -1)
        at = dy[:, *place].astype(f64).reshape(len(x), groups, -1)
        dweight += np.einsum("nabgc,ngo->gabco", window, at)
    return dweight


def _pooled(x, kernel, before, stride, place):
    """The part of the images (N, H, W, C) under the kernel at a place, as an index."""
    first = np.multiply(place, stride) - before
    rows, columns = (slice(max(at, 0), max(at + size, 0)) for at, size in zip(first, kernel, strict=True))
    return slice(None), rows, columns


def max_pool(x, kernel, before, stride, output):
    y = np.empty((len(x), *output, x.shape[3]))
    for place in np.ndindex(*output):
        window = x[_pooled(x, kernel, before, stride, place)].astype(f64)
        y[:, *place] = window.max(axis=(1, 2), initial=-inf)
    return y


def max_pool_backward(dy, x, kernel, before, stride):
    dx = np.zeros(x.shape)
    for place in np.ndindex(*dy.shape[1:3]):
        under = _pooled(x, kernel, before, stride, place)
        if not x[under].size:
            continue
        for sample, channel in np.ndindex(len(x), x.shape[3]):
            window = x[under][sample, :, :, channel]
            row, column = np.unravel_index(np.argmax(window), window.shape)  # the first of equal values
            dx[under][sample, row, column, channel] += dy[sample, *place, channel]
    return dx


def relu(x):
    """max(x, 0)"""
    return np.maximum(wide(x), 0)


def relu_backward(dy, y):
    return np.where(wide(y) > 0, wide(dy), 0)


def leaky_relu(x, negative_slope=0.05):
    """x where positive, negative_slope * x elsewhere"""
    return wide(x) * np.where(wide(x) > 0, 1, negative_slope)


def leaky_relu_backward(dy, x, negative_slope=0.05):
    return wide(dy) * np.where(wide(x) > 0, 1, negative_slope)


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow"""
    e = np.exp(-np.abs(wide(x)))
    return np.where(wide(x) >= 0, 1, e) / (1 + e)


def sigmoid_backward(dy, y):
    return wide(dy) * wide(y) * (1 - wide(y))


def tanh(x):
    return np.tanh(wide(x))


def tanh_backward(dy, y):
    return wide(dy) * (1 - np.square(wide(y)))


# The random stream: Philox4x32-10, Salmon et al. 2011. docs/random-stream.md is its definition.

DECISIONS, TIES, NORMALS = range(3)


def philox(counter, key):
    """Four arrays of 32-bit words from the four of a counter and the two of a key, in uint64."""
    low = np.uint64(0xFFFFFFFF)
    a, b, c, d = np.broadcast_arrays(*np.asarray(counter, np.uint64))
    k, m = np.asarray(key, np.uint64)
    for _ in range(10):
        left, right = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = right >> 32 ^ b ^ k, right & low, left >> 32 ^ d ^ m, left & low
        k, m = k + np.uint64(0x9E3779B9) & low, m + np.uint64(0xBB67AE85) & low
    return a, b, c, d


def random_words(seed, purpose, numbers):
    """(n, 4): the blocks of a purpose with these numbers"""
    numbers = np.asarray(numbers, np.uint64)
    zeros = np.zeros_like(numbers)
    counter = [numbers & 0xFFFFFFFF, numbers >> 32, zeros, zeros + purpose]
    return np.stack(philox(counter, divmod(seed, 2**32)[::-1]), -1).astype("<u4")


def decide(elements, p, seed):
    """Kept, of consecutive elements: those whose byte, followed by 64 further bits, is not below p 2^72."""
    blocks = np.arange(elements[0] // 16, elements[-1] // 16 + 1)
    byte = random_words(seed, DECISIONS, blocks).view(np.uint8).ravel()[elements[0] % 16 :][: len(elements)]
    further = random_words(seed, TIES, elements)[:, :2].copy().view("<u8").ravel()
    threshold, rest = divmod(math.ceil(fractions.Fraction(p) * 2**72), 2**64)
    return (byte > threshold) | ((byte == threshold) & (further >= rest))


def normals(count, seed):
    """The quantile at (i + 1/2) / 2^32 + 1/2 for each random word i, read as a signed number."""
    words = random_words(seed, NORMALS, np.arange((count + 3) // 4)).view("<i4").ravel()[:count]
    return np.array([statistics.NormalDist().inv_cdf(q) for q in (words + 0.5) / 2**32 + 0.5])


# Dropout with its chance: rng is an int.


class Dropped(NamedTuple):
    y: np.ndarray
    mask: np.ndarray


class Noisy(NamedTuple):
    y: np.ndarray
    noise: np.ndarray


def dropout_mask(shape, p=0.5, *, rng):
    """A bit an element, 1 = kept, in C order"""
    count = math.prod(np.atleast_1d(shape))
    return np.packbits(decide(np.arange(count), p, rng), bitorder="little") if count else np.zeros(0, "u1")


def dropout_forward(x, p=0.5, *, rng, inverted=True, shared_axes=()):
    shared = as_axes(shared_axes, np.ndim(x))
    mask = dropout_mask([1 if a in shared else n for a, n in enumerate(np.shape(x))], p, rng=rng)
    return Dropped(dropout(x, mask, p, inverted=inverted, shared_axes=shared_axes), mask)


def drop_path_forward(x, p=0.5, *, rng, inverted=True):
    """Dropout of whole samples."""
    return dropout_forward(x, p, rng=rng, inverted=inverted, shared_axes=tuple(range(1, np.ndim(x))))


def drop_path_backward(dy, mask, p=0.5, *, inverted=True):
    return dropout(dy, mask, p, inverted=inverted, shared_axes=tuple(range(1, np.ndim(dy))))


def add_dropout_forward(x, bias, residual, p, *, rng):
    mask = dropout_mask(np.shape(x), p, rng=rng)
    return Dropped(add_dropout(x, 0 if bias is None else bias, residual, mask, p), mask)


def alpha_dropout_forward(x, p=0.5, *, rng):
    mask = dropout_mask(np.shape(x), p, rng=rng)
    return Dropped(alpha_dropout(x, mask, p), mask)


def gaussian_dropout_forward(x, p=0.5, *, rng):
    """noise ~ N(1, p / (1 - p)), in the dtype of x"""
    noise = (1 + np.sqrt(p / (1 - p)) * normals(np.size(x), rng)).reshape(np.shape(x)).astype(x.dtype)
    return Noisy(gaussian_dropout(x, noise), noise)
