"""`gradcheck` compares a backward function with central differences; `trimtab.nn.gradcheck` a whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._inputs import real_array
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

    With a fixed random ``dy``, each element of each input is moved by ``h = step * max |x|``, of that input,
    both ways, and ``sum(dy * (forward(x + h) - forward(x - h))) / 2h`` is compared with ``backward(dy,
    *inputs)``, element by element. What is right or wrong is so at any scale of values and gradients.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> y``, an array.
    backward : callable
        ``backward(dy, *inputs) ->`` the gradients: one array for one input, else a sequence with one for each
        input, None where there is none to check.
    inputs : numpy.ndarray or sequence of array_like
        Converted to float64. Small ones: every element costs two forward passes. Keep away from kinks. The h
        of an input that is all 0 is ``step`` times the largest value of the others, or ``step``.
    tolerance : float
        Largest difference allowed, relative to the central difference of that element; more only by what
        rounding makes uncertain in it, and curvature, this by so much of the largest of the input at most.
    step : float
        Of the differences, > 0. The error is about ``step**2`` from curvature and ``1e-16 / step`` from
        rounding.

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
    tolerance = _checks.number("gradcheck: tolerance", tolerance, 0)
    step = _checks.number("gradcheck: step", step, above=0)
    listed = [inputs] if isinstance(inputs, np.ndarray) else inputs
    arrays = [
        np.array(real_array(f"gradcheck: inputs[{position}]", array), np.float64)
        for position, array in enumerate(listed)
    ]
    y = np.array(forward(*arrays), np.float64)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    of_sum = UNITS * EPSILON * np.sum(np.abs(dy * y))  # what rounding may be in sum(dy * y)
    gradients = backward(dy, *(array.copy() for array in arrays))
    if isinstance(gradients, np.ndarray):
        gradients = (gradients,)
    if len(gradients) != len(arrays):
        raise ValueError(f"gradcheck: backward must return {len(arrays)} gradients, got {len(gradients)}")

    largest = [float(np.abs(array).max(initial=0.0)) for array in arrays]
    for position, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        if gradient is None:
            continue
        if np.shape(gradient) != array.shape:
            raise ValueError(
                f"gradcheck: gradient {position} must have shape {array.shape}, got {np.shape(gradient)}"
            )
        gradient = np.asarray(gradient, np.float64)
        length = largest[position] or max(largest) or 1.0
        h = step * length
        expected, rounding = _central_differences(forward, dy, arrays, array, h, np.full(array.shape, True))
        rounding += of_sum / length
        error = np.abs(gradient - expected)
        bound = tolerance * np.abs(expected) + rounding
        # NaN compares false with everything, so it counts as wrong
        wrong = ~(error <= bound)
        if wrong.any():
            farther, _ = _central_differences(forward, dy, arrays, array, 2 * h, wrong)
            largest_slope = np.abs(expected).max(initial=0.0)
            bound[wrong] += np.minimum(np.abs(farther - expected), tolerance * largest_slope)[wrong]
            wrong = ~(error <= bound)
        if wrong.any():
            index = np.unravel_index(np.argmax(_excess(error, bound)), array.shape)
            place = tuple(map(int, index))
            raise GradientError(
                f"gradcheck: gradient {position} must be {expected[index]:.9g} at {place}, "
                f"got {gradient[index]:.9g}; {wrong.sum()} of {wrong.size} are off by more than "
                f"{tolerance:.1g} of them"
            )
    return True


EPSILON = float(np.finfo(np.float64).eps)
UNITS = 64.0  # in the last place, by which a value may be wrong


def _excess(error: Array, bound: Array) -> Array:
    """How often the error is beyond the bound; infinite where it is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(error / bound, nan=np.inf, posinf=np.inf)


def _central_differences(
    function: Callable[..., Array], dy: Array, arrays: list[Array], array: Array, h: float, where: Array
) -> tuple[Array, Array]:
    """Return the slopes of ``sum(dy * function(*arrays))`` in an array, and what rounding may add to them."""
    slopes, rounding = np.zeros_like(array), np.zeros_like(array)
    for index in map(tuple, np.argwhere(where)):
        value = float(array[index])
        ends = value + h, value - h
        results = []
        for array[index] in ends:
            results.append(np.array(function(*arrays), np.float64))
        array[index] = value
        above, below = results
        width = ends[0] - ends[1]
        slopes[index] = np.sum(dy * (above - below)) / width
        touched = np.abs(dy) * (np.abs(above) + np.abs(below)) * (above != below)
        rounding[index] = UNITS * EPSILON * np.sum(touched) / width
    return slopes, rounding
