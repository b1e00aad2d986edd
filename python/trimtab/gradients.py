"""`gradcheck` compares a backward function with central differences; `trimtab.nn.gradcheck` a whole model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._inputs import real_array
from trimtab._typing import Array

EPSILON = float(np.finfo(np.float64).eps)
ROUNDING_UNITS = 64.0  # the assumed error of a value of forward, in units of its last place


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

    For a fixed random ``dy``, ``backward(dy, *inputs)`` is compared with
    ``sum(dy * (forward(x + h) - forward(x - h))) / 2h``, one element of one input x at a time, where
    ``h = step * max |x|`` over that input. The result does not depend on the scale of values and gradients.
    `trimtab.nn.gradcheck` checks a model.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs) -> y``, an array.
    backward : callable
        ``backward(dy, *inputs) -> gradients``: one array for one input, otherwise a sequence with a gradient
        for each input, None for those not to check.
    inputs : numpy.ndarray or sequence of array_like
        Converted to float64. Use small ones: every element costs two forward passes. Stay away from kinks. If
        an input is all zeros, h is ``step`` times the largest value of the others, or ``step``.
    tolerance : float
        Largest difference allowed, relative to the central difference of the element. The bound also allows
        for the rounding error of the difference, and for the curvature of ``forward``: up to `tolerance`
        times the largest central difference of the input.
    step : float
        Relative step of the differences, > 0. Their relative error is about ``step**2`` from curvature and
        ``1e-16 / step`` from rounding.

    Returns
    -------
    bool
        True.

    Raises
    ------
    GradientError
        If a gradient is wrong, or not finite.
    ValueError
        If the number of gradients is not that of the inputs, or a gradient does not have the shape of its
        input.

    Examples
    --------
    >>> import numpy as np, trimtab as tt
    >>> tt.gradcheck(np.sin, lambda dy, x: dy * np.cos(x), np.linspace(-1, 1, 5))
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
    rounding = ROUNDING_UNITS * EPSILON * np.sum(np.abs(dy * y))  # of sum(dy * y)
    gradients = backward(dy, *(array.copy() for array in arrays))
    if isinstance(gradients, np.ndarray):
        gradients = (gradients,)
    if len(gradients) != len(arrays):
        raise ValueError(f"gradcheck: backward must return {len(arrays)} gradients, got {len(gradients)}")

    largest = [float(np.abs(array).max(initial=0.0)) for array in arrays]
    for position, gradient in enumerate(gradients):
        if gradient is None:
            continue
        name, shape = f"gradcheck: gradient {position}", arrays[position].shape
        if np.shape(gradient) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {np.shape(gradient)}")
        gradient = np.asarray(gradient, np.float64)
        differences = partial(_central_differences, forward, dy, arrays, arrays[position])
        scale = largest[position] or max(largest) or 1.0
        _require_equal(name, gradient, differences, step * scale, rounding / scale, tolerance)
    return True


def _require_equal(
    name: str,
    gradient: Array,
    differences: Callable[[float, Array], tuple[Array, Array]],
    h: float,
    rounding: float,
    tolerance: float,
) -> None:
    """Raise a GradientError unless a gradient equals the central differences of step h.

    `rounding` is the rounding error that all of them have, in addition to their own.
    """
    expected, own_rounding = differences(h, np.full(gradient.shape, True))
    error = np.abs(gradient - expected)
    bound = tolerance * np.abs(expected) + (own_rounding + rounding)
    # NaN compares false with everything, so it counts as wrong
    wrong = ~(error <= bound)
    if wrong.any():  # allow for curvature, by how much differences of twice the step differ
        of_twice_the_step, _ = differences(2 * h, wrong)
        curvature = np.abs(of_twice_the_step - expected)
        largest = np.abs(expected).max(initial=0.0)
        bound[wrong] += np.minimum(curvature, tolerance * largest)[wrong]
        wrong = ~(error <= bound)
    if wrong.any():
        index = np.unravel_index(np.argmax(_excess(error, bound)), gradient.shape)
        place = tuple(map(int, index))
        raise GradientError(
            f"{name} must be {expected[index]:.9g} at {place}, got {gradient[index]:.9g}; "
            f"{wrong.sum()} of {wrong.size} are off by more than {tolerance:.1g} of them"
        )


def _excess(error: Array, bound: Array) -> Array:
    """Return the errors as multiples of the bounds; infinite where an error is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(error / bound, nan=np.inf, posinf=np.inf)


def _central_differences(
    function: Callable[..., Array], dy: Array, arrays: list[Array], array: Array, h: float, where: Array
) -> tuple[Array, Array]:
    """Differentiate ``sum(dy * function(*arrays))`` by elements of one of the arrays.

    Returns the slopes and the bounds of their rounding errors, both of the array's shape.
    """
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
        changed = np.abs(dy) * (np.abs(above) + np.abs(below)) * (above != below)
        rounding[index] = ROUNDING_UNITS * EPSILON * np.sum(changed) / width
    return slopes, rounding
