"""Decay, L1, max-norm and label smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np

import trimtab as tt
from trimtab._typing import Array
from trimtab.lab.companions.companion import Measured, companion
from trimtab.lab.experiment import above, at_least, at_most, below


@companion(
    "Loshchilov and Hutter 2019",
    ("SGD: weights with decay in the loss, difference from decay in the update", below(1e-12)),
    ("Adam: weights with decay in the loss, difference from decay in the update", above(0.01)),
)
def decay_in_loss_or_update(sgd: Any = tt.sgd_update, adam: Any = tt.adam_update) -> Measured:
    """Minimize |A w - b|² / 2 + c |w|² / 2: with the gradient c w of the penalty, and with ``decoupled``."""
    rng, lr, decay, steps = np.random.default_rng(0), 0.05, 0.1, 100
    a, b, start = rng.standard_normal((6, 4)), rng.standard_normal(6), rng.standard_normal(4)

    def train(optimizer: str, decoupled: bool) -> Array:
        w, m, v = start.copy(), np.zeros(4), np.zeros(4)
        for step in range(1, steps + 1):
            gradient = a.T @ (a @ w - b) + (0 if decoupled else decay * w)
            options = {"lr": lr, "weight_decay": decay if decoupled else 0.0, "decoupled": decoupled}
            if optimizer == "sgd":
                sgd(w, gradient, **options)
            else:
                adam(w, gradient, m, v, step=step, **options)
        return w

    differences = [np.abs(train(name, False) - train(name, True)).max() for name in ("sgd", "adam")]
    return {"measured": differences}


@companion(
    "Tibshirani 1996; Langford, Li and Zhang 2009",
    ("L1 by its sub-gradient: zeros among 100 weights", at_most(0)),
    ("L1 by the soft threshold: zeros, difference from the number of the exact solution", at_most(0)),
    ("L1 by the soft threshold: zeros among 100 weights", at_least(50)),
    ("L2: zeros among 100 weights", at_most(0)),
)
def zeros_of_l1(sgd: Any = tt.sgd_update) -> Measured:
    """Minimize |w - b|² / 2 with a penalty: the lasso sets the weights with |b| <= l1 to 0."""
    b, strength = np.random.default_rng(0).standard_normal(100), 1.0
    penalties: dict[str, dict[str, Any]] = {
        "sub-gradient": {"l1": strength},
        "soft threshold": {"l1": strength, "proximal": True},
        "L2": {"weight_decay": strength},
    }
    weights = {}
    for name, penalty in penalties.items():
        w = b.copy()
        for _ in range(1000):
            sgd(w, w - b, lr=0.03, **penalty)
        weights[name] = w
    subgradient, threshold, l2 = (int(np.sum(w == 0)) for w in weights.values())
    of_lasso = int(np.sum(np.abs(b) <= strength))
    return {"measured": [subgradient, abs(threshold - of_lasso), threshold, l2], "b": b, **weights}


@companion(
    "Srebro and Shraibman 2005; Srivastava et al. 2014",
    ("max-norm: length of the longest vector over the limit", at_most(1)),
    ("max-norm: values changed in vectors that are shorter", at_most(0)),
    ("max-norm: change of a vector's direction", below(1e-12)),
)
def max_norm_projects(max_norm: Any = tt.max_norm) -> Measured:
    """Project random vectors: about half of them are longer than the limit."""
    w, limit = np.random.default_rng(0).standard_normal((1000, 20)), 4.4

    def lengths(vectors: Array) -> Array:
        return np.sqrt(np.sum(vectors * vectors, axis=1, dtype=np.longdouble, keepdims=True))

    projected = max_norm(w, limit, axis=1)
    inside = lengths(w)[:, 0] <= limit
    turned = np.abs(projected / lengths(projected) - w / lengths(w)).max()
    changed = np.sum(projected[inside] != w[inside])
    return {"measured": [lengths(projected).max() / limit, changed, turned]}


@companion(
    "Szegedy et al. 2016",
    ("label smoothing 0.1, 10 classes: gap of the logits, difference from log(91) = 4.51", below(1e-9)),
)
def gap_of_label_smoothing(cross_entropy: Any = tt.softmax_cross_entropy) -> Measured:
    """Minimize the loss by the logits themselves: the gap to the others is log(1 + K (1 - s) / s)."""
    classes, smoothing, gaps = 10, 0.1, []
    logits = np.zeros((1, classes))
    for _ in range(3000):
        logits -= cross_entropy(logits, [3], label_smoothing=smoothing)[1]
        gaps.append(logits[0, 3] - np.delete(logits[0], 3).max())
    wanted = np.log(1 + classes * (1 - smoothing) / smoothing)
    return {"measured": [abs(gaps[-1] - wanted)], "gaps": gaps[:600], "gap": wanted}


@companion(
    "Hastie, Tibshirani and Friedman 2009, section 2.4",
    ("mean absolute error: its minimum, difference from the median", below(1e-6)),
    ("mean squared error: its minimum, difference from the mean", below(1e-6)),
)
def median_and_mean(mae: Any = tt.mae, mse: Any = tt.mse) -> Measured:
    """Minimize the mean |y - t| and the mean (y - t)² over the constant y, by bisection of the gradient."""
    target = np.random.default_rng(0).exponential(size=101)

    def minimum(loss: Any) -> float:
        low, high = target.min(), target.max()
        for _ in range(60):
            middle = (low + high) / 2
            slope = loss(np.full_like(target, middle), target)[1].sum()
            low, high = (low, middle) if slope > 0 else (middle, high)
        return float(low)

    return {"measured": [abs(minimum(mae) - np.median(target)), abs(minimum(mse) - target.mean())]}
