// Signatures and docstrings of layer normalization.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr char ba_2016[] = R"(References
----------
Ba, J. L., Kiros, J. R., and Hinton, G. E. (2016). Layer Normalization. arXiv:1607.06450.
)";

constexpr auto layer_norm = join(
    R"(layer_norm(x, gamma=None, beta=None, *, axis=-1, eps=1e-5, out=None)
--

Layer normalization: each sample is standardized over `axis`, then scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of `x` along `axis`.

Parameters
----------
)",
    x_with_axes,
    R"(gamma, beta : array_like, optional
    Scale and shift, of the shape of the normalized axes (in the order they have in `x`); axes of length 1 do not count.
    Of any real dtype. Ones and zeros if not given.
)",
    normalized_axes, eps_in_variance, out_for_y,
    R"(
Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given. A constant sample gives exactly `beta` for every `eps`.

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
layer_norm_forward : returns what the backward pass needs, too.

Notes
-----
Statistics are accumulated in double about a shift, so data of any mean and magnitude are normalized to the precision of
their dtype. The bits do not depend on the number of threads, on alignment or on the instruction set.

)",
    ba_2016, examples,
    R"(>>> tt.layer_norm([[1.0, 3.0], [2.0, 6.0]], eps=0.0)
array([[-1.,  1.],
       [-1.,  1.]])
)");

constexpr auto layer_norm_forward = join(
    R"(layer_norm_forward(x, gamma=None, beta=None, *, axis=-1, eps=1e-5, out=None)
--

Layer normalization, keeping what its backward pass needs.

Parameters
----------
x, gamma, beta, axis, eps, out
    As for `layer_norm`.

Returns
-------
y : ndarray
    The result, as returned by `layer_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample, of `x`'s shape without the normalized axes. Where var + eps is 0, rstd
    and dx are 0. Samples without values have NaN for both.

See Also
--------
layer_norm : formula, errors, source.
layer_norm_backward : takes `mean` and `rstd`.
)",
    examples,
    R"(>>> tt.layer_norm_forward([[1.0, 3.0], [2.0, 6.0]], eps=0.0).rstd
array([1. , 0.5])
)");

constexpr auto layer_norm_backward = join(
    R"(layer_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=-1, out=None)
--

Gradients of layer normalization.

With xhat = (x - mean) * rstd, h = dy * gamma, and means over `axis`:

    dx     = rstd * (h - mean(h) - xhat * mean(h * xhat))
    dgamma = sum of dy * xhat over the samples
    dbeta  = sum of dy over the samples

Parameters
----------
)",
    dy, x_of_forward,
    R"(mean, rstd : array_like of float64
    As `layer_norm_forward` returned them.
)",
    gamma_of_forward, normalized_axes, out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_like_x,
    R"(dgamma, dbeta : ndarray
    Gradients with respect to the parameters, of `gamma`'s shape and dtype; of `x`'s dtype where `gamma` is not given or
    not floating-point.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `layer_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

)",
    ba_2016, examples,
    R"(>>> x, dy = [[1.0, 3.0]], [[1.0, 5.0]]
>>> tt.layer_norm_backward(dy, x, mean=[2.0], rstd=[1.0]).dgamma
array([-1.,  5.])
)");

constexpr auto add_layer_norm_forward = join(
    R"(add_layer_norm_forward(x, residual, gamma=None, beta=None, *, axis=-1, eps=1e-5)
--

Layer normalization of the sum of two arrays, both results in one pass.

    summed = x + residual
    y      = layer_norm(summed)

Parameters
----------
)",
    x_with_axes, residual_like_x,
    R"(gamma, beta, axis, eps
    As for `layer_norm`.

Returns
-------
y, summed : ndarray
    Of `x`'s shape and dtype. The statistics are those of `summed` as it is returned.
mean, rstd : ndarray of float64
    As `layer_norm_forward` returns them for `summed`.

See Also
--------
layer_norm : formula, errors, source.
layer_norm_backward : on `summed`; its `dx`, plus the gradient that reaches `summed` on other paths, is the gradient of
    both addends.
)",
    examples,
    R"(>>> tt.add_layer_norm_forward([[1.0, 3.0]], residual=[[1.0, 3.0]]).summed
array([[2., 6.]])
)");
}  // namespace trimtab::docs
