"""Losses and their gradients."""

import numpy as np

from reference.axes import wide


def reduced(loss, gradient, reduction, total):
    """Both as they are, or the sum of the losses, or their mean: the sum divided by `total`."""
    if reduction == "none":
        return loss, gradient
    divisor = total if reduction == "mean" else 1
    return loss.sum() / divisor, gradient / divisor


def softmax_cross_entropy(
    logits, labels, *, label_smoothing=0.0, class_weight=None, ignore_index=None, reduction="mean"
):
    """loss = -sum_c t_c log p_c of each row with p = softmax(logits); dlogits = p sum(t) - t

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
    return reduced(loss, dlogits, reduction, total)


def mse(pred, target, *, reduction="mean"):
    """loss = (pred - target)^2, dpred = 2 (pred - target)"""
    difference = wide(pred) - wide(target)
    loss, dpred = np.square(difference), 2 * difference
    return reduced(loss, dpred, reduction, difference.size)


def huber(pred, target, *, delta=1.0, reduction="mean"):
    """loss = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = pred - target, dpred = clip(d)"""
    difference = wide(pred) - wide(target)
    size = np.abs(difference)
    loss = np.where(size <= delta, difference**2 / 2, delta * (size - delta / 2))
    dpred = np.clip(difference, -delta, delta)
    return reduced(loss, dpred, reduction, difference.size)
