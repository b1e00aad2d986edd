"""Dropout: its two forms, as a penalty, as an average of nets."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

import trimtab as tt
from trimtab._typing import Array
from trimtab.lab.companions.companion import Measured, companion
from trimtab.lab.experiment import above, below, between


@companion(
    "Srivastava et al. 2014",
    ("classical dropout, rescaled: outputs in training, difference from inverted dropout", below(1e-12)),
    ("classical dropout, not rescaled: outputs in training, difference from inverted dropout", above(0.1)),
)
def classical_is_inverted(drop: Any = tt.dropout_apply, drop_backward: Any = tt.dropout_backward) -> Measured:
    """Train x -> W2 drop(tanh(W1 x)) in both forms on the same masks.

    Inverted dropout multiplies what it keeps by 1 / (1 - p). The classical form has the same outputs with W2
    multiplied by 1 / (1 - p), trained with 1 / (1 - p)² times the learning rate.
    """
    rng, p, lr, steps = np.random.default_rng(0), 0.4, 0.05, 100
    x, target = rng.standard_normal((8, 5)), rng.standard_normal((8, 2))
    w1, w2 = rng.standard_normal((16, 5)), rng.standard_normal((2, 16)) / 4
    masks = [tt.dropout_mask((8, 16), p, rng=rng) for _ in range(steps)]

    def outputs(inverted: bool, scale: float) -> Array:
        first, second, found = w1.copy(), w2 * scale, []
        for mask in masks:
            hidden = np.tanh(x @ first.T)
            dropped = drop(hidden, mask, p, inverted=inverted)
            found.append(dropped @ second.T)
            dy = (found[-1] - target) / len(x)
            dhidden = drop_backward(dy @ second, mask, p, inverted=inverted) * (1 - hidden**2)
            second -= lr * scale**2 * dy.T @ dropped
            first -= lr * dhidden.T @ x
        return np.array(found)

    inverted = outputs(True, 1.0)
    rescaled, plain = outputs(False, 1 / (1 - p)), outputs(False, 1.0)
    return {"measured": [np.abs(rescaled - inverted).max(), np.abs(plain - inverted).max()]}


@companion(
    "Srivastava et al. 2014, section 9.1; Wager, Wang and Liang 2013",
    (
        "dropout in linear regression: loss over ridge's with p / (1 - p), difference from 1",
        below(1e-12),
    ),
    ("dropout in linear regression: best weights, difference from those of ridge", below(1e-10)),
)
def dropout_is_ridge(drop: Any = tt.dropout_apply) -> Measured:
    """Drop inputs: E |y - drop(X) w|² = |y - X w|² + p / (1 - p) Σ_j |X_j|² w_j², over all 2^d masks."""
    rng, p, inputs = np.random.default_rng(0), 0.3, 8
    x, y, w = rng.standard_normal((20, inputs)), rng.standard_normal(20), rng.standard_normal(inputs)
    loss, gram, moment = 0.0, np.zeros((inputs, inputs)), np.zeros(inputs)
    for kept in product([False, True], repeat=inputs):
        chance = p ** (inputs - sum(kept)) * (1 - p) ** sum(kept)
        # The loss is a sum over the samples: its mean is the same with one mask for all of them.
        dropped = drop(x, np.tile(kept, (20, 1)), p)
        loss += chance * np.sum((y - dropped @ w) ** 2)
        gram += chance * dropped.T @ dropped
        moment += chance * dropped.T @ y
    penalty = p / (1 - p) * np.sum(x * x, axis=0)
    ridge = np.sum((y - x @ w) ** 2) + np.sum(penalty * w * w)
    minimum = np.linalg.solve(x.T @ x + np.diag(penalty), x.T @ y)
    return {"measured": [abs(loss / ridge - 1), np.abs(np.linalg.solve(gram, moment) - minimum).max()]}


@companion(
    "Srivastava et al. 2014, figure 11",
    (
        "mean of 50 nets, last layer dropped: distance from scaled net over sd / sqrt(50)",
        between(0.9, 1.1),
    ),
    ("mean of 50 nets, all layers dropped: distance from scaled net over that of one net", below(0.25)),
)
def sampled_nets(drop: Any = tt.dropout) -> Measured:
    """Average the outputs of random nets of ReLU, 100-400-400-10, under dropout; compare with no dropout.

    Before the last layer, which is linear, the scaled net is the exact mean of all sampled nets.
    """
    rng, p, counts = np.random.default_rng(0), 0.5, [1, 2, 5, 10, 20, 50]
    x = rng.standard_normal((50, 100))
    w1, w2 = (rng.standard_normal((400, n)) * np.sqrt(2 / n) for n in (100, 400))
    w3 = rng.standard_normal((10, 400)) / 20

    def net(first: float, last: float) -> Array:
        hidden = np.maximum(drop(x, first, rng=rng) @ w1.T, 0)
        hidden = np.maximum(drop(hidden, first, rng=rng) @ w2.T, 0)
        output: Array = drop(hidden, last, rng=rng) @ w3.T
        return output

    def rms(a: Array) -> float:
        return float(np.sqrt(np.mean(a**2)))

    scaled = net(0.0, 0.0)
    last = np.array([net(0.0, p) for _ in range(50)])
    error = rms(last.mean(axis=0) - scaled) * np.sqrt(50) / rms(last.std(axis=0, ddof=1))
    every = np.array([net(0.2, p) for _ in range(50)])
    distances = [rms(every[:count].mean(axis=0) - scaled) for count in counts]
    return {"measured": [error, distances[-1] / distances[0]], "counts": counts, "distances": distances}
