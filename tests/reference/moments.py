"""What the norms share: statistics over some axes, and the gradient through them."""

from typing import NamedTuple

import numpy as np

from reference.axes import wide


class Normalized(NamedTuple):
    y: np.ndarray
    mean: np.ndarray
    rstd: np.ndarray


class NormGradients(NamedTuple):
    dx: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray


def reciprocal_root(spread):
    """1 / sqrt(spread), or 0 where spread is 0."""
    return np.divide(1, np.sqrt(spread), out=np.zeros_like(spread), where=np.not_equal(spread, 0))


def standardize(x, axes, eps, centered=True):
    """xhat = (x - mean) * rstd, mean and rstd = 1 / sqrt(var + eps) over `axes`, which keep length 1.

    Squares may exceed the range of float64, so x is first divided by a power of two, which is exact.
    """
    largest = np.abs(x).max(axes, keepdims=True, initial=0)
    size = np.where(np.isfinite(largest), np.maximum(largest, np.sqrt(eps)), 1)
    exponent = np.clip(np.frexp(size)[1], -1000, 1000)
    scaled = np.ldexp(x, -exponent)
    mean = np.zeros_like(largest)
    for _ in range(2 if centered else 0):  # the second round adds what the first lost to rounding
        mean = mean + (scaled - mean).mean(axes, keepdims=True)
    var = np.square(scaled - mean).mean(axes, keepdims=True)
    scaled_rstd = reciprocal_root(var + np.ldexp(eps, -2 * exponent))
    # The scaled eps underflows where large values are equal; rstd is 1 / sqrt(eps) all the same.
    rstd = np.where(var == 0, reciprocal_root(np.full_like(var, eps)), np.ldexp(scaled_rstd, -exponent))
    return (scaled - mean) * scaled_rstd, np.ldexp(mean, exponent), rstd


def affine(xhat, gamma, beta):
    """xhat * gamma + beta"""
    return xhat * (1 if gamma is None else wide(gamma)) + (0 if beta is None else wide(beta))


def through_statistics(h, xhat, rstd, axes):
    """dx = rstd * (h - mean(h) - xhat * mean(h * xhat)), where `h` is the gradient with respect to xhat."""
    return rstd * (h - h.mean(axes, keepdims=True) - xhat * (h * xhat).mean(axes, keepdims=True))
