"""Backward passes against central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab._typing import Array


class GradientError(AssertionError):
    """A gradient differs from central differences; the message says where."""


def gradcheck(
    forward: Callable[..., Array],
    backward: Callable[..., Any],
    inputs: Array | Sequence[ArrayLike],
    *,
    tolerance: float = 1e-6,
    step: float = 1e-5,
) -> bool:
    """Compare a backward function with central differences in float64.

    With a fixed random ``dy``, each element of each input is moved by ``h = step * max(1, |x|)`` both ways
    and ``(sum(dy * forward(x + h)) - sum(dy * forward(x - h))) / 2h`` is compared with ``backward(dy,
    *inputs)``.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> y``, an array.
    backward : callable
        ``backward(dy, *inputs) ->`` the gradients: one array for one input, else a sequence with one for each
        input, None where there is none to check.
    inputs : numpy.ndarray or sequence of array_like
        Converted to float64. Small ones: every element costs
        two forward passes. Keep away from kinks.
    tolerance : float
        Largest difference allowed, relative to the largest central difference of that input (at least 1).
    step : float
        Of the differences. The error is about ``step**2`` from curvature and ``1e-16 / step`` from rounding.

    Returns
    -------
    bool
        True.

    Raises
    ------
    GradientError
        If a gradient is wrong, or not finite.
    ValueError
        If there are not as many gradients as inputs, or one has another shape than its input.

    Examples
    --------
    >>> import numpy as np
    >>> gradcheck(np.sin, lambda dy, x: dy * np.cos(x), np.linspace(-1, 1, 5))
    True
    """
    listed = [inputs] if isinstance(inputs, np.ndarray) else inputs
    arrays = [np.array(array, np.float64) for array in listed]
    dy = np.random.default_rng(0).standard_normal(np.shape(forward(*arrays)))
    gradients = backward(dy, *(array.copy() for array in arrays))
    if isinstance(gradients, np.ndarray):
        gradients = (gradients,)
    if len(gradients) != len(arrays):
        raise ValueError(f"gradcheck: backward must return {len(arrays)} gradients, got {len(gradients)}")

    for position, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        if gradient is None:
            continue
        if np.shape(gradient) != array.shape:
            raise ValueError(
                f"gradcheck: gradient {position} must have shape {array.shape}, got {np.shape(gradient)}"
            )
        expected = _central_differences(lambda: float(np.sum(dy * forward(*arrays))), array, step)
        error = np.abs(gradient - expected)
        bound = tolerance * max(1.0, np.abs(expected).max(initial=0.0))
        # NaN compares false with everything, so it counts as wrong
        wrong = ~(error <= bound)
        if wrong.any():
            index = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), array.shape)
            place = tuple(map(int, index))
            raise GradientError(
                f"gradcheck: gradient {position} must be {expected[index]:.9g} at {place}, "
                f"got {gradient[index]:.9g}; {wrong.sum()} of {wrong.size} are off by over {bound:.1g}"
            )
    return True


def _central_differences(function: Callable[[], float], array: Array, step: float) -> Array:
    """Return the derivative of `function`, which reads `array`, with respect to each element."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = float(array[index])
        ends = value + step * max(1.0, abs(value)), value - step * max(1.0, abs(value))
        results = []
        for array[index] in ends:
            results.append(function())
        array[index] = value
        slopes[index] = (results[0] - results[1]) / (ends[0] - ends[1])
    return slopes
