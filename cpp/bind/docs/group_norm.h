// Signatures and docstrings of group and instance normalization.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr char wu_2018[] = R"(References
----------
Wu, Y., and He, K. (2018). Group Normalization. ECCV.
)";

constexpr char x_with_samples[] = R"(x : array_like
    float32, float64, float16 or bfloat16; samples along the first axis, C channels along `axis`.
)";

constexpr auto group_norm = join(
    R"(group_norm(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Group normalization: each group of channels of each sample is standardized, then its channels are scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of each sample in C / num_groups consecutive channels.

Parameters
----------
)",
    x_with_samples,
    R"(num_groups : int
    Groups of channels, at least 1; divides C.
)",
    gamma_beta_per_channel,
    R"(axis : int, default 1
    The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last; not the first one.
)",
    eps_in_variance, out_for_y,
    R"(
Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given. A constant group, and so one of a single value, gives exactly
    `beta` for every `eps`.

Raises
------
)",
    type_error_with_parameters,
    R"(ValueError
    A shape that does not fit, groups that do not divide the channels, `eps` out of range, a read-only `out`.
)",
    axis_error,
    R"(
See Also
--------
group_norm_forward : returns what the backward pass needs, too.
instance_norm : one group for each channel.
layer_norm : one group, and parameters of each value.

)",
    wu_2018, examples,
    R"(>>> tt.group_norm([[1.0, 3.0, 5.0, 5.0]], num_groups=2, eps=1e-9).round()
array([[-1.,  1.,  0.,  0.]])
)");

constexpr auto group_norm_forward = join(
    R"(group_norm_forward(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Group normalization, keeping what its backward pass needs.

Parameters
----------
x, num_groups, gamma, beta, axis, eps, out
    As for `group_norm`.

Returns
-------
y : ndarray
    The result, as returned by `group_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and group, shape (N, num_groups). Where var + eps is 0, rstd and dx are
    0. Groups without values have NaN for both.

See Also
--------
group_norm : formula, errors, source.
group_norm_backward : takes `mean` and `rstd`.
)",
    examples,
    R"(>>> tt.group_norm_forward([[1.0, 3.0, 5.0, 5.0]], num_groups=2).mean
array([[2., 5.]])
)");

constexpr auto group_norm_backward = join(
    R"(group_norm_backward(dy, x, mean, rstd, num_groups, gamma=None, *, axis=1, out=None)
--

Gradients of group normalization.

With xhat = (x - mean) * rstd, h = dy * gamma, and means over the values of a sample and group:

    dx     = rstd * (h - mean(h) - xhat * mean(h * xhat))
    dgamma = sum of dy * xhat over the values of a channel
    dbeta  = sum of dy over the values of a channel

Parameters
----------
)",
    dy, x_of_forward,
    R"(mean, rstd : array_like of float64
    As `group_norm_forward` returned them.
num_groups : int
    As in the forward pass.
)",
    gamma_of_forward, channel_axis_again, out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_like_x, dgamma_dbeta_per_channel,
    R"(
Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `group_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

)",
    wu_2018, examples,
    R"(>>> x, dy = [[1.0, 3.0]], [[1.0, 5.0]]
>>> tt.group_norm_backward(dy, x, mean=[[2.0]], rstd=[[1.0]], num_groups=1).dgamma
array([-1.,  5.])
)");

constexpr auto instance_norm = join(
    R"(instance_norm(x, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Instance normalization: each channel of each sample is standardized, then scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of a sample in a channel: `group_norm` with one group for each
channel.

Parameters
----------
)",
    x_with_samples, gamma_beta_per_channel,
    R"(axis : int, default 1
    The channel axis: 1 for (N, C, H, W), -1 for channels-last; not the first one.
)",
    eps_in_variance, out_for_y,
    R"(
Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given. A constant channel, and so one of a single value, gives exactly
    `beta` for every `eps`.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `group_norm`.

See Also
--------
instance_norm_forward : returns what the backward pass needs, too.

References
----------
Ulyanov, D., Vedaldi, A., and Lempitsky, V. (2016). Instance Normalization: The Missing Ingredient for Fast Stylization.
arXiv:1607.08022.
)",
    examples,
    R"(>>> tt.instance_norm([[[1.0, 3.0]]], eps=0.0)
array([[[-1.,  1.]]])
)");

constexpr auto instance_norm_forward = join(
    R"(instance_norm_forward(x, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Instance normalization, keeping what its backward pass needs.

Parameters
----------
x, gamma, beta, axis, eps, out
    As for `instance_norm`.

Returns
-------
y : ndarray
    The result, as returned by `instance_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and channel, shape (N, C). Where var + eps is 0, rstd and dx are 0.
    Channels without values have NaN for both.

See Also
--------
instance_norm : formula, errors, source.
instance_norm_backward : takes `mean` and `rstd`.
)",
    examples,
    R"(>>> tt.instance_norm_forward([[[1.0, 3.0], [5.0, 5.0]]]).mean
array([[2., 5.]])
)");

constexpr auto instance_norm_backward = join(
    R"(instance_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=1, out=None)
--

Gradients of instance normalization: those of `group_norm` with one group for each channel.

Parameters
----------
)",
    dy, x_of_forward,
    R"(mean, rstd : array_like of float64
    As `instance_norm_forward` returned them.
)",
    gamma_of_forward, channel_axis_again, out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_like_x, dgamma_dbeta_per_channel,
    R"(
Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `group_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

References
----------
Ulyanov, D., Vedaldi, A., and Lempitsky, V. (2016). Instance Normalization. arXiv:1607.08022.
)",
    examples,
    R"(>>> x, dy = [[[1.0, 3.0]]], [[[1.0, 5.0]]]
>>> tt.instance_norm_backward(dy, x, mean=[[2.0]], rstd=[[1.0]]).dgamma
array([4.])
)");
}  // namespace trimtab::docs
