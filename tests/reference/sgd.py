"""The update of weights, and what keeps them small."""

import numpy as np

from reference.axes import wide


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
    """w -= lr * g in place, where g is the gradient plus decay, or its momentum; float64 arrays

    decay = weight_decay * w + l1 * sign(w); v = momentum * v + (1 - dampening) * g
    """
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
