// Signatures and docstrings of root mean square normalization.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr char zhang_2019[] = R"(References
----------
Zhang, B., and Sennrich, R. (2019). Root Mean Square Layer Normalization. NeurIPS.
)";

constexpr auto rms_norm = join(
    R"(rms_norm(x, gamma=None, *, axis=-1, eps=1e-6, out=None)
--

Root mean square normalization: each sample is divided by its root mean square over `axis`, then scaled.

    y = gamma * x / sqrt(mean(x^2) + eps)

Parameters
----------
)",
    x_with_axes,
    R"(gamma : array_like, optional
    Scale, of the shape of the normalized axes (in the order they have in `x`); axes of length 1 do not count. Of any
    real dtype. Ones if not given.
)",
    normalized_axes,
    R"(eps : float, default 1e-6
    Added to the mean square, inside the root; finite and >= 0.
)",
    out_for_y,
    R"(
Returns
-------
)",
    y_like_x,
    R"(
Raises
------
)",
    type_error_with_parameters,
    R"(ValueError
    A shape that does not fit, `eps` out of range, a read-only `out`.
)",
    axis_error,
    R"(
See Also
--------
rms_norm_forward : returns what the backward pass needs, too.

Notes
-----
Squares are accumulated so data of any magnitude are normalized to the precision of their dtype. The bits do not depend
on the number of threads, on alignment or on the instruction set.

)",
    zhang_2019, examples,
    R"(>>> tt.rms_norm([[3.0, -3.0]], eps=0.0)
array([[ 1., -1.]])
)");

constexpr auto rms_norm_forward = join(
    R"(rms_norm_forward(x, gamma=None, *, axis=-1, eps=1e-6, out=None)
--

Root mean square normalization, keeping what its backward pass needs.

Parameters
----------
x, gamma, axis, eps, out
    As for `rms_norm`.

Returns
-------
y : ndarray
    The result, as returned by `rms_norm`.
rstd : ndarray of float64
    1 / sqrt(mean(x^2) + eps) of each sample, of `x`'s shape without the normalized axes. Where that is a division by 0,
    rstd and dx are 0. Samples without values have NaN.

See Also
--------
rms_norm : formula, errors, source.
rms_norm_backward : takes `rstd`.
)",
    examples,
    R"(>>> tt.rms_norm_forward([[2.0, -2.0]], eps=0.0).rstd
array([0.5])
)");

constexpr auto add_rms_norm_forward = join(
    R"(add_rms_norm_forward(x, residual, gamma=None, *, axis=-1, eps=1e-6)
--

Root mean square normalization of the sum of two arrays, both results in one pass.

    summed = x + residual
    y      = rms_norm(summed)

Parameters
----------
)",
    x_with_axes, residual_like_x,
    R"(gamma, axis, eps
    As for `rms_norm`.

Returns
-------
y, summed : ndarray
    Of `x`'s shape and dtype. The statistics are those of `summed` as it is returned.
rstd : ndarray of float64
    As `rms_norm_forward` returns it for `summed`.

See Also
--------
rms_norm : formula, errors, source.
rms_norm_backward : on `summed`; its `dx`, plus the gradient that reaches `summed` on other paths, is the gradient of
    both addends.
)",
    examples,
    R"(>>> tt.add_rms_norm_forward([[1.0, 3.0]], residual=[[1.0, 3.0]]).summed
array([[2., 6.]])
)");

constexpr auto rms_norm_backward = join(
    R"(rms_norm_backward(dy, x, rstd, gamma=None, *, axis=-1, out=None)
--

Gradients of root mean square normalization.

With xhat = x * rstd, h = dy * gamma, and the mean over `axis`:

    dx     = rstd * (h - xhat * mean(h * xhat))
    dgamma = sum of dy * xhat over the samples

Parameters
----------
)",
    dy, x_of_forward,
    R"(rstd : array_like of float64
    As `rms_norm_forward` returned it.
)",
    gamma_of_forward, normalized_axes, out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_like_x,
    R"(dgamma : ndarray
    Gradient with respect to gamma, of its shape and dtype; of `x`'s dtype where `gamma` is not given or not
    floating-point.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `rms_norm`; also where `x` or `rstd` do not fit `dy`.

)",
    zhang_2019, examples,
    R"(>>> tt.rms_norm_backward([[1.0, 5.0]], [[2.0, -2.0]], rstd=[0.5]).dgamma
array([ 1., -5.])
)");
}  // namespace trimtab::docs
