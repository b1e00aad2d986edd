// Signatures and docstrings of batch normalization of a batch in several parts.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr char statistics_of_the_batch[] = R"(mean, rstd : array_like of float64
    Those of the whole batch, shape (C,).
)";

constexpr char see_batch_moments[] = R"(See Also
--------
batch_moments : shows how the parts make a whole.
)";

constexpr auto batch_moments = join(
    R"(batch_moments(x, *, axis=1)
--

Mean and variance of each channel: the statistics of batch normalization by themselves.

Together with `combine_moments`, `batch_norm_apply`, `batch_norm_backward_sums` and `batch_norm_backward_apply` they make
a batch normalization whose batch is spread over several arrays, processes or machines.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; channels along `axis`. May be empty.
)",
    channel_axis,
    R"(
Returns
-------
mean, var : ndarray of float64
    Mean and (1/count) variance of each channel, shape (C,); zeros where there are no values.
count : int
    Values per channel.

Raises
------
)",
    type_error, axis_error,
    R"(
See Also
--------
combine_moments : the moments of several such parts together.
)",
    examples,
    R"(>>> tt.batch_moments([[1.0], [3.0]]).var
array([1.])

What each of several processes does with its part `x` of the batch, forward and backward; ``gather`` returns the results
of all of them::

    mean, var, count = combine_moments(*zip(*gather(batch_moments(x))))
    rstd = 1 / numpy.sqrt(var + eps)
    y = batch_norm_apply(x, mean, rstd, gamma, beta)

    sums = numpy.sum(gather(batch_norm_backward_sums(dy, x, mean, rstd)), axis=0)
    dx = batch_norm_backward_apply(dy, x, mean, rstd, gamma, *sums, count)
    dbeta, dgamma = sums

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization. ICML.
)");

constexpr auto combine_moments = join(
    R"(combine_moments(means, vars, counts)
--

Mean and variance of all values of several parts, from those of each part.

    mean = sum of n_i * mean_i / n;  var = sum of n_i * (var_i + (mean_i - mean)^2) / n;  n = sum of n_i

merged one after another, which avoids cancellation. Parts without values do not count, whatever their moments are.

Parameters
----------
means, vars : array_like of float64
    The moments of the parts along the first axis, (parts, C) or of any other shape after `parts`.
counts : array_like
    Values of each part: whole numbers >= 0 of any real dtype.

Returns
-------
mean, var : ndarray of float64
    Of the shape of one part; zeros where no part has values.
count : int
    The sum of `counts`.

Raises
------
TypeError
    `means` or `vars` that are not float64, counts that are not numbers.
ValueError
    Shapes that do not fit, a count that is negative or not whole.

See Also
--------
batch_moments : the moments of one part.

References
----------
Chan, T. F., Golub, G. H., and LeVeque, R. J. (1983). Algorithms for Computing the Sample Variance. The American
Statistician 37(3).
)",
    examples,
    R"(>>> tt.combine_moments(means=[[1.0], [4.0]], vars=[[0.0], [0.0]], counts=[2, 1]).mean
array([2.])
)");

constexpr auto batch_norm_apply = join(
    R"(batch_norm_apply(x, mean, rstd, gamma=None, beta=None, *, axis=1, out=None)
--

Batch normalization with given mean and reciprocal standard deviation.

    y = gamma * (x - mean) * rstd + beta

Parameters
----------
)",
    x_with_channels,
    R"(mean, rstd : array_like of float64
    Mean and 1 / sqrt(var + eps) of each channel, shape (C,).
)",
    gamma_beta_per_channel, channel_axis_again, out_for_y,
    R"(
Returns
-------
)",
    y_like_x,
    R"(
Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm`.

See Also
--------
batch_norm : takes a variance, and can add a residual and apply an activation.
batch_moments : shows how the parts make a whole.
)",
    examples,
    R"(>>> tt.batch_norm_apply([[1.0], [3.0]], mean=[2.0], rstd=[0.5])
array([[-0.5],
       [ 0.5]])
)");

constexpr auto batch_norm_backward_sums = join(
    R"(batch_norm_backward_sums(dy, x, mean, rstd, *, axis=1)
--

The sums over a batch that the gradients of batch normalization need.

    sum_dy = sum of dy;  sum_dy_xhat = sum of dy * xhat;  xhat = (x - mean) * rstd

over the values of a channel. They add up over the parts of a batch; those of the whole batch are dbeta and dgamma.

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes. May be empty.
)",
    x_of_forward, statistics_of_the_batch, channel_axis_again,
    R"(
Returns
-------
sum_dy, sum_dy_xhat : ndarray of float64
    Shape (C,).

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_backward`.

)",
    see_batch_moments, examples,
    R"(>>> tt.batch_norm_backward_sums([[1.0], [5.0]], [[1.0], [3.0]], mean=[2.0], rstd=[1.0]).sum_dy
array([6.])
)");

constexpr auto batch_norm_backward_apply = join(
    R"(batch_norm_backward_apply(dy, x, mean, rstd, gamma, sum_dy, sum_dy_xhat, count, *, axis=1, out=None)
--

The gradient of batch normalization with respect to its input, given the sums over the whole batch.

    dx = gamma * rstd * (dy - sum_dy / count - xhat * sum_dy_xhat / count);  xhat = (x - mean) * rstd

Parameters
----------
)",
    dy, x_of_forward, statistics_of_the_batch,
    R"(gamma : array_like or None
    As in the forward pass; None: ones.
sum_dy, sum_dy_xhat : array_like of float64
    The sums of `batch_norm_backward_sums` over all parts of the batch, shape (C,).
count : float
    Values per channel in the whole batch, at least 1. Infinity: the statistics were constants.
)",
    channel_axis_again, out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_like_x,
    R"(
Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_backward`; also where `count` is out of range.

)",
    see_batch_moments, examples,
    R"(>>> dy, x = [[2.0], [0.0], [0.0], [2.0]], [[1.0], [3.0], [1.0], [3.0]]
>>> sums = tt.batch_norm_backward_sums(dy, x, [2.0], [1.0])
>>> tt.batch_norm_backward_apply(dy, x, [2.0], [1.0], [1.0], *sums, 4).ravel()
array([ 1., -1., -1.,  1.])
)");
}  // namespace trimtab::docs
