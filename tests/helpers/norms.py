"""Normalizations as data, and how close each must come to the specification.

A `Norm` says which values share a statistic and which axes the parameters have; that is all that tells one
normalization from another here, so the same checks serve them all.
"""

from typing import NamedTuple

import ml_dtypes
import numpy as np
import reference
import trimtab as tt

# Errors relative to the sum of magnitudes: of dx; of the parameter gradients, four roundings of each term.
DX_ERROR = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 0}
SUM_ERROR = {np.dtype(np.float32): 2.0**-22, np.dtype(np.float64): 0}
# Error of saved statistics, two ulps (a single outlier that makes up all of a variance comes near): of the
# mean in standard deviations, of rstd relative to it. Results may be off by a quarter of it beside their own
# roundings.
STATISTIC_ERROR = {np.dtype(np.float32): 2.0**-22, np.dtype(np.float64): 0}
# What float64 arithmetic leaves, in units of the largest value that goes into a sum.
FLOAT64_ERROR = 2.0**-48


class Norm(NamedTuple):
    name: str
    shape: tuple[int, ...]
    statistic: np.ndarray  # of x's shape: the number of the statistic that a value belongs to
    statistic_shape: tuple[int, ...]
    parameter_axes: tuple[int, ...]
    options: dict

    def __str__(self):
        return f"{self.name}-{'x'.join(map(str, self.shape))}-{self.options}"

    @property
    def parameter_shape(self):
        return tuple(self.shape[axis] for axis in self.parameter_axes)

    def spread(self, statistics):
        """What each value's statistic is, of x's shape."""
        return statistics.ravel()[self.statistic]

    def mean(self, values):
        """The means over the values that share a statistic, of x's shape."""
        numbers = self.statistic.ravel()
        return (np.bincount(numbers, values.ravel()) / np.bincount(numbers))[self.statistic]

    def var(self, x):
        """The variances of the values that share a statistic, of x's shape."""
        return self.mean(np.square(reference.wide(x) - self.mean(reference.wide(x))))


def norm_over(axes, name, shape, parameter_axes, options):
    """One statistic for each index of the axes that are not in `axes`."""
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


def native(dtype):
    return dtype.newbyteorder("=")


def arithmetic(dtype):
    """The dtype that the accuracy of results in `dtype` is measured in."""
    return np.dtype(np.float64) if native(dtype) == np.float64 else np.dtype(np.float32)


def ulp(values, dtype):
    """The distance between neighbours in `dtype` at the magnitude of the values."""
    info = ml_dtypes.finfo(dtype)
    _, exponent = np.frexp(np.maximum(np.abs(values), float(info.smallest_normal)))
    return np.ldexp(1.0, exponent - 1 - info.nmant)


def storage_error(expected, dtype):
    """Half an ulp where a result is rounded to 16 bits, on top of the error of the result."""
    return ulp(expected, dtype) / 2 if dtype.itemsize == 2 else 0.0


def rounding(expected, dtype):
    """Half an ulp, for a sum in double that is returned in `dtype`, by way of float32 if narrower."""
    single = ulp(expected, np.float32) / 2 if dtype.itemsize < 4 else 0.0
    return ulp(expected, dtype) / 2 + single if dtype.itemsize < 8 else 0.0


def assert_within(actual, expected, allowed, what):
    """Every element within `allowed` of the expected one; infinity counts as its largest number."""
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
    """What rounded float64 statistics leave in xhat: more, the smaller the deviation is beside the values."""
    return FLOAT64_ERROR * (1 + largest(x) * np.max(rstd, initial=0))


def assert_normalized(y, expected, terms, dtype, ulps, relative, what):
    """y to within `ulps` of the largest of the terms it is the sum of, and what float64 leaves."""
    magnitude = np.max(np.broadcast_arrays(*map(np.abs, terms)), axis=0)
    allowed = ulps * ulp(magnitude, arithmetic(dtype)) + relative * largest(magnitude)
    assert y.dtype == native(dtype), what
    assert_within(y, expected, allowed + storage_error(expected, y.dtype), what)


def terms_of_result(norm, scaled, beta, residual):
    """xhat * gamma, and what is added to it."""
    shift = None if beta is None else reference.along(beta, norm.parameter_axes, scaled.ndim)
    return [scaled, *(reference.wide(term) for term in (shift, residual) if term is not None)]


def check_forward(norm, x, gamma, beta, *, ulps=2, out=None, residual=None, activation=None, **options):
    """y to within `ulps` of its largest term or standard deviation. Returns what the library returned."""
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
    """dx, dgamma and dbeta relative to the sum of the magnitudes of their terms."""
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
    checks = {  # name: dtype, error, what it is relative to, and what a rounded xhat is multiplied by
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
