#include <algorithm>
#include <cmath>

#include "bind.h"

namespace trimtab {
namespace {

const Signature group_norm_signature(
    R"(group_norm(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Group normalization: each group of channels of each sample is standardized, then its channels are scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of each sample in C / num_groups consecutive channels.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; samples along the first axis, C channels along `axis`.
num_groups : int
    Groups of channels, at least 1; divides C.
gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with further axes of length 1, such as (1, C); of any real
    dtype. Ones and zeros if not given.
axis : int, default 1
    The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last; not the first one.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given. A constant group, such as one of a single value, gives
    exactly `beta` for every `eps`.

Raises
------
TypeError
    A dtype that is not one of the four, a parameter that is not real, an argument that is not of the right kind.
ValueError
    A shape that does not fit, groups that do not divide the channels, `eps` out of range, a read-only `out`.
numpy.exceptions.AxisError
    An axis that `x` does not have.

See Also
--------
group_norm_forward : returns what the backward pass needs, too.
instance_norm : one group for each channel.
layer_norm : one group, and parameters of each value.

References
----------
Wu, Y., and He, K. (2018). Group Normalization. ECCV.
)");

const Signature group_norm_forward_signature(
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
    As `group_norm` returns it.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and group, shape (N, num_groups). If var + eps is 0, rstd and dx are 0.
    Both are NaN for groups without values.

See Also
--------
group_norm : formula, errors, source.
group_norm_backward : takes `mean` and `rstd`.
)");

const Signature group_norm_backward_signature(
    R"(group_norm_backward(dy, x, mean, rstd, num_groups, gamma=None, *, axis=1, out=None)
--

Gradients of group normalization.

With xhat = (x - mean) * rstd, h = dy * gamma, and means over the values of a sample and group:

    dx     = rstd * (h - mean(h) - xhat * mean(h * xhat))
    dgamma = sum of dy * xhat over the values of a channel
    dbeta  = sum of dy over the values of a channel

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
mean, rstd : array_like of float64
    As `group_norm_forward` returned them.
num_groups : int
    As in the forward pass.
gamma : array_like, optional
    As in the forward pass.
axis : int, default 1
    The channel axis.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.

Returns
-------
dx : ndarray
    Gradient with respect to x, of its shape and dtype; `out` if given.
dgamma, dbeta : ndarray
    Gradients with respect to the parameters, in `gamma`'s shape and dtype: shape (C,) if it is not given, `x`'s dtype
    if it is not of a float dtype.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `group_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

References
----------
Wu, Y., and He, K. (2018). Group Normalization. ECCV.
)");

const Signature instance_norm_signature(
    R"(instance_norm(x, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Instance normalization: each channel of each sample is standardized, then scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of a sample in a channel: `group_norm` with one group a channel.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; samples along the first axis, C channels along `axis`.
gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with further axes of length 1, such as (1, C); of any real
    dtype. Ones and zeros if not given.
axis : int, default 1
    The channel axis: 1 for (N, C, H, W), -1 for channels-last; not the first one.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` if given. A constant channel, such as one of a single value, gives
    exactly `beta` for every `eps`.

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
)");

const Signature instance_norm_forward_signature(
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
    As `instance_norm` returns it.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and channel, shape (N, C). If var + eps is 0, rstd and dx are 0.
    Both are NaN for channels without values.

See Also
--------
instance_norm : formula, errors, source.
instance_norm_backward : takes `mean` and `rstd`.
)");

const Signature instance_norm_backward_signature(
    R"(instance_norm_backward(dy, x, mean, rstd, gamma=None, *, axis=1, out=None)
--

Gradients of instance normalization: those of `group_norm` with one group a channel.

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
mean, rstd : array_like of float64
    As `instance_norm_forward` returned them.
gamma : array_like, optional
    As in the forward pass.
axis : int, default 1
    The channel axis.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.

Returns
-------
dx : ndarray
    Gradient with respect to x, of its shape and dtype; `out` if given.
dgamma, dbeta : ndarray
    Gradients with respect to the parameters, in `gamma`'s shape and dtype: shape (C,) if it is not given, `x`'s dtype
    if it is not of a float dtype.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `group_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

References
----------
Ulyanov, D., Vedaldi, A., and Lempitsky, V. (2016). Instance Normalization. arXiv:1607.08022.
)");

ResultType group_forward_result("GroupNormForwardResult", "y mean rstd");
ResultType group_backward_result("GroupNormBackwardResult", "dx dgamma dbeta");
ResultType instance_forward_result("InstanceNormForwardResult", "y mean rstd");
ResultType instance_backward_result("InstanceNormBackwardResult", "dx dgamma dbeta");

// `num_groups` is null for one group a channel.
GroupLayout group_layout(const Array& x, const Argument* num_groups, const Argument& axis) {
    const auto [samples, outer, channels, inner, other_values] = sample_layout(axis, x, 1);
    npy_intp groups = channels;
    if (num_groups) {
        constexpr const char* rule = "be an int >= 1";
        groups = num_groups->integer(rule);
        if (groups < 1) num_groups->value_error(rule);
        if (channels % groups != 0) num_groups->value_error("divide the " + std::to_string(channels) + " channels");
    }
    return {samples, outer, groups, channels / std::max<npy_intp>(groups, 1), inner};
}

PyObject* forward(const Arguments& in, bool in_groups, const ResultType* result) {
    const std::size_t next = in_groups ? 2 : 1;
    const Argument num_groups = in[1], eps = in[next + 3], out = in[next + 4];
    const Array x = read(in[0]);
    const GroupLayout layout = group_layout(x, in_groups ? &num_groups : nullptr, in[next + 2]);
    const Shape parameters = {layout.groups * layout.channels}, statistics = {layout.samples, layout.groups};
    const Parameter gamma(in[next], x, parameters, working_type(x), 1, x.size() > 0);
    const Parameter beta(in[next + 1], x, parameters, working_type(x), 0, x.size() > 0);
    const double epsilon = eps.non_negative(1e-5);
    Output y(out, x, {&x}, {&gamma.array(), &beta.array()});
    Array mean = result ? empty_doubles(statistics) : Array(), rstd = result ? empty_doubles(statistics) : Array();
    if (x.size() > 0) {
        const Released released;
        kernels->group_norm->forward[int(x.dtype())]({.x = x.data(),
                                                      .gamma = gamma.data(),
                                                      .beta = beta.data(),
                                                      .y = y.data(),
                                                      .mean = result ? mean.doubles() : nullptr,
                                                      .rstd = result ? rstd.doubles() : nullptr,
                                                      .layout = layout,
                                                      .eps = epsilon});
    } else if (result) {
        std::fill_n(mean.doubles(), mean.size(), NAN);
        std::fill_n(rstd.doubles(), rstd.size(), NAN);
    }
    PyObject* const normalized = y.finish();
    return result ? (*result)({normalized, mean.release(), rstd.release()}) : normalized;
}

PyObject* group_norm(const Arguments& in) { return forward(in, true, nullptr); }
PyObject* group_norm_forward(const Arguments& in) { return forward(in, true, &group_forward_result); }
PyObject* instance_norm(const Arguments& in) { return forward(in, false, nullptr); }
PyObject* instance_norm_forward(const Arguments& in) { return forward(in, false, &instance_forward_result); }

PyObject* backward(const Arguments& in, bool in_groups, const ResultType& result) {
    const std::size_t next = in_groups ? 5 : 4;
    const Argument num_groups = in[4], out = in[next + 2];
    const Array dy = read(in[0]), x = read_like(in[1], dy);
    const GroupLayout layout = group_layout(x, in_groups ? &num_groups : nullptr, in[next + 1]);
    const Shape parameters = {layout.groups * layout.channels}, statistics = {layout.samples, layout.groups};
    const Array mean = read_statistic(in[2], statistics), rstd = read_statistic(in[3], statistics);
    const DType gamma_type = kernels->group_norm->by_row(layout) ? working_type(x) : DType::float64;
    const Parameter gamma(in[next], x, parameters, gamma_type, 1, x.size() > 0);
    Output dx(out, x, {&dy, &x}, {&mean, &rstd, &gamma.array()});
    Gradient dgamma(gamma, parameters), dbeta(gamma, parameters);
    if (x.size() > 0) {
        const Released released;
        kernels->group_norm->backward[int(x.dtype())]({.dy = dy.data(),
                                                       .x = x.data(),
                                                       .gamma = gamma.data(),
                                                       .mean = mean.doubles(),
                                                       .rstd = rstd.doubles(),
                                                       .dx = dx.data(),
                                                       .dgamma = dgamma.sums(),
                                                       .dbeta = dbeta.sums(),
                                                       .layout = layout});
    } else {
        std::fill_n(dgamma.sums(), parameters[0], 0.0);
        std::fill_n(dbeta.sums(), parameters[0], 0.0);
    }
    return result({dx.finish(), dgamma.finish(), dbeta.finish()});
}

PyObject* group_norm_backward(const Arguments& in) { return backward(in, true, group_backward_result); }
PyObject* instance_norm_backward(const Arguments& in) { return backward(in, false, instance_backward_result); }
}  // namespace

void bind_group_norm(PyObject* module) {
    for (ResultType* type :
         {&group_forward_result, &group_backward_result, &instance_forward_result, &instance_backward_result})
        type->create(module);
    add_functions(
        module,
        {method<group_norm_signature, group_norm>(), method<group_norm_forward_signature, group_norm_forward>(),
         method<group_norm_backward_signature, group_norm_backward>(), method<instance_norm_signature, instance_norm>(),
         method<instance_norm_forward_signature, instance_norm_forward>(),
         method<instance_norm_backward_signature, instance_norm_backward>()});
}
}  // namespace trimtab
