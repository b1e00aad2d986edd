"""Adam and AdamW."""

import numpy as np


def adam_update(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    *,
    step,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    l1=0.0,
    decoupled=True,
    proximal=False,
    max_exp_avg_sqs=None,
    maximize=False,
    grad_scale=1.0,
):
    """w -= lr * mhat / (sqrt(vhat) + eps) in place; float64 arrays

    m += (1 - b1) * (g - m); v += (1 - b2) * (g^2 - v); mhat = m / (1 - b1^t); vhat = v / (1 - b2^t)

    With max_exp_avg_sqs, u = max(u, v) takes the place of v. Decay is as in sgd_update.
    """
    b1, b2 = betas
    of_m, of_v = 1 - b1**step, 1 - b2**step
    for index, (w, gradient, m, v) in enumerate(zip(params, grads, exp_avgs, exp_avg_sqs, strict=True)):
        decay = weight_decay * w + (0 if proximal else l1) * np.sign(w)
        g = gradient * grad_scale * (-1 if maximize else 1) + (0 if decoupled else decay)
        m[...] = b1 * m + (1 - b1) * g
        v[...] = b2 * v + (1 - b2) * g * g
        u = v
        if max_exp_avg_sqs is not None:
            u = max_exp_avg_sqs[index]
            np.maximum(u, v, out=u)
        w -= lr * (m / of_m / (np.sqrt(u / of_v) + eps) + (decay if decoupled else 0))
        if proximal:
            w[...] = np.sign(w) * np.maximum(np.abs(w) - lr * l1, 0)
