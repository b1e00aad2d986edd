"""The net of an estimator, with initial weights like those of scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from trimtab import nn

ACTIVATIONS: dict[str, type[nn.Module] | None] = {
    "identity": None,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
WIDTH_OF_GROUP = 16  # the least number of units that share statistics, as in Wu and He 2018


def group_norm(width: int, *, dtype: DTypeLike) -> nn.Module:
    """Return a group norm of as many groups as there can be of 16 units or more each."""
    groups = max(count for count in range(1, max(1, width // WIDTH_OF_GROUP) + 1) if width % count == 0)
    return nn.GroupNorm(groups, width, dtype=dtype)


NORMALIZATIONS: dict[str, Callable[..., nn.Module]] = {
    "batch": nn.BatchNorm,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
    "group": group_norm,
}


def linear(
    inputs: int, outputs: int, logistic: bool, rng: np.random.RandomState, dtype: DTypeLike
) -> nn.Linear:
    """Return a layer whose weight and bias are uniform (Glorot and Bengio 2010), drawn as scikit-learn does.

    The bound is ``sqrt(6 / (inputs + outputs))``, for logistic units ``sqrt(2 / (inputs + outputs))``.
    """
    bound = np.sqrt((2.0 if logistic else 6.0) / (inputs + outputs))
    layer = nn.Linear(inputs, outputs, rng=0, dtype=dtype)
    layer.weight.value = rng.uniform(-bound, bound, (inputs, outputs)).T
    if layer.bias is not None:
        layer.bias.value = rng.uniform(-bound, bound, outputs)
    return layer


def network(
    units: Sequence[int],
    *,
    activation: str,
    normalization: str | None,
    dropout: float,
    input_dropout: float,
    rng: np.random.RandomState,
    dtype: DTypeLike,
) -> nn.Sequential:
    """Return dropout of the inputs, hidden layers (linear, norm, activation, dropout) and a linear layer.

    Parameters
    ----------
    units : sequence of int
        Numbers of inputs, of the units of each hidden layer, and of outputs.
    activation, normalization, dropout, input_dropout
        As for the estimators.
    rng : numpy.random.RandomState
        Source of the initial weights.
    dtype : dtype_like
        Of the parameters, and of the samples.
    """
    layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
    for inputs, outputs in pairwise(units[:-1]):
        layers.append(linear(inputs, outputs, activation == "logistic", rng, dtype))
        if normalization is not None:
            layers.append(NORMALIZATIONS[normalization](outputs, dtype=dtype))
        if (nonlinearity := ACTIVATIONS[activation]) is not None:
            layers.append(nonlinearity())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, linear(units[-2], units[-1], activation == "logistic", rng, dtype))
