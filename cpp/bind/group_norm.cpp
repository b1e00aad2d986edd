#include "group_norm.h"

#include <algorithm>
#include <cmath>

#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text group_norm{
    R"(group_norm(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Group normalization: each group of channels of each sample is standardised, then its channels are scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of each sample in C / num_groups consecutive channels.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; samples along the first axis, C channels along `axis`.
num_groups : int
    Groups of channels, at least 1; divides C.
gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with axes of length 1 beside it, such as (1, C); of any real
    dtype. Ones and zeros where not given.
axis : int, default 1
    The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last; not the first one.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. A constant group, as one of a single value, gives
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
)"};

constexpr Text group_norm_forward{
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
    The result, as of `group_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and group, shape (N, num_groups). Where var + eps is 0, rstd is 0, and so
    is dx. Of groups without values both are NaN.

See Also
--------
group_norm : formula, errors, source.
group_norm_backward : takes `mean` and `rstd`.
)"};

constexpr Text group_norm_backward{
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
    Gradient with respect to x, of its shape and dtype; `out` where it is given.
dgamma, dbeta : ndarray
    Gradients with respect to the parameters, in `gamma`'s shape and dtype: shape (C,) where it is not given, `x`'s dtype
    where it is no float.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `group_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

References
----------
Wu, Y., and He, K. (2018). Group Normalization. ECCV.
)"};

constexpr Text instance_norm{
    R"(instance_norm(x, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Instance normalization: each channel of each sample is standardised, then scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of a sample in a channel: `group_norm` with one group a channel.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; samples along the first axis, C channels along `axis`.
gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with axes of length 1 beside it, such as (1, C); of any real
    dtype. Ones and zeros where not given.
axis : int, default 1
    The channel axis: 1 for (N, C, H, W), -1 for channels-last; not the first one.
eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. A constant channel, as one of a single value, gives
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
)"};

constexpr Text instance_norm_forward{
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
    The result, as of `instance_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and channel, shape (N, C). Where var + eps is 0, rstd is 0, and so is dx.
    Of channels without values both are NaN.

See Also
--------
instance_norm : formula, errors, source.
instance_norm_backward : takes `mean` and `rstd`.
)"};

constexpr Text instance_norm_backward{
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
    Gradient with respect to x, of its shape and dtype; `out` where it is given.
dgamma, dbeta : ndarray
    Gradients with respect to the parameters, in `gamma`'s shape and dtype: shape (C,) where it is not given, `x`'s dtype
    where it is no float.

Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `group_norm`; also where `x`, `mean` or `rstd` do not fit `dy`.

References
----------
Ulyanov, D., Vedaldi, A., and Lempitsky, V. (2016). Instance Normalization. arXiv:1607.08022.
)"};
}  // namespace docs

ResultType group_forward_result("GroupNormForwardResult", "y mean rstd");
ResultType group_backward_result("GroupNormBackwardResult", "dx dgamma dbeta");
ResultType instance_forward_result("InstanceNormForwardResult", "y mean rstd");
ResultType instance_backward_result("InstanceNormBackwardResult", "dx dgamma dbeta");

// Without `num_groups`, which has no default, each channel is a group.
Grouped grouped(const Array& x, const Argument& num_groups, const Argument& axis) {
    const ChannelLayout each = sample_layout(axis, x, 1);
    npy_intp groups = each.channels;
    if (num_groups.value()) {
        constexpr const char* rule = "be an int >= 1";
        groups = num_groups.integer(rule);
        if (groups < 1) num_groups.value_error(rule);
        if (each.channels % groups != 0)
            num_groups.value_error("divide the " + std::to_string(each.channels) + " channels");
    }
    return {each, groups};
}

struct ForwardArguments {
    Argument x, num_groups = {}, gamma, beta, axis, eps, out;
};

Ref forward(const ForwardArguments& in, const ResultType* result) {
    const Array x = read(in.x);
    const Grouped layout = grouped(x, in.num_groups, in.axis);
    const Shape parameters = {layout.each.channels}, statistics = {layout.each.blocks, layout.groups};
    const Parameter gamma(in.gamma, x, parameters, working_type(x), 1, x.size() > 0);
    const Parameter beta(in.beta, x, parameters, working_type(x), 0, x.size() > 0);
    const double epsilon = in.eps.non_negative(1e-5);
    Output y(in.out, x, {&x}, {&gamma.array(), &beta.array()});
    const bool in_parts = !layout.are_rows(), keep = result || in_parts;
    Array mean = keep ? empty_doubles(statistics) : Array(), rstd = keep ? empty_doubles(statistics) : Array();
    if (x.size() == 0 && keep) {
        std::fill_n(mean.doubles(), mean.size(), NAN);
        std::fill_n(rstd.doubles(), rstd.size(), NAN);
    } else if (x.size() > 0) {
        const Released released;
        if (in_parts)
            forward_in_parts(layout, x, gamma, beta, y.data(), mean.doubles(), rstd.doubles(), epsilon);
        else
            kernels->group_norm->forward[int(x.dtype())]({.x = x.data(),
                                                          .gamma = gamma.data(),
                                                          .beta = beta.data(),
                                                          .y = y.data(),
                                                          .mean = keep ? mean.doubles() : nullptr,
                                                          .rstd = keep ? rstd.doubles() : nullptr,
                                                          .layout = layout.as_rows(),
                                                          .eps = epsilon});
    }
    return result ? (*result)(y.finish(), mean.release(), rstd.release()) : y.finish();
}

template <const auto& doc>
ForwardArguments in_groups(const Arguments<doc>& in) {
    return {.x = in["x"],
            .num_groups = in["num_groups"],
            .gamma = in["gamma"],
            .beta = in["beta"],
            .axis = in["axis"],
            .eps = in["eps"],
            .out = in["out"]};
}
template <const auto& doc>
ForwardArguments by_channel(const Arguments<doc>& in) {
    return {
        .x = in["x"], .gamma = in["gamma"], .beta = in["beta"], .axis = in["axis"], .eps = in["eps"], .out = in["out"]};
}

Ref group_norm(const Arguments<docs::group_norm>& in) { return forward(in_groups(in), nullptr); }
Ref group_norm_forward(const Arguments<docs::group_norm_forward>& in) {
    return forward(in_groups(in), &group_forward_result);
}
Ref instance_norm(const Arguments<docs::instance_norm>& in) { return forward(by_channel(in), nullptr); }
Ref instance_norm_forward(const Arguments<docs::instance_norm_forward>& in) {
    return forward(by_channel(in), &instance_forward_result);
}

struct BackwardArguments {
    Argument dy, x, mean, rstd, num_groups = {}, gamma, axis, out;
};

Ref backward(const BackwardArguments& in, const ResultType& result) {
    const Array dy = read(in.dy), x = read_like(in.x, dy);
    const Grouped layout = grouped(x, in.num_groups, in.axis);
    const Shape parameters = {layout.each.channels}, statistics = {layout.each.blocks, layout.groups};
    const Array mean = read_statistic(in.mean, statistics), rstd = read_statistic(in.rstd, statistics);
    const bool in_parts = !layout.are_rows();
    const Parameter gamma(in.gamma, x, parameters, in_parts ? DType::float64 : working_type(x), 1, x.size() > 0);
    Output dx(in.out, x, {&dy, &x}, {&mean, &rstd, &gamma.array()});
    Gradient dgamma(gamma, parameters), dbeta(gamma, parameters);
    if (x.size() == 0) {
        std::fill_n(dgamma.sums(), layout.each.channels, 0.0);
        std::fill_n(dbeta.sums(), layout.each.channels, 0.0);
    } else {
        const Released released;
        if (in_parts)
            backward_in_parts(layout, dy, x, mean, rstd, gamma, dx.data(), dgamma.sums(), dbeta.sums());
        else
            kernels->group_norm->backward[int(x.dtype())]({.dy = dy.data(),
                                                           .x = x.data(),
                                                           .gamma = gamma.data(),
                                                           .mean = mean.doubles(),
                                                           .rstd = rstd.doubles(),
                                                           .dx = dx.data(),
                                                           .dgamma = dgamma.sums(),
                                                           .dbeta = dbeta.sums(),
                                                           .layout = layout.as_rows()});
    }
    return result(dx.finish(), dgamma.finish(), dbeta.finish());
}

Ref group_norm_backward(const Arguments<docs::group_norm_backward>& in) {
    return backward({.dy = in["dy"],
                     .x = in["x"],
                     .mean = in["mean"],
                     .rstd = in["rstd"],
                     .num_groups = in["num_groups"],
                     .gamma = in["gamma"],
                     .axis = in["axis"],
                     .out = in["out"]},
                    group_backward_result);
}
Ref instance_norm_backward(const Arguments<docs::instance_norm_backward>& in) {
    return backward({.dy = in["dy"],
                     .x = in["x"],
                     .mean = in["mean"],
                     .rstd = in["rstd"],
                     .gamma = in["gamma"],
                     .axis = in["axis"],
                     .out = in["out"]},
                    instance_backward_result);
}
}  // namespace

void bind_group_norm(PyObject* module) {
    for (ResultType* type :
         {&group_forward_result, &group_backward_result, &instance_forward_result, &instance_backward_result})
        type->create(module);
    add_functions(module, {method<group_norm>(), method<group_norm_forward>(), method<group_norm_backward>(),
                           method<instance_norm>(), method<instance_norm_forward>(), method<instance_norm_backward>()});
}
}  // namespace trimtab
