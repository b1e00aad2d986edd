// Signatures and docstrings of batch normalization.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto batch_norm = join(
    R"(batch_norm(x, mean, var, gamma=None, beta=None, *, axis=1, eps=1e-5, activation=None, residual=None, out=None)
--

Batch normalization with given statistics, as for inference.

    y = activation(gamma * (x - mean) / sqrt(var + eps) + beta + residual)

Parameters
----------
)",
    x_with_channels,
    R"(mean, var : array_like
    Mean and variance of each channel, shape (C,), of any real dtype; usually the running statistics.
)",
    gamma_beta_per_channel, channel_axis,
    R"(eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0. Where var + eps is 0, values equal to the mean give `beta`,
    others infinity.
activation : {None, "relu"}, default None
    Applied last, in the same pass.
residual : array_like, optional
    Added before the activation, in the same pass; of `x`'s shape and dtype.
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
    A shape that does not fit, `eps` out of range, an unknown activation, a read-only `out`.
)",
    axis_error,
    R"(
See Also
--------
batch_norm_forward : computes the statistics, for training.

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift. ICML.
)",
    examples,
    R"(>>> tt.batch_norm([[1.0, 2.0], [3.0, 6.0]], mean=[2.0, 4.0], var=[1.0, 4.0], eps=0.0)
array([[-1., -1.],
       [ 1.,  1.]])
)");

constexpr auto batch_norm_forward = join(
    R"(batch_norm_forward(x, gamma=None, beta=None, *, running_mean=None, running_var=None, momentum=0.1, unbiased=True, axis=1, eps=1e-5, activation=None, residual=None, virtual_batch_size=None, out=None)
--

Batch normalization with the statistics of the batch, as in training.

    y = activation(gamma * (x - mean) / sqrt(var + eps) + beta + residual)

with the mean and the (1/m) variance of the m values of each channel.

Parameters
----------
x, gamma, beta, axis, eps, activation, residual, out
    As for `batch_norm`. `x` has more than one value per channel.
running_mean, running_var : ndarray, optional
    Running statistics, shape (C,), of any of the four dtypes, both or neither; updated in place:
    ``running = (1 - momentum) * running + momentum * batch``.
momentum : float, default 0.1
    Weight of the new batch in the running statistics, 0 to 1. (Keras, Flax and ONNX call 1 minus this the momentum.)
unbiased : bool, default True
    Which variance is averaged: m/(m-1) times the batch's (True; as in the paper, and PyTorch), or the batch's itself
    (False; as in Keras and Flax). The result is always normalized by the latter.
virtual_batch_size : int, optional
    Ghost batches: consecutive blocks of this many samples (axis 0) are normalized each by itself. The last block may be
    shorter; where it would have a single value per channel, it joins the block before it. At least 1, with more than
    one value per channel in each block. The running statistics are those of the whole batch, pooled exactly.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given. A constant channel gives exactly `beta` for every `eps`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each channel, shape (C,); (blocks, C) with `virtual_batch_size`. Where var + eps is
    0, rstd and dx are 0.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm`; also where `x` has fewer than two values per channel, where only one running statistic is given, or
    `momentum` or `virtual_batch_size` is out of range. Then nothing has been changed.

See Also
--------
batch_norm_backward : takes `mean` and `rstd`.

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization. ICML.
Hoffer, E., Hubara, I., and Soudry, D. (2017). Train longer, generalize better. NeurIPS. (Ghost batches.)
)",
    examples,
    R"(>>> y, mean, rstd = tt.batch_norm_forward([[1.0, 2.0], [3.0, 6.0]], eps=0.0)
>>> mean, rstd
(array([2., 4.]), array([1. , 0.5]))
)");

constexpr auto batch_norm_backward = join(
    R"(batch_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=1, y=None, activation=None, residual=False, training=True, virtual_batch_size=None, out=None)
--

Gradients of batch normalization.

With g = dy (where ReLU was applied: dy where y > 0, else 0), xhat = (x - mean) * rstd, and means over the values of a
channel:

    dx     = gamma * rstd * (g - mean(g) - xhat * mean(g * xhat))     (training=True)
    dx     = gamma * rstd * g                                         (training=False)
    dgamma = sum of g * xhat;  dbeta = sum of g;  dresidual = g

Parameters
----------
)",
    dy, x_of_forward,
    R"(mean, rstd : array_like of float64
    As `batch_norm_forward` returned them.
)",
    gamma_of_forward, channel_axis_again,
    R"(y : array_like, optional
    The result of the forward pass, of `dy`'s shape and dtype; needed where `activation` is given.
activation : {None, "relu"}, default None
    As in the forward pass.
residual : bool, default False
    Whether a residual was added, and its gradient is wanted.
training : bool, default True
    Whether the statistics were those of the batch; False: they were constants.
virtual_batch_size : int, optional
    As in the forward pass.
)",
    out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_like_x, dgamma_dbeta_per_channel,
    R"(dresidual : ndarray or None
    Gradient with respect to the residual; None unless `residual`.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_forward`; also where `x`, `mean`, `rstd` or `y` do not fit `dy`.

References
----------
Ioffe, S., and Szegedy, C. (2015). Batch Normalization. ICML.
)",
    examples,
    R"(>>> x, dy = [[1.0], [3.0]], [[1.0], [5.0]]
>>> tt.batch_norm_backward(dy, x, mean=[2.0], rstd=[1.0]).dgamma
array([4.])
)");
}  // namespace trimtab::docs
