"""Losses and their gradients."""

import numpy as np

from reference.axes import wide


def reduced(loss, gradient, reduction, total):
    """Both as they are, or the sum of the losses, or their mean: the sum divided by `total`."""
    if reduction == "none":
        return loss, gradient
    divisor = total if reduction == "mean" else 1
    return loss.sum() / divisor, gradient / divisor


def sample_factors(sample_weight, losses):
    """Weights of samples along axis 0, or of all losses, in the shape of the losses."""
    if sample_weight is None:
        return np.ones(np.shape(losses))
    weight = wide(sample_weight)
    per_sample = weight.size == np.shape(losses)[0]
    shape = (-1, *(1 for _ in np.shape(losses)[1:])) if per_sample else np.shape(losses)
    return np.broadcast_to(weight.reshape(shape), np.shape(losses))


def softmax_cross_entropy(
    logits,
    labels,
    *,
    axis=-1,
    label_smoothing=0.0,
    class_weight=None,
    sample_weight=None,
    ignore_index=None,
    reduction="mean",
):
    """loss = -sum_c t_c log p_c of each row with p = softmax(logits); dlogits = p sum(t) - t

    t = w * class_weight * ((1 - label_smoothing) * target + label_smoothing / K), with w of the sample. The
    mean of class ids divides by the sum of w * class_weight of the labels, that of probabilities by sum(w).
    """
    z = np.moveaxis(wide(logits), axis, -1)
    classes = z.shape[-1]
    weight = np.ones(classes) if class_weight is None else wide(class_weight)
    w = sample_factors(sample_weight, z[..., 0])
    if np.ndim(labels) == z.ndim - 1:
        counted = np.full(z.shape[:-1], True) if ignore_index is None else labels != ignore_index
        target = np.eye(classes)[np.where(counted, labels, 0)]
        total = (w * (target @ weight))[counted].sum()
    else:
        counted, target, total = np.full(z.shape[:-1], True), np.moveaxis(wide(labels), axis, -1), w.sum()
    t = weight * ((1 - label_smoothing) * target + label_smoothing / classes) * (counted * w)[..., None]
    shifted = z - z.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    loss, dlogits = -(t * log_p).sum(-1), np.exp(log_p) * t.sum(-1, keepdims=True) - t
    return reduced(loss, np.moveaxis(dlogits, -1, axis), reduction, total)


def weighted(loss, gradient, sample_weight, reduction):
    """Both times the weights of the samples; the mean divides by the sum of the weights of the elements."""
    w = sample_factors(sample_weight, loss)
    return reduced(w * loss, w * gradient, reduction, w.sum())


def binary_cross_entropy(
    logits, labels, *, label_smoothing=0.0, pos_weight=None, sample_weight=None, reduction="mean"
):
    """loss = -pos_weight y log(p) - (1 - y) log(1 - p), dlogits = (1 - y) p - pos_weight y (1 - p)

    p = sigmoid(logits), -log(p) = log(1 + exp(-logits)), y = (1 - smoothing) labels + smoothing / 2
    """
    z = wide(logits)
    y = (1 - label_smoothing) * wide(labels) + label_smoothing / 2
    factor = 1.0 if pos_weight is None else wide(pos_weight)
    p, q = np.exp(-np.logaddexp(0, -z)), np.exp(-np.logaddexp(0, z))
    loss = factor * y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)
    return weighted(loss, (1 - y) * p - factor * y * q, sample_weight, reduction)


def mse(pred, target, *, sample_weight=None, reduction="mean"):
    """loss = (pred - target)^2, dpred = 2 (pred - target)"""
    difference = wide(pred) - wide(target)
    return weighted(np.square(difference), 2 * difference, sample_weight, reduction)


def mae(pred, target, *, sample_weight=None, reduction="mean"):
    """loss = |pred - target|, dpred = sign(pred - target)"""
    difference = wide(pred) - wide(target)
    return weighted(np.abs(difference), np.sign(difference), sample_weight, reduction)


def huber(pred, target, *, delta=1.0, sample_weight=None, reduction="mean"):
    """loss = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = pred - target, dpred = clip(d)"""
    difference = wide(pred) - wide(target)
    size = np.abs(difference)
    loss = np.where(size <= delta, difference**2 / 2, delta * (size - delta / 2))
    return weighted(loss, np.clip(difference, -delta, delta), sample_weight, reduction)
