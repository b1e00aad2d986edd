"""Softmax, its logarithm, and their gradients."""

import numpy as np

from reference.axes import wide


def log_softmax(x, *, axis=-1):
    """y = x - log(sum(exp(x))), of x shifted by the maximum"""
    shifted = wide(x) - wide(x).max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def log_softmax_backward(dy, y, *, axis=-1):
    """dx = dy - exp(y) sum(dy)"""
    return wide(dy) - np.exp(wide(y)) * wide(dy).sum(axis, keepdims=True)


def softmax(x, *, axis=-1):
    """y = exp(x) / sum(exp(x)), of x shifted by the maximum"""
    exponentials = np.exp(wide(x) - wide(x).max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


def softmax_backward(dy, y, *, axis=-1):
    """dx = y (dy - sum(dy y))"""
    return wide(y) * (wide(dy) - (wide(dy) * wide(y)).sum(axis, keepdims=True))
