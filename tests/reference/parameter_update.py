"""What keeps weights small, beside their update."""

import numpy as np

from reference.axes import wide


def clip_grad_norm(grads, max_norm):
    """g *= min(1, max_norm / norm) in place, with norm = sqrt(sum g^2) over all arrays, which is returned"""
    norm = np.sqrt(sum(np.square(wide(g)).sum() for g in grads))
    for g in grads:
        g *= min(1, max_norm / norm) if norm > 0 else 1
    return norm


def penalty(params, *, l1=0.0, l2=0.0):
    """l1 * sum |w| + l2 / 2 * sum w^2"""
    return sum(l1 * np.abs(wide(w)).sum() + l2 / 2 * np.square(wide(w)).sum() for w in params)


def max_norm(w, limit, *, axis):
    """w * min(1, limit / length), with the length sqrt(sum w^2) of each vector along `axis`"""
    w = wide(w)
    length = np.sqrt(np.square(w).sum(axis, keepdims=True))
    return np.where(length > limit, w * (limit / np.maximum(length, limit)), w)
