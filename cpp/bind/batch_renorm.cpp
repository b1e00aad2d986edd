#include <algorithm>
#include <cmath>
#include <limits>

#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text batch_renorm_forward{
    R"(batch_renorm_forward(x, gamma=None, beta=None, *, running_mean, running_std, r_max=1e999, d_max=1e999, momentum=0.01, axis=1, eps=1e-5, out=None)
--

Batch renormalization: batch normalization, corrected to what the running statistics would give.

    y = gamma * (r * (x - mean) / std + d) + beta

    std = sqrt(var + eps)
    r   = clip(std / running_std, 1 / r_max, r_max)
    d   = clip((mean - running_mean) / running_std, -d_max, d_max)

with the mean and the (1/m) variance of the m values of each channel, and the running statistics before their update. With
r_max = 1 and d_max = 0 it is batch normalization; unlimited, it normalises by the running statistics.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; channels along `axis`, more than one value each.
gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with axes of length 1 beside it, such as (1, C); of any real
    dtype. Ones and zeros where not given.
running_mean, running_std : ndarray
    Running mean and standard deviation, shape (C,), of any of the four dtypes; updated in place:
    ``running = (1 - momentum) * running + momentum * batch``. The standard deviation is positive, at first 1 or that of
    some batches.
r_max : float, default inf
    Limit of r and of 1 / r, at least 1. The paper lets it grow from 1 to 3.
d_max : float, default inf
    Limit of |d|, at least 0. The paper lets it grow from 0 to 5.
momentum : float, default 0.01
    Weight of the new batch in the running statistics, 0 to 1.
axis : int, default 1
    The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given.
mean, rstd : ndarray of float64
    Mean and 1 / std of each channel, shape (C,). Where std is 0, rstd is 0, and so is dx.
r, d : ndarray of float64
    The corrections, shape (C,).

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_norm_forward`; also where `r_max` or `d_max` is out of range. Nothing has been changed then.

See Also
--------
batch_renorm_backward : takes `mean`, `rstd`, `r` and `d`.
batch_norm : inference, with running_std ** 2 - eps for the variance.

References
----------
Ioffe, S. (2017). Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized Models. NeurIPS.
)"};

constexpr Text batch_renorm_backward{
    R"(batch_renorm_backward(dy, x, mean, rstd, r, d, gamma=None, *, axis=1, out=None)
--

Gradients of batch renormalization. No gradient flows through r and d.

With xhat = (x - mean) * rstd and means over the values of a channel:

    dx     = gamma * r * rstd * (dy - mean(dy) - xhat * mean(dy * xhat))
    dgamma = sum of dy * (r * xhat + d);  dbeta = sum of dy

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
mean, rstd, r, d : array_like of float64
    As `batch_renorm_forward` returned them.
gamma : array_like, optional
    As in the forward pass.
axis : int, default 1
    The channel axis.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.

Returns
-------
dx : ndarray
    Gradient with respect to x, of its shape and dtype; `out` where it is given.
dgamma, dbeta : ndarray
    Gradients with respect to the parameters, in `gamma`'s shape and dtype: shape (C,) where it is not given, `x`'s dtype
    where it is no float.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `batch_renorm_forward`; also where `x`, `mean`, `rstd`, `r` or `d` do not fit `dy`.

References
----------
Ioffe, S. (2017). Batch Renormalization. NeurIPS.
)"};
}  // namespace docs

ResultType forward_result("BatchRenormForwardResult", "y mean rstd r d");
ResultType backward_result("BatchRenormBackwardResult", "dx dgamma dbeta");

// Values for each channel in x's working type.
Scratch<char> working(const Array& x, const double* values, npy_intp channels) {
    const DType dtype = working_type(x);
    Scratch<char> narrowed(channels * (dtype == DType::float64 ? 8 : 4));
    kernels->convert->narrow[int(dtype)](values, narrowed, channels);
    return narrowed;
}

Ref batch_renorm_forward(const Arguments<docs::batch_renorm_forward>& in) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const Argument running_mean = in["running_mean"], running_std = in["running_std"];
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    const Shape shape = {channels};
    if (layout.outer * layout.inner < 2)
        in["x"].fail(PyExc_ValueError, "have more than one value per channel", "shape " + text(x.shape()));
    const Parameter gamma(in["gamma"], x, shape, working_type(x), 1), beta(in["beta"], x, shape, working_type(x), 0);
    for (const Argument& running : {running_mean, running_std})
        if (!running.given()) running.fail(PyExc_TypeError, "be a numpy.ndarray", "NoneType");
    Running means(running_mean, channels), deviations(running_std, channels);
    means.require_apart(running_std);
    const double r_max = in["r_max"].between(1, inf, inf), d_max = in["d_max"].between(0, inf, inf);
    const double momentum = in["momentum"].between(0, 1, 0.01), epsilon = in["eps"].non_negative(1e-5);
    Output y(in["out"], x, {&x}, {&gamma.array(), &beta.array()});
    for (const Running* running : {&means, &deviations}) running->require_apart(in["out"]);
    Array mean = empty_doubles(shape), rstd = empty_doubles(shape), r = empty_doubles(shape), d = empty_doubles(shape);
    const Array std = empty_doubles(shape);  // the variance, to begin with
    if (x.size() > 0) {
        const Scratch<double> before(2 * channels);
        means.widen(before);
        deviations.widen(before + channels);
        const Renormalise renormalise{.mean = before,
                                      .std = before + channels,
                                      .r_max = r_max,
                                      .d_max = d_max,
                                      .r = r.doubles(),
                                      .d = d.doubles()};
        const Released released;
        kernels->batch_norm->forward[int(x.dtype())]({.x = x.data(),
                                                      .gamma = gamma.data(),
                                                      .beta = beta.data(),
                                                      .residual = nullptr,
                                                      .y = y.data(),
                                                      .mean = mean.doubles(),
                                                      .rstd = rstd.doubles(),
                                                      .var = std.doubles(),
                                                      .layout = layout,
                                                      .eps = epsilon,
                                                      .relu = false,
                                                      .renormalise = &renormalise});
        for (npy_intp c = 0; c < channels; ++c) {
            const double spread = std.doubles()[c] + epsilon, root = rstd.doubles()[c];
            std.doubles()[c] = (spread > 1e-280 && spread < 1e280) || root == 0 ? std::sqrt(spread) : 1 / root;
        }
    }
    means.update(mean.doubles(), momentum, 1);
    deviations.update(std.doubles(), momentum, 1);
    return forward_result(y.finish(), mean.release(), rstd.release(), r.release(), d.release());
}

Ref batch_renorm_backward(const Arguments<docs::batch_renorm_backward>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    const Shape shape = {channels};
    const Array mean = read_statistic(in["mean"], shape), rstd = read_statistic(in["rstd"], shape);
    const Array r = read_statistic(in["r"], shape), d = read_statistic(in["d"], shape);
    const Parameter gamma(in["gamma"], x, shape, DType::float64, 1);
    Output dx(in["out"], x, {&dy, &x}, {&mean, &rstd, &r, &d, &gamma.array()});
    Gradient dgamma(gamma, shape), dbeta(gamma, shape);
    std::fill_n(dgamma.sums(), channels, 0.0);
    std::fill_n(dbeta.sums(), channels, 0.0);
    if (x.size() > 0) {
        const Scratch<double> scale(channels);
        for (npy_intp c = 0; c < channels; ++c) scale[c] = gamma.doubles()[c] * r.doubles()[c];
        const Scratch<char> weight = working(x, scale, channels);
        const Released released;
        kernels->batch_norm->backward[int(x.dtype())]({.dy = dy.data(),
                                                       .x = x.data(),
                                                       .gamma = weight,
                                                       .y = nullptr,
                                                       .mean = mean.doubles(),
                                                       .rstd = rstd.doubles(),
                                                       .dx = dx.data(),
                                                       .dresidual = nullptr,
                                                       .dgamma = dgamma.sums(),
                                                       .dbeta = dbeta.sums(),
                                                       .layout = layout,
                                                       .training = true});
        for (npy_intp c = 0; c < channels; ++c)
            dgamma.sums()[c] = r.doubles()[c] * dgamma.sums()[c] + d.doubles()[c] * dbeta.sums()[c];
    }
    return backward_result(dx.finish(), dgamma.finish(), dbeta.finish());
}
}  // namespace

void bind_batch_renorm(PyObject* module) {
    forward_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<batch_renorm_forward>(), method<batch_renorm_backward>()});
}
}  // namespace trimtab
