"""The gradients of several batches that make one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab._typing import Array
from trimtab.nn.dtypes import compute_dtype
from trimtab.nn.parameter import Parameter


class GradientMean:
    """The weighted mean of the gradients of several batches, in float32 or wider.

    If each gradient is that of a mean over its batch, and each weight the divisor of that mean, the result is
    the gradient of the mean over all batches together.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._means: list[tuple[Parameter, Array]] = [
            (parameter, np.empty(parameter.value.shape, compute_dtype(parameter.value)))
            for parameter in parameters
        ]
        self.clear()

    def clear(self) -> None:
        """Begin with the next batch."""
        self._weight = 0.0
        for _, mean in self._means:
            mean.fill(0)

    def add(self, weight: float) -> None:
        """Add the gradients that the parameters have now."""
        self._weight += weight
        share = weight / self._weight if self._weight else 0.0
        if share == 0:
            return
        with np.errstate(over="ignore", invalid="ignore"):  # the loop looks for Inf and NaN
            for parameter, mean in self._means:
                difference = np.subtract(parameter.grad, mean, dtype=mean.dtype)
                difference *= share
                mean += difference

    def write(self) -> None:
        """Write the means into the gradients of the parameters."""
        for parameter, mean in self._means:
            parameter.grad[...] = mean
