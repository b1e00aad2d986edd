#include <algorithm>
#include <cmath>
#include <functional>

#include "../parallel.h"
#include "bind.h"
#include "pooled.h"

namespace trimtab {
namespace {

const Signature group_norm_signature(
    R"(group_norm(x, num_groups, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Group normalization: each group of channels of each sample is standardised, then its channels are scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of each sample in C / num_groups consecutive channels.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; samples along the first axis, C channels along `axis`. A group has more than
    one value.
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
    Of `x`'s shape and dtype; `out` where it is given. A constant group gives exactly `beta`.

Raises
------
TypeError
    A dtype that is not one of the four, a parameter that is not real, an argument that is not of the right kind.
ValueError
    A shape that does not fit, groups that do not divide the channels or have one value only, `eps` out of range, a
    read-only `out`.
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
    The result, as of `group_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and group, shape (N, num_groups).

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
)");

const Signature instance_norm_signature(
    R"(instance_norm(x, gamma=None, beta=None, *, axis=1, eps=1e-5, out=None)
--

Instance normalization: each channel of each sample is standardised, then scaled and shifted.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

with the mean and the (1/m) variance of the m values of a sample in a channel: `group_norm` with one group a channel.

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; samples along the first axis, C channels along `axis`, more than one value
    for each sample and channel.
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
    Of `x`'s shape and dtype; `out` where it is given. A constant channel gives exactly `beta`.

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
    The result, as of `instance_norm`.
mean, rstd : ndarray of float64
    Mean and 1 / sqrt(var + eps) of each sample and channel, shape (N, C).

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
)");

ResultType group_forward_result("GroupNormForwardResult", "y mean rstd");
ResultType group_backward_result("GroupNormBackwardResult", "dx dgamma dbeta");
ResultType instance_forward_result("InstanceNormForwardResult", "y mean rstd");
ResultType instance_backward_result("InstanceNormBackwardResult", "dx dgamma dbeta");

// x as (samples, outer, groups, channels of a group, inner).
struct Grouped {
    ChannelLayout each;  // (samples, outer, channels, inner)
    npy_intp groups;
    npy_intp group_channels() const { return each.channels / std::max<npy_intp>(groups, 1); }
    npy_intp values_per_group() const { return each.outer * group_channels() * each.inner; }
    npy_intp values_per_sample() const { return each.outer * each.channels * each.inner; }
    GroupLayout as_rows() const { return {each.blocks, groups, group_channels(), each.inner}; }
    // Groups lie in memory as rows, and there are enough of them to share, or their channels are short.
    bool are_rows() const { return each.outer == 1 && (each.blocks * groups >= 16 || each.inner < 128); }

    ChannelLayout by_channel(npy_intp samples) const {
        return {samples, each.outer, each.channels, each.inner, (each.blocks - samples) * values_per_sample()};
    }
    // f(first, samples) for so few samples at a time that they stay in cache between two visits: in that of one thread or,
    // where samples are few or small, in that of all.
    template <class F>
    void visit_samples(double cost_per_value, const F& f) const {
        if (each.blocks >= 16 && values_per_sample() >= 1 << 14)
            return parallel_for(each.blocks, cost_per_value * double(each.blocks * values_per_sample()),
                                [&](npy_intp begin, npy_intp end) {
                for (npy_intp sample = begin; sample < end; ++sample) f(sample, 1);
            });
        constexpr npy_intp cached = 1 << 20;
        const npy_intp together = std::max<npy_intp>(1, cached / values_per_sample());
        for (npy_intp first = 0; first < each.blocks; first += together)
            f(first, std::min(together, each.blocks - first));
    }
    // Values of groups, for each of their channels.
    void spread(const double* of_groups, npy_intp samples, double* of_channels) const {
        for (npy_intp i = 0; i < samples * groups; ++i, of_channels += group_channels())
            std::fill_n(of_channels, group_channels(), of_groups[i]);
    }
};

// `num_groups` is null for one group a channel.
Grouped grouped(const Argument& x_argument, const Array& x, const Argument* num_groups, const Argument& axis) {
    const ChannelLayout each = sample_layout(axis, x, 1);
    npy_intp groups = each.channels;
    if (num_groups) {
        constexpr const char* rule = "be an int >= 1";
        groups = num_groups->integer(rule);
        if (groups < 1) num_groups->value_error(rule);
        if (each.channels % groups != 0)
            num_groups->value_error("divide the " + std::to_string(each.channels) + " channels");
    }
    const Grouped layout{each, groups};
    if (each.blocks > 0 && groups > 0 && layout.values_per_group() < 2)
        x_argument.fail(PyExc_ValueError,
                        num_groups ? "have more than one value per group" : "have more than one value per channel",
                        "shape " + text(x.shape()));
    return layout;
}

char* from_sample(npy_intp first, void* data, const Array& x, const Grouped& layout) {
    return static_cast<char*>(data) + first * layout.values_per_sample() * x.itemsize();
}

// In parts: statistics of channels, which make those of groups, then a pass with constants for each channel.
void forward_in_parts(const Grouped& layout, const Array& x, const Parameter& gamma, const Parameter& beta, void* y,
                      double* mean, double* rstd, double eps) {
    const npy_intp group_channels = layout.group_channels();
    const double count = double(layout.each.outer * layout.each.inner);
    layout.visit_samples(0.3, [&](npy_intp first, npy_intp samples) {
        const npy_intp units = samples * layout.each.channels;
        const Scratch<double> of_channels(2 * units);
        double *const means = of_channels, *const rstds = means + units;
        kernels->batch_norm->moments[int(x.dtype())]({.x = from_sample(first, x.data(), x, layout),
                                                      .mean = means,
                                                      .var = rstds,
                                                      .layout = layout.by_channel(samples)});
        for (npy_intp unit = 0, group = first * layout.groups; unit < units; unit += group_channels, ++group) {
            Pooled pooled;
            for (npy_intp u = unit; u < unit + group_channels; ++u) pooled.add(count, means[u], rstds[u]);
            mean[group] = pooled.mean;
            rstd[group] = 1 / std::sqrt(pooled.var() + eps);
            std::fill_n(means + unit, group_channels, mean[group]);
            std::fill_n(rstds + unit, group_channels, rstd[group]);
        }
        kernels->batch_norm->apply[int(x.dtype())]({.x = from_sample(first, x.data(), x, layout),
                                                    .gamma = gamma.data(),
                                                    .beta = beta.data(),
                                                    .residual = nullptr,
                                                    .y = from_sample(first, y, x, layout),
                                                    .mean = means,
                                                    .rstd = rstds,
                                                    .layout = layout.by_channel(samples),
                                                    .relu = false});
    });
}

PyObject* forward(const Arguments& in, bool in_groups, const ResultType* result) {
    const std::size_t next = in_groups ? 2 : 1;
    const Argument num_groups = in[1], eps = in[next + 3], out = in[next + 4];
    const Array x = read(in[0]);
    const Grouped layout = grouped(in[0], x, in_groups ? &num_groups : nullptr, in[next + 2]);
    const Shape parameters = {layout.each.channels}, statistics = {layout.each.blocks, layout.groups};
    const Parameter gamma(in[next], x, parameters, working_type(x), 1, x.size() > 0);
    const Parameter beta(in[next + 1], x, parameters, working_type(x), 0, x.size() > 0);
    const double epsilon = eps.non_negative(1e-5);
    Output y(out, x, {&x}, {&gamma.array(), &beta.array()});
    const bool in_parts = !layout.are_rows(), keep = result || in_parts;
    Array mean = keep ? empty_doubles(statistics) : Array(), rstd = keep ? empty_doubles(statistics) : Array();
    if (x.size() > 0) {
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
    PyObject* const normalized = y.finish();
    return result ? (*result)({normalized, mean.release(), rstd.release()}) : normalized;
}

PyObject* group_norm(const Arguments& in) { return forward(in, true, nullptr); }
PyObject* group_norm_forward(const Arguments& in) { return forward(in, true, &group_forward_result); }
PyObject* instance_norm(const Arguments& in) { return forward(in, false, nullptr); }
PyObject* instance_norm_forward(const Arguments& in) { return forward(in, false, &instance_forward_result); }

// In parts: sums of channels, which make those of groups, then a pass with constants for each channel.
void backward_in_parts(const Grouped& layout, const Array& dy, const Array& x, const Array& mean, const Array& rstd,
                       const Parameter& gamma, void* dx, double* dgamma, double* dbeta) {
    const npy_intp channels = layout.each.channels, group_channels = layout.group_channels();
    const Scratch<double> of_samples(2 * layout.each.blocks * channels);  // (samples, dbeta and dgamma, channels)
    layout.visit_samples(0.5, [&](npy_intp first, npy_intp samples) {
        const npy_intp units = samples * channels;
        const Scratch<double> of_channels(5 * units);
        double *const means = of_channels, *const rstds = means + units, *const scale = rstds + units;
        double *const sum_dy = scale + units, *const sum_dy_xhat = sum_dy + units;
        layout.spread(mean.doubles() + first * layout.groups, samples, means);
        layout.spread(rstd.doubles() + first * layout.groups, samples, rstds);
        kernels->batch_norm->backward_sums[int(x.dtype())]({.dy = from_sample(first, dy.data(), x, layout),
                                                            .x = from_sample(first, x.data(), x, layout),
                                                            .mean = means,
                                                            .rstd = rstds,
                                                            .sum_dy = sum_dy,
                                                            .sum_dy_xhat = sum_dy_xhat,
                                                            .layout = layout.by_channel(samples)});
        for (npy_intp sample = 0; sample < samples; ++sample) {
            double* const parameters = of_samples + 2 * (first + sample) * channels;
            std::copy_n(sum_dy + sample * channels, channels, parameters);
            std::copy_n(sum_dy_xhat + sample * channels, channels, parameters + channels);
        }
        for (npy_intp unit = 0; unit < units; unit += group_channels) {
            double mean_h = 0, mean_hx = 0;
            for (npy_intp u = unit; u < unit + group_channels; ++u) {
                const double weight = gamma.doubles()[u % channels];
                mean_h += weight * sum_dy[u];
                mean_hx += weight * sum_dy_xhat[u];
                scale[u] = weight * rstds[u];
            }
            std::fill_n(sum_dy + unit, group_channels, mean_h / double(layout.values_per_group()));
            std::fill_n(sum_dy_xhat + unit, group_channels, mean_hx / double(layout.values_per_group()));
        }
        kernels->batch_norm->backward_apply[int(x.dtype())]({.dy = from_sample(first, dy.data(), x, layout),
                                                             .x = from_sample(first, x.data(), x, layout),
                                                             .dx = from_sample(first, dx, x, layout),
                                                             .mean = means,
                                                             .rstd = rstds,
                                                             .scale = scale,
                                                             .mean_h = sum_dy,
                                                             .mean_hx = sum_dy_xhat,
                                                             .layout = layout.by_channel(samples)});
    });
    std::fill_n(dbeta, channels, 0.0);
    std::fill_n(dgamma, channels, 0.0);
    for (npy_intp sample = 0; sample < layout.each.blocks; ++sample) {
        const double* const parameters = of_samples + 2 * sample * channels;
        std::transform(dbeta, dbeta + channels, parameters, dbeta, std::plus<>());
        std::transform(dgamma, dgamma + channels, parameters + channels, dgamma, std::plus<>());
    }
}

PyObject* backward(const Arguments& in, bool in_groups, const ResultType& result) {
    const std::size_t next = in_groups ? 5 : 4;
    const Argument num_groups = in[4], out = in[next + 2];
    const Array dy = read(in[0]), x = read_like(in[1], dy);
    const Grouped layout = grouped(in[0], x, in_groups ? &num_groups : nullptr, in[next + 1]);
    const Shape parameters = {layout.each.channels}, statistics = {layout.each.blocks, layout.groups};
    const Array mean = read_statistic(in[2], statistics), rstd = read_statistic(in[3], statistics);
    const bool in_parts = !layout.are_rows();
    const Parameter gamma(in[next], x, parameters, in_parts ? DType::float64 : working_type(x), 1, x.size() > 0);
    Output dx(out, x, {&dy, &x}, {&mean, &rstd, &gamma.array()});
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
