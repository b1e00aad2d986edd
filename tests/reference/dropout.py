"""Dropout with a given mask, and with a mask drawn from an int seed.

The mask holds one bit for each element in C order, 1 = kept. p is the probability of dropping.
"""

import math
from typing import NamedTuple

import numpy as np

from reference.axes import as_axes, wide
from reference.random_stream import decide, normals

ALPHA = 1.7580993408473766  # scale * alpha of SELU, whose limit at -infinity is -ALPHA


class Dropped(NamedTuple):
    y: np.ndarray
    mask: np.ndarray


class Noisy(NamedTuple):
    y: np.ndarray
    noise: np.ndarray


def kept(mask, shape, shared_axes=()):
    """The mask as booleans that broadcast against an array of `shape`."""
    decided = [1 if axis in as_axes(shared_axes, len(shape)) else n for axis, n in enumerate(shape)]
    return np.unpackbits(mask, count=int(np.prod(decided)), bitorder="little").reshape(decided).astype(bool)


def dropout(x, mask, p=0.5, *, inverted=True, shared_axes=()):
    """y = x / (1 - p) where kept (classical form: x), 0 where dropped, even for NaN"""
    scale = 1 / (1 - p) if inverted and p < 1 else 1
    return np.where(kept(mask, np.shape(x), shared_axes), wide(x) * scale, 0)


def dropout_backward(dy, mask, p=0.5, *, inverted=True, shared_axes=()):
    """dx = dy / (1 - p) where kept (classical form: dy), 0 where dropped"""
    return dropout(dy, mask, p, inverted=inverted, shared_axes=shared_axes)


def add_dropout(x, bias, residual, mask, p):
    """y = dropout(x + bias) + residual"""
    return dropout(wide(x) + wide(bias), mask, p) + wide(residual)


def alpha_dropout(x, mask, p=0.5):
    """y = a * (x where kept, -ALPHA where dropped) + a * ALPHA * p, which keeps mean 0 and variance 1

    a = 1 / sqrt((ALPHA^2 p + 1) (1 - p)), 0 <= p < 1
    """
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
    """dx = dy * noise"""
    return wide(dy) * wide(noise)


def dropout_mask(shape, p=0.5, *, rng):
    """One bit for each element of `shape`, 1 = kept, in C order"""
    count = math.prod(np.atleast_1d(shape))
    return np.packbits(decide(np.arange(count), p, rng), bitorder="little") if count else np.zeros(0, "u1")


def dropout_forward(x, p=0.5, *, rng, inverted=True, shared_axes=()):
    """y = x / (1 - p) where kept (classical form: x), 0 where dropped; one decision along shared axes"""
    shared = as_axes(shared_axes, np.ndim(x))
    mask = dropout_mask([1 if a in shared else n for a, n in enumerate(np.shape(x))], p, rng=rng)
    return Dropped(dropout(x, mask, p, inverted=inverted, shared_axes=shared_axes), mask)


def drop_path_forward(x, p=0.5, *, rng, inverted=True):
    """Dropout with one decision for each sample."""
    return dropout_forward(x, p, rng=rng, inverted=inverted, shared_axes=tuple(range(1, np.ndim(x))))


def drop_path_backward(dy, mask, p=0.5, *, inverted=True):
    """dx = dy / (1 - p) of the samples that are kept (classical form: dy), 0 of the others"""
    return dropout(dy, mask, p, inverted=inverted, shared_axes=tuple(range(1, np.ndim(dy))))


def add_dropout_forward(x, bias, residual, p, *, rng):
    """y = dropout(x + bias) + residual"""
    mask = dropout_mask(np.shape(x), p, rng=rng)
    return Dropped(add_dropout(x, 0 if bias is None else bias, residual, mask, p), mask)


def alpha_dropout_forward(x, p=0.5, *, rng):
    """y = a * (x where kept, -ALPHA where dropped) + a * ALPHA * p"""
    mask = dropout_mask(np.shape(x), p, rng=rng)
    return Dropped(alpha_dropout(x, mask, p), mask)


def gaussian_dropout_forward(x, p=0.5, *, rng):
    """y = x * noise, noise ~ N(1, p / (1 - p)) in the dtype of x"""
    noise = (1 + np.sqrt(p / (1 - p)) * normals(np.size(x), rng)).reshape(np.shape(x)).astype(x.dtype)
    return Noisy(gaussian_dropout(x, noise), noise)
