// Signatures and docstrings of batch renormalization.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto batch_renorm_forward = join(
    R"(batch_renorm_forward(x, gamma=None, beta=None, *, running_mean, running_std, r_max=1e999, d_max=1e999, momentum=0.01, axis=1, eps=1e-5, out=None)
--

Batch renormalization: batch normalization, corrected toward the result of the running statistics.

    y = gamma * (r * (x - mean) / std + d) + beta

    std = sqrt(var + eps)
    r   = clip(std / running_std, 1 / r_max, r_max)
    d   = clip((mean - running_mean) / running_std, -d_max, d_max)

with the mean and the (1/m) variance of the m values of each channel, and the running statistics before their update. With
r_max = 1 and d_max = 0 it is batch normalization; unlimited, it normalizes by the running statistics.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; channels along `axis`, more than one value each.
)",
    gamma_beta_per_channel,
    R"(running_mean, running_std : ndarray
    Running mean and standard deviation, shape (C,), of any of the four dtypes; updated in place:
    ``running = (1 - momentum) * running + momentum * batch``. The standard deviation is positive, at first 1 or that of
    some batches.
r_max : float, default inf
    Limit of r and of 1 / r, at least 1. The paper lets it grow from 1 to 3.
d_max : float, default inf
    Limit of |d|, at least 0. The paper lets it grow from 0 to 5.
momentum : float, default 0.01
    Weight of the new batch in the running statistics, 0 to 1.
)",
    channel_axis, eps_in_variance, out_for_y,
    R"(
Returns
-------
)",
    y_like_x,
    R"(mean, rstd : ndarray of float64
    Mean and 1 / std of each channel, shape (C,). Where std is 0, rstd and dx are 0.
r, d : ndarray of float64
    The corrections, shape (C,).

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_forward`; also where `r_max` or `d_max` is out of range. Then nothing has been changed.

See Also
--------
batch_renorm_backward : takes `mean`, `rstd`, `r` and `d`.
batch_norm : inference, with running_std ** 2 - eps for the variance.

References
----------
Ioffe, S. (2017). Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models. NeurIPS.
)",
    examples,
    R"(>>> mean, std = np.array([2.0]), np.array([2.0])
>>> tt.batch_renorm_forward([[1.0], [5.0]], running_mean=mean, running_std=std, eps=0.0).y
array([[-0.5],
       [ 1.5]])
)");

constexpr auto batch_renorm_backward = join(
    R"(batch_renorm_backward(dy, x, mean, rstd, r, d, gamma=None, *, axis=1, out=None)
--

Gradients of batch renormalization. No gradient flows through r and d.

With xhat = (x - mean) * rstd and means over the values of a channel:

    dx     = gamma * r * rstd * (dy - mean(dy) - xhat * mean(dy * xhat))
    dgamma = sum of dy * (r * xhat + d);  dbeta = sum of dy

Parameters
----------
)",
    dy, x_of_forward,
    R"(mean, rstd, r, d : array_like of float64
    As `batch_renorm_forward` returned them.
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
    As `batch_renorm_forward`; also where `x`, `mean`, `rstd`, `r` or `d` do not fit `dy`.

References
----------
Ioffe, S. (2017). Batch Renormalization. NeurIPS.
)",
    examples,
    R"(>>> x, dy = [[1.0], [3.0]], [[1.0], [5.0]]
>>> tt.batch_renorm_backward(dy, x, mean=[2.0], rstd=[1.0], r=[1.0], d=[0.0]).dgamma
array([4.])
)");
}  // namespace trimtab::docs
