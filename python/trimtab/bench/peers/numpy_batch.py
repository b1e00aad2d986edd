"""NumPy for what extends batch norm: parts of it, renormalization, whitening, folding."""

from __future__ import annotations

import numpy as np

from trimtab._typing import Array
from trimtab.bench.cases import Inputs
from trimtab.bench.peers.library import Call, Library


class BatchStatistics(Library):
    """Expressions on whole arrays."""

    def batch_norm_apply(self, i: Inputs) -> Call:
        mean, rstd, gamma, beta = (np.expand_dims(a, i.others) for a in (i.mean, i.var, i.gamma, i.beta))
        return lambda: (i.x - mean) * (rstd * gamma) + beta

    def batch_norm_backward_sums(self, i: Inputs) -> Call:
        mean, rstd = (np.expand_dims(a, i.others) for a in (i.mean, i.var))
        return lambda: (i.dy.sum(axis=i.others), (i.dy * (i.x - mean) * rstd).sum(axis=i.others))

    def batch_norm_backward_apply(self, i: Inputs) -> Call:
        channels = i.mean, i.var, i.gamma, i.beta, i.mean
        mean, rstd, gamma, sum_dy, sum_dy_xhat = (np.expand_dims(a, i.others) for a in channels)
        count = i.x.size // i.channels
        return lambda: gamma * rstd * (i.dy - sum_dy / count - (i.x - mean) * rstd * (sum_dy_xhat / count))

    def renormalized(self, i: Inputs) -> tuple[Array, Array, Array, Array]:
        """Return mean, rstd, r and d of batch renormalization."""
        mean, std = i.x.mean(axis=i.others), np.sqrt(i.x.var(axis=i.others) + i.eps)
        return mean, 1 / std, std / i.var, (mean - i.mean) / i.var

    def batch_renorm_forward(self, i: Inputs) -> Call:
        gamma, beta = (np.expand_dims(a, i.others) for a in (i.gamma, i.beta))

        def call() -> Array:
            mean, rstd, r, d = (np.expand_dims(a, i.others) for a in self.renormalized(i))
            y: Array = ((i.x - mean) * rstd * r + d) * gamma + beta
            return y

        return call

    def batch_renorm_backward(self, i: Inputs) -> Call:
        gamma = np.expand_dims(i.gamma, i.others)
        mean, rstd, r, d = (np.expand_dims(a, i.others) for a in self.renormalized(i))

        def call() -> tuple[Array, Array, Array]:
            xhat, h = (i.x - mean) * rstd, i.dy * gamma
            inner = (h * xhat).mean(axis=i.others, keepdims=True)
            dx = r * rstd * (h - h.mean(axis=i.others, keepdims=True) - xhat * inner)
            return dx, (i.dy * (xhat * r + d)).sum(axis=i.others), i.dy.sum(axis=i.others)

        return call

    def whitening(self, i: Inputs) -> tuple[Array, Array, Array]:
        """Return the centered values (C, m), the eigenvalues and the eigenvectors of their covariance."""
        x = np.moveaxis(i.x, i.axis, 0).reshape(i.channels, -1)
        centered = x - x.mean(axis=1, keepdims=True)
        covariance = centered @ centered.T / x.shape[1] + i.eps * np.eye(i.channels, dtype=x.dtype)
        return centered, *np.linalg.eigh(covariance)

    def of_channels(self, i: Inputs, values: Array) -> Array:
        """Reshape (C, m) to the shape of x."""
        return np.moveaxis(values.reshape(np.moveaxis(i.x, i.axis, 0).shape), 0, i.axis)

    def whiten_forward(self, i: Inputs) -> Call:
        def call() -> Array:
            centered, values, vectors = self.whitening(i)
            return self.of_channels(i, vectors / np.sqrt(values) @ vectors.T @ centered)

        return call

    def whiten_backward(self, i: Inputs) -> Call:
        centered, values, vectors = self.whitening(i)

        def call() -> Array:
            g = np.moveaxis(i.dy, i.axis, 0).reshape(i.channels, -1)
            a, product = np.sqrt(values)[:, None], g @ centered.T
            turned = vectors.T @ ((product + product.T) / 2) @ vectors
            dcovariance = vectors @ (-turned / (a * a.T * (a + a.T))) @ vectors.T
            dx = vectors / a.T @ vectors.T @ g + 2 / centered.shape[1] * dcovariance @ centered
            return self.of_channels(i, dx - dx.mean(axis=1, keepdims=True))

        return call

    def fold_batch_norm(self, i: Inputs) -> Call:
        """`x` is the weight, with the output channels along its first axis."""
        others = tuple(range(1, i.x.ndim))

        def call() -> tuple[Array, Array]:
            scale = i.gamma / np.sqrt(i.var + i.eps)
            return i.x * np.expand_dims(scale, others), (i.bias - i.mean) * scale + i.beta

        return call
