"""Stochastic gradient descent."""

import numpy as np


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
