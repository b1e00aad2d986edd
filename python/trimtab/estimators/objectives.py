"""What the estimators minimize: losses of the net's output, and what they predict from it.

Losses and gradients are those of scikit-learn's nets, means over the samples of a batch with weights w::

    softmax    -Σ_k t_k log p_k,  p = softmax(z)             gradient  w (p - t) / Σ w
    logistic   -Σ_k t_k log p_k + (1 - t_k) log(1 - p_k),    gradient  w (p - t) / Σ w
               p = 1 / (1 + exp(-z))
    squared    mean_k (z_k - t_k)² / 2                       gradient  w (z - t) / Σ w
    poisson    Σ_k t_k log(t_k / μ_k) - t_k + μ_k,           gradient  w (μ - t) / Σ w
               μ = exp(z)

The gradient of the squared error is that of the sum over the outputs, not of their mean. That of Poisson is
half the deviance.
"""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

import trimtab._core as kernels
from trimtab._typing import Array


class Objective:
    """A loss and the predictions that go with it. Outputs of the net are (N, K)."""

    activation: str  # its name in scikit-learn

    def __call__(self, output: Array, target: Array, weight: Array | None) -> tuple[float, Array]:
        """Return the mean loss of a batch, and its gradient with respect to the output."""
        losses, gradient = self.of_samples(output, target)
        if weight is None:
            gradient /= len(output)
            return float(np.mean(losses, dtype=np.float64)), gradient
        total = weight.sum()
        gradient *= (weight / total)[:, None]
        return float(losses @ weight / total), gradient

    def of_samples(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return the losses of the samples (N,), and their gradients (N, K)."""
        raise NotImplementedError

    def predictions(self, output: Array) -> Array:
        """Return probabilities or predicted values (N, K)."""
        return output

    def log_predictions(self, output: Array) -> Array:
        """Return the logarithms of the probabilities."""
        raise NotImplementedError


class Softmax(Objective):
    """Cross entropy of class ids (N,) under the softmax of the outputs."""

    activation = "softmax"

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def of_samples(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return the losses of the samples (N,), and their gradients (N, K)."""
        return kernels.softmax_cross_entropy(
            output, target, label_smoothing=self.label_smoothing, reduction="none"
        )

    def predictions(self, output: Array) -> Array:
        """Return the probabilities of the classes."""
        return kernels.softmax(output)

    def log_predictions(self, output: Array) -> Array:
        """Return the logarithms of the probabilities."""
        return kernels.log_softmax(output)


class Logistic(Objective):
    """Cross entropy of labels 0 or 1 (N, K), each by itself: two classes (K = 1), or many labels at once."""

    activation = "logistic"

    def __init__(self, label_smoothing: float) -> None:
        self.label_smoothing = label_smoothing

    def of_samples(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return the losses of the samples (N,), and their gradients (N, K)."""
        losses, gradient = kernels.binary_cross_entropy(
            output, target, label_smoothing=self.label_smoothing, reduction="none"
        )
        return losses.sum(axis=1), gradient

    def predictions(self, output: Array) -> Array:
        """Return the probabilities of the labels."""
        return kernels.sigmoid(output)

    def log_predictions(self, output: Array) -> Array:
        """Return the logarithms of the probabilities."""
        logarithms: Array = -np.logaddexp(0, -output)
        return logarithms


class Squared(Objective):
    """Half the squared error of values (N, K)."""

    activation = "identity"

    def of_samples(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return the losses of the samples (N,), and their gradients (N, K)."""
        difference = output - target
        return np.einsum("nk,nk->n", difference, difference) * (0.5 / output.shape[1]), difference


class Poisson(Objective):
    """Half the deviance of Poisson from counts or rates >= 0 (N, K), of which the outputs are logarithms."""

    activation = "exp"

    def of_samples(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return the losses of the samples (N,), and their gradients (N, K)."""
        difference = np.exp(output) - target
        losses = xlogy(target, target) - target * output + difference
        return losses.sum(axis=1), difference

    def predictions(self, output: Array) -> Array:
        """Return the predicted values."""
        values: Array = np.exp(output)
        return values
