"""What normalization computes: its formula, its limits, its statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

import trimtab as tt
from trimtab._typing import Array
from trimtab.lab.companions.companion import Measured, companion
from trimtab.lab.experiment import above, at_most, below
from trimtab.whitening import whiten_forward


def largest(*differences: Array) -> float:
    """Return the largest absolute value of several arrays."""
    return max(float(np.abs(one).max()) for one in differences)


@companion(
    "Ioffe and Szegedy 2015, algorithm 1",
    ("batch norm: difference from (x - mean) / sqrt(mean (x - mean)² + eps)", below(1e-12)),
    ("batch norm: difference from a form with eps outside of the root", above(0.1)),
    ("batch norm: difference from a form with the square outside of the mean", above(0.1)),
)
def formula_of_batch_norm(forward: Any = tt.batch_norm_forward) -> Measured:
    """Normalize channels whose variances are above and below eps."""
    eps = 1e-3
    x = np.random.default_rng(0).standard_normal((64, 4)) * [1e-3, 1e-2, 1e-1, 10] + 5
    y = forward(x, eps=eps)[0]
    centered = x - x.mean(axis=0)
    var = np.mean(centered**2, axis=0)
    roots = np.sqrt(var + eps), np.sqrt(var) + eps, np.sqrt(np.mean(centered, axis=0) ** 2 + eps)
    return {"measured": [largest(y - centered / root) for root in roots]}


@companion(
    "Ioffe and Szegedy 2015, section 3.3",
    ("BN(a W u) - BN(W u), eps = 0", below(1e-12)),
    ("a times the gradient of a W, difference from the gradient of W", below(1e-12)),
)
def scale_of_weights(
    forward: Any = tt.batch_norm_forward, backward: Any = tt.batch_norm_backward
) -> Measured:
    """Multiply the weights before a batch norm by a = 100."""
    rng, a = np.random.default_rng(0), 100.0
    u, w, dy = rng.standard_normal((32, 8)), rng.standard_normal((4, 8)), rng.standard_normal((32, 4))

    def output_and_gradient(weight: Array) -> tuple[Array, Array]:
        x = u @ weight.T
        y, mean, rstd = forward(x, eps=0.0)
        return y, backward(dy, x, mean, rstd)[0].T @ u

    (y, gradient), (scaled_y, scaled_gradient) = output_and_gradient(w), output_and_gradient(a * w)
    return {"measured": [largest(scaled_y - y), largest(a * scaled_gradient - gradient)]}


@companion(
    "Ioffe and Szegedy 2015, section 3",
    ("batch norm with gamma = sd and beta = mean: difference from the input", below(1e-12)),
)
def gamma_and_beta_give_the_input(forward: Any = tt.batch_norm_forward) -> Measured:
    """Undo the normalization by gamma = sqrt(var + eps) and beta = mean."""
    x, eps = np.random.default_rng(0).gamma(2, 3, (32, 5)), 1e-3
    y = forward(x, np.sqrt(x.var(axis=0) + eps), x.mean(axis=0), eps=eps)[0]
    return {"measured": [largest(y - x)]}


@companion(
    "Ioffe and Szegedy 2015, section 3",
    ("sd of the mean of m values over sd / sqrt(m), m = 4 .. 256: difference from 1", below(0.03)),
)
def noise_of_batch_statistics(moments: Any = tt.batch_moments) -> Measured:
    """Take the means of batches of several sizes from one distribution, each of 8,000 channels."""
    rng, sd, sizes = np.random.default_rng(0), 3.0, [4, 16, 64, 256]
    spreads = [float(np.std(moments(sd * rng.standard_normal((m, 8000)))[0])) for m in sizes]
    ratios = np.array(spreads) * np.sqrt(sizes) / sd
    return {"measured": [largest(ratios - 1)], "sizes": sizes, "spreads": spreads, "sd": sd}


@companion(
    "Huang, Yang, Lang and Deng 2018",
    ("whitening: covariance of the output, difference from the identity", below(1e-9)),
    ("batch norm: covariance of the output, difference from the identity", above(0.1)),
)
def covariance_after_whitening(
    whiten: Any = whiten_forward, batch_norm: Any = tt.batch_norm_forward
) -> Measured:
    """Whiten 6 correlated channels of 500 values."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6)) + 3

    def from_identity(y: Array) -> float:
        return largest(np.cov(y.T, bias=True) - np.eye(6))

    return {"measured": [from_identity(norm(x, eps=0.0)[0]) for norm in (whiten, batch_norm)]}


@companion(
    "Ioffe 2017; Hoffer, Hubara and Soudry 2017; Wu and He 2018; Peng et al. 2018",
    ("batch renorm with r_max = 1, d_max = 0: difference from batch norm", below(1e-12)),
    ("batch norm with one ghost batch: difference from batch norm", below(1e-12)),
    ("group norm with one group: difference from layer norm of the sample", below(1e-12)),
    ("batch norm of three uneven parts that share sums: difference from batch norm", below(1e-12)),
)
def limits_of_the_norms(
    renorm: Any = tt.batch_renorm_forward,
    batch_norm: Any = tt.batch_norm_forward,
    group_norm: Any = tt.group_norm_forward,
    combine: Any = tt.combine_moments,
) -> Measured:
    """Compare output and gradient of each variant with those of its plain form."""
    rng, eps = np.random.default_rng(0), 1e-5
    x, dy = rng.standard_normal((12, 6, 5)) + 2, rng.standard_normal((12, 6, 5))
    y, mean, rstd = tt.batch_norm_forward(x, eps=eps)
    dx = tt.batch_norm_backward(dy, x, mean, rstd)[0]

    running = {"running_mean": np.zeros(6), "running_std": np.full(6, 3.0)}
    renormed = renorm(x, **running, r_max=1.0, d_max=0.0, eps=eps)
    renormed_dx = tt.batch_renorm_backward(dy, x, *renormed[1:])[0]

    ghost, ghost_mean, ghost_rstd = batch_norm(x, virtual_batch_size=12, eps=eps)
    ghost_dx = tt.batch_norm_backward(dy, x, ghost_mean, ghost_rstd, virtual_batch_size=12)[0]

    grouped, group_mean, group_rstd = group_norm(x, 1, eps=eps)
    grouped_dx = tt.group_norm_backward(dy, x, group_mean, group_rstd, 1)[0]
    flat, flat_dy = x.reshape(12, -1), dy.reshape(12, -1)
    layered, layer_mean, layer_rstd = tt.layer_norm_forward(flat, eps=eps)
    layered_dx = tt.layer_norm_backward(flat_dy, flat, layer_mean, layer_rstd)[0]

    parts = [slice(0, 2), slice(2, 7), slice(7, 12)]
    means, variances, counts = zip(*(tt.batch_moments(x[part]) for part in parts), strict=True)
    all_mean, all_var, count = combine(np.array(means), np.array(variances), np.array(counts))
    all_rstd = 1 / np.sqrt(all_var + eps)
    synced = [tt.batch_norm_apply(x[part], all_mean, all_rstd) for part in parts]
    sums = [tt.batch_norm_backward_sums(dy[part], x[part], all_mean, all_rstd) for part in parts]
    sum_dy, sum_dy_xhat = (np.sum(one, axis=0) for one in zip(*sums, strict=True))
    synced_dx = [
        tt.batch_norm_backward_apply(dy[part], x[part], all_mean, all_rstd, None, sum_dy, sum_dy_xhat, count)
        for part in parts
    ]
    return {
        "measured": [
            largest(renormed[0] - y, renormed_dx - dx),
            largest(ghost - y, ghost_dx - dx),
            largest(grouped.reshape(12, -1) - layered, grouped_dx.reshape(12, -1) - layered_dx),
            largest(np.concatenate(synced) - y, np.concatenate(synced_dx) - dx),
        ]
    }


@companion(
    "Ba, Kiros and Hinton 2016",
    ("layer norm: change of a sample's output with the other samples", at_most(0)),
    ("batch norm: change of a sample's output with the other samples", above(0.1)),
)
def a_sample_and_its_batch(
    layer_norm: Any = tt.layer_norm_forward, batch_norm: Any = tt.batch_norm_forward
) -> Measured:
    """Normalize a sample in two batches."""
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((8, 16))
    other = np.concatenate([batch[:1], 5 + rng.standard_normal((20, 16))])

    changes = [norm(batch)[0][0] - norm(other)[0][0] for norm in (layer_norm, batch_norm)]
    return {"measured": [*map(largest, changes)]}
