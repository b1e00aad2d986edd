"""What normalization does to gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

import trimtab as tt
from trimtab._typing import Array
from trimtab.lab.companions.companion import Measured, companion
from trimtab.lab.experiment import above, at_most, below


@companion(
    "Ioffe and Szegedy 2015, section 3",
    ("gradient of batch norm: difference from central differences", below(1e-7)),
    ("gradient without the term of the mean: difference from central differences", above(0.01)),
    ("gradient without the term of the variance: difference from central differences", above(0.01)),
)
def three_terms(backward: Any = tt.batch_norm_backward) -> Measured:
    """dx = rstd (dy - mean(dy) - xhat mean(dy xhat)): x acts directly, by the mean and by the variance."""
    rng, h = np.random.default_rng(0), 1e-5
    x, dy = rng.standard_normal((10, 3)) + 1, rng.standard_normal((10, 3)) + 1
    y, mean, rstd = tt.batch_norm_forward(x)
    numeric = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        difference = tt.batch_norm_forward(x + step)[0] - tt.batch_norm_forward(x - step)[0]
        numeric[place] = np.sum(dy * difference) / (2 * h)
    of_mean = -rstd * dy.mean(axis=0)
    of_variance = -rstd * y * np.mean(dy * y, axis=0)
    full = backward(dy, x, mean, rstd)[0]
    gradients = full, full - of_mean, full - of_variance
    return {"measured": [np.abs(gradient - numeric).max() for gradient in gradients]}


@companion(
    "Ioffe and Szegedy 2015, section 2",
    ("gradient without the statistics: bias after 1,000 steps over 1,000 lr / sd, from 1", below(1e-9)),
    ("gradient without the statistics: change of the outputs in 1,000 steps", below(1e-10)),
    ("full gradient: bias after 1,000 steps", below(1e-10)),
)
def bias_before_batch_norm(backward: Any = tt.batch_norm_backward) -> Measured:
    """Train the bias b of BN(u + b) to give another mean, which it cannot: the loss is |y - 1|² / 2."""
    u, lr, steps = np.random.default_rng(0).standard_normal((32, 1)), 0.1, 1000

    def train(through_statistics: bool) -> tuple[Array, float]:
        biases, first, change = [0.0], tt.batch_norm_forward(u)[0], 0.0
        for _ in range(steps):
            x = u + biases[-1]
            y, mean, rstd = tt.batch_norm_forward(x)
            dx = backward((y - 1) / len(u), x, mean, rstd, training=through_statistics)[0]
            biases.append(biases[-1] - lr * float(dx.sum()))
            change = max(change, float(np.abs(y - first).max()))
        return np.array(biases), change

    (naive, change), (full, _) = train(False), train(True)
    growth = steps * lr * float(tt.batch_norm_forward(u)[2][0])
    measured = [abs(naive[-1] / growth - 1), change, abs(full[-1])]
    return {"measured": measured, "naive": naive[::10], "full": full[::10]}


@companion(
    "van Laarhoven 2017; Arora, Li and Lyu 2019",
    ("gradient of weights w before a batch norm: product with w", below(1e-12)),
    ("SGD without decay: growth of |w|², difference from lr² Σ |gradient|²", below(1e-9)),
    ("SGD without decay: smallest growth of |w|² in a step", above(0)),
)
def weights_before_batch_norm_grow(backward: Any = tt.batch_norm_backward) -> Measured:
    """Train w of BN(U w), eps = 0: the gradient is orthogonal to w, so each step makes w longer."""
    rng, lr = np.random.default_rng(0), 0.5
    u, target, w = rng.standard_normal((64, 10)), rng.standard_normal((64, 1)), rng.standard_normal((1, 10))
    along, squares, norms = 0.0, 0.0, [np.sum(w * w)]
    for _ in range(50):
        x = u @ w.T
        y, mean, rstd = tt.batch_norm_forward(x, eps=0.0)
        gradient = backward((y - target) / len(u), x, mean, rstd)[0].T @ u
        along = max(along, abs(np.sum(gradient * w)))
        squares += np.sum(gradient**2)
        w = w - lr * gradient
        norms.append(np.sum(w * w))
    return {"measured": [along, abs(norms[-1] - norms[0] - lr**2 * squares), np.diff(norms).min()]}


@companion(
    "LeCun, Bottou, Orr and Müller 1998",
    ("raw input, 0.99 of the rate 2 / λ_max: error after 2,000 steps over that before", at_most(1)),
    ("raw input, 1.01 of the rate 2 / λ_max: error after 2,000 steps over that before", above(1e6)),
    ("raw input, 1.01 of that rate: share of the error along the largest variance", above(0.999999)),
    ("standardized input, 0.99 of the rate 2 / λ_max: error after 2,000 steps over that before", at_most(1)),
    ("standardized input, 1.01 of the rate 2 / λ_max: error after 2,000 steps over that before", above(1e6)),
    ("steps to 1e-6 of the error at the best rate: those of raw over standardized input", above(100)),
)
def standardized_input(update: Any = tt.sgd_update) -> Measured:
    """Descend on linear regression with inputs of standard deviations 1 to 30, before and after."""
    rng, steps = np.random.default_rng(0), 2000
    raw = rng.standard_normal((500, 5)) * np.geomspace(1, 30, 5)
    raw -= raw.mean(axis=0)
    truth = rng.standard_normal(5)

    def errors(x: Array, solution: Array, lr: float, steps: int) -> tuple[Array, Array]:
        """Return the length of the error at each step, and the last error."""
        w, found = np.zeros(5), [np.linalg.norm(solution)]
        for _ in range(steps):
            update(w, x.T @ (x @ (w - solution)) / len(x), lr=lr)
            found.append(np.linalg.norm(w - solution))
        return np.array(found), w - solution

    measured, curves = [], {}
    for name, scale in {"raw": np.ones(5), "standardized": raw.std(axis=0)}.items():
        x, solution = raw / scale, truth * scale
        eigenvalues, vectors = np.linalg.eigh(x.T @ x / len(x))
        stable, _ = errors(x, solution, 0.99 * 2 / eigenvalues[-1], steps)
        unstable, last = errors(x, solution, 1.01 * 2 / eigenvalues[-1], steps)
        measured += [stable[-1] / stable[0], unstable[-1] / unstable[0]]
        if name == "raw":
            measured.append(abs(last @ vectors[:, -1]) / np.linalg.norm(last))
        best, _ = errors(x, solution, 2 / (eigenvalues[0] + eigenvalues[-1]), 10_000)
        small = np.flatnonzero(best < 1e-6 * best[0])
        curves[name] = best[: small[0] + 1 if len(small) else None] / best[0]
    ratio = (len(curves["raw"]) - 1) / (len(curves["standardized"]) - 1)
    return {"measured": [*measured, ratio], **curves}
