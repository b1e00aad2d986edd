"""Norms as data, and checks of their accuracy against the specification.

A `Norm` gives the unit of each value (a unit: values that share a statistic) and the axes of the parameters.
Norms differ in nothing else here, so one check serves all of them.
"""

from typing import NamedTuple

import ml_dtypes
import numpy as np
import reference
import trimtab as tt
from helpers.strategies import overlapping, shapes
from hypothesis import assume
from hypothesis import strategies as st

# Errors relative to the sum of magnitudes: of dx; of the parameter gradients, four roundings of each term.
DX_ERROR = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 0}
SUM_ERROR = {np.dtype(np.float32): 2.0**-22, np.dtype(np.float64): 0}
# Error of saved statistics, two ulps (a single outlier that dominates a variance comes near): of the
# mean in standard deviations, of rstd relative to it. Results may be off by a quarter of it in addition to
# their own roundings.
STATISTIC_ERROR = {np.dtype(np.float32): 2.0**-22, np.dtype(np.float64): 0}
# The error of float64 arithmetic, relative to the largest term of a sum.
FLOAT64_ERROR = 2.0**-48


class Norm(NamedTuple):
    name: str
    shape: tuple[int, ...]
    statistic: np.ndarray  # the number of the unit of each value, of x's shape
    statistic_shape: tuple[int, ...]
    parameter_axes: tuple[int, ...]
    options: dict

    def __str__(self):
        return f"{self.name}-{'x'.join(map(str, self.shape))}-{self.options}"

    @property
    def parameter_shape(self):
        return tuple(self.shape[axis] for axis in self.parameter_axes)

    def spread(self, statistics):
        """The statistic of each value, of x's shape."""
        return statistics.ravel()[self.statistic]

    def mean(self, values):
        """The mean of each unit, of x's shape."""
        numbers = self.statistic.ravel()
        return (np.bincount(numbers, values.ravel()) / np.bincount(numbers))[self.statistic]

    def var(self, x):
        """The variance of each unit, of x's shape; exactly 0 of equal values."""
        values = reference.wide(x)
        first = values.ravel()[np.unique(self.statistic, return_index=True)[1]]
        shifted = values - first[self.statistic]
        return self.mean(np.square(shifted - self.mean(shifted)))


def norm_over(axes, name, shape, parameter_axes, options):
    """A norm whose units are the values over `axes`."""
    kept = reference.others(axes, len(shape))
    statistic_shape = tuple(shape[axis] for axis in kept)
    numbers = np.arange(np.prod(statistic_shape, dtype=int)).reshape(statistic_shape)
    statistic = np.broadcast_to(np.expand_dims(numbers, axes), shape)
    return Norm(name, shape, statistic, statistic_shape, parameter_axes, options)


def layer_norm(shape, axis=-1):
    axes = reference.as_axes(axis, len(shape))
    return norm_over(axes, "layer_norm", shape, axes, {"axis": axis})


def batch_norm(shape, axis=1):
    channel = axis % len(shape)
    return norm_over(reference.others(axis, len(shape)), "batch_norm", shape, (channel,), {"axis": axis})


def instance_norm(shape, axis=1):
    channel = axis % len(shape)
    over = reference.others((0, channel), len(shape))
    return norm_over(over, "instance_norm", shape, (channel,), {"axis": axis})


def group_norm(shape, num_groups, axis=1):
    channel, samples = axis % len(shape), shape[0]
    group = np.arange(shape[channel]) // (shape[channel] // num_groups)
    statistic = reference.along(group, channel, len(shape)) + reference.along(
        np.arange(samples) * num_groups, 0, len(shape)
    )
    statistic = np.broadcast_to(statistic.astype(int), shape)
    options = {"num_groups": num_groups, "axis": axis}
    return Norm("group_norm", shape, statistic, (samples, num_groups), (channel,), options)


# Many and few channels, long and tiny planes, channels first and last.
BATCH_NORMS = [
    batch_norm((9, 67)),
    batch_norm((2, 300)),
    batch_norm((300, 3)),
    batch_norm((8, 37, 1, 1)),
    batch_norm((5, 33, 2, 2)),
    batch_norm((3, 70, 7, 7)),
    batch_norm((2, 5, 28, 29)),
    batch_norm((3, 7, 7, 70), axis=-1),
    batch_norm((2, 28, 29, 5), axis=3),
    batch_norm((70, 9), axis=0),
    batch_norm((3, 4, 5), axis=1),
    batch_norm((2, 3, 4, 5, 6), axis=-4),
    batch_norm((2, 3, 4, 5, 6), axis=2),
]


@st.composite
def layer_norms(draw):
    """A norm over any axes, in any order and of any sign."""
    shape = draw(shapes())
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    signed = tuple(draw(st.sampled_from([axis, axis - len(shape)])) for axis in axes)
    return layer_norm(shape, draw(st.sampled_from([signed, signed[0]])) if len(signed) == 1 else signed)


@st.composite
def batch_norms(draw):
    """A batch norm over any channel axis, with at least two values per channel."""
    shape = draw(shapes(max_dims=5))
    norm = batch_norm(shape, draw(st.integers(-len(shape), len(shape) - 1)))
    assume(np.prod(shape) > norm.parameter_shape[0])
    return norm


@st.composite
def group_norms(draw):
    """Group or instance norm over any channel axis, with at least two values per statistic."""
    shape = draw(shapes(min_dims=2))
    axis = draw(st.sampled_from([*range(1, len(shape)), -1]))
    divisors = [n for n in range(1, shape[axis] + 1) if shape[axis] % n == 0]
    norm = draw(
        st.one_of(
            st.just(instance_norm(shape, axis)),
            st.sampled_from(divisors).map(lambda num_groups: group_norm(shape, num_groups, axis)),
        )
    )
    assume(np.prod(shape) > np.prod(norm.statistic_shape))
    return norm


def native(dtype):
    return dtype.newbyteorder("=")


def arithmetic(dtype):
    """The dtype that determines the accuracy of results in `dtype`."""
    return np.dtype(np.float64) if native(dtype) == np.float64 else np.dtype(np.float32)


def ulp(values, dtype):
    """The distance between neighboring numbers of `dtype` at the magnitude of the values."""
    info = ml_dtypes.finfo(dtype)
    _, exponent = np.frexp(np.maximum(np.abs(values), float(info.smallest_normal)))
    return np.ldexp(1.0, exponent - 1 - info.nmant)


def storage_error(expected, dtype):
    """Half an ulp for the rounding of a result to 16 bits."""
    return ulp(expected, dtype) / 2 if dtype.itemsize == 2 else 0.0


def rounding(expected, dtype):
    """Half an ulp for a float64 sum returned in `dtype`, and half an ulp of float32 for 16-bit dtypes."""
    single = ulp(expected, np.float32) / 2 if dtype.itemsize < 4 else 0.0
    return ulp(expected, dtype) / 2 + single if dtype.itemsize < 8 else 0.0


def assert_within(actual, expected, allowed, what):
    """Each element is within `allowed` of the expected one, where infinity counts as the largest number."""
    assert actual.shape == np.shape(expected), f"{what}: shape {actual.shape}, expected {np.shape(expected)}"
    limit = float(ml_dtypes.finfo(actual.dtype).max)
    error = np.abs(np.clip(actual.astype(np.float64), -limit, limit) - np.clip(expected, -limit, limit))
    excess = np.where(error == 0, 0, error / np.maximum(allowed, 1e-300))
    worst = np.unravel_index(np.argmax(excess), excess.shape) if excess.size else ()
    assert np.all(excess <= 1), (
        f"{what}: {actual[worst]} at {worst}, expected {np.asarray(expected)[worst]}: "
        f"{excess[worst]:.3g} times the error allowed"
    )


def largest(x):
    return np.abs(reference.wide(x)).max(initial=0)


def float64_error(x, rstd):
    """The error of xhat due to float64 statistics, which grows with the values relative to the deviation."""
    return FLOAT64_ERROR * (1 + largest(x) * np.max(rstd, initial=0))


def assert_normalized(y, expected, terms, dtype, ulps, relative, what):
    """y is within `ulps` of its largest term, and within the error of float64 statistics."""
    magnitude = np.max(np.broadcast_arrays(*map(np.abs, terms)), axis=0)
    allowed = ulps * ulp(magnitude, arithmetic(dtype)) + relative * largest(magnitude)
    assert y.dtype == native(dtype), what
    assert_within(y, expected, allowed + storage_error(expected, y.dtype), what)


def terms_of_result(norm, scaled, beta, residual):
    """The terms of y: xhat * gamma, beta and the residual."""
    shift = None if beta is None else reference.along(beta, norm.parameter_axes, scaled.ndim)
    return [scaled, *(reference.wide(term) for term in (shift, residual) if term is not None)]


def check_forward(norm, x, gamma, beta, *, ulps=2, out=None, residual=None, activation=None, **options):
    """y is within `ulps` of its largest term or standard deviation. Returns the result of the library."""
    name = f"{norm.name}_forward"
    options |= norm.options
    scaled, mean, rstd = getattr(reference, name)(x, gamma=gamma, **options)
    terms = terms_of_result(norm, scaled, beta, residual)
    if residual is not None or activation is not None:
        options |= {"residual": residual, "activation": activation}
    expected = getattr(reference, name)(x, gamma=gamma, beta=beta, **options).y
    one_deviation = 1 if gamma is None else reference.along(gamma, norm.parameter_axes, x.ndim)
    relative = float64_error(x, rstd)
    mean_error = STATISTIC_ERROR[arithmetic(x.dtype)] / rstd + FLOAT64_ERROR * largest(x)
    rstd_error = (STATISTIC_ERROR[arithmetic(x.dtype)] + relative) * rstd

    result = getattr(tt, name)(x, gamma=gamma, beta=beta, out=out, **options)
    relative += STATISTIC_ERROR[arithmetic(x.dtype)] / 4
    assert_normalized(result.y, expected, [*terms, one_deviation], x.dtype, ulps, relative, f"{norm} y")
    assert result.mean.dtype == result.rstd.dtype == np.float64
    assert_within(result.mean, mean, mean_error, f"{norm} mean")
    assert_within(result.rstd, rstd, rstd_error, f"{norm} rstd")
    return result


def check_backward(norm, dy, x, gamma, *, out=None):
    """dx, dgamma and dbeta are accurate relative to the sum of the magnitudes of their terms."""
    xhat, mean, rstd = getattr(reference, f"{norm.name}_forward")(x, **norm.options)
    arguments = {"mean": mean, "rstd": rstd, "gamma": gamma, **norm.options}
    expected = getattr(reference, f"{norm.name}_backward")(dy, x, **arguments)
    relative = float64_error(x, rstd)

    wide_dy = reference.wide(dy)
    spread_gamma = None if gamma is None else reference.along(gamma, norm.parameter_axes, x.ndim)
    h = np.abs(reference.affine(wide_dy, spread_gamma, None))
    h_mean, hx_mean = (norm.mean(np.broadcast_to(terms, x.shape)) for terms in (h, h * np.abs(xhat)))
    dx_terms = norm.spread(rstd) * (h + h_mean + np.abs(xhat) * hx_mean)
    samples = reference.others(norm.parameter_axes, x.ndim)
    dgamma_terms, dbeta_terms = np.abs(wide_dy * xhat).sum(samples), np.abs(wide_dy).sum(samples)
    parameter_dtype = (x if gamma is None else gamma).dtype
    checks = {  # name: dtype, error, the terms it is relative to, and the factors of a rounded xhat
        "dx": (x.dtype, DX_ERROR, dx_terms, dx_terms),
        "dgamma": (parameter_dtype, SUM_ERROR, dgamma_terms, dgamma_terms + dbeta_terms),
        "dbeta": (parameter_dtype, SUM_ERROR, dbeta_terms, dbeta_terms),
    }

    result = getattr(tt, f"{norm.name}_backward")(dy, x, out=out, **arguments)
    for name, (dtype, error, terms, exposed) in checks.items():
        actual, value = getattr(result, name), getattr(expected, name)
        assert actual.dtype == native(dtype), f"{norm} {name}"
        stored = storage_error if name == "dx" else rounding
        allowed = error[arithmetic(x.dtype)] * terms + relative * exposed + stored(value, actual.dtype)
        assert_within(actual, value, allowed, f"{norm} {name}")
    return result


def check_overlaps(kind, x, dy, forward, backward):
    """forward(x, out) and backward(dy, x, out) may write over their inputs, and return `out`."""
    source, out = overlapping(kind, x)
    assert forward(source, out) is out
    source, out = overlapping(kind, x)
    assert backward(dy, source, out) is out
    source, out = overlapping(kind, dy)
    assert backward(source, x, out) is out
