#include "docs/batch_norm.h"

#include <algorithm>

#include "../kernels/pooled.h"
#include "bind.h"

namespace trimtab {
namespace {

ResultType forward_result("BatchNormForwardResult", "y mean rstd");
ResultType backward_result("BatchNormBackwardResult", "dx dgamma dbeta dresidual");

bool is_relu(const Argument& activation) {
    if (!activation.given()) return false;
    if (!PyUnicode_Check(activation.value()) || PyUnicode_CompareWithASCIIString(activation.value(), "relu") != 0)
        activation.value_error("be None or 'relu'");
    return true;
}

// x is one Part, or two with virtual batches: blocks of the same size, then the rest of the samples as a block of another.
// A rest with a single value per channel, whose variance says nothing, joins the last block.
struct Part {
    ChannelLayout layout;
    npy_intp first_unit = 0, first_value = 0;
    npy_intp values_per_unit() const { return layout.outer * layout.inner; }
    npy_intp units() const { return layout.blocks * layout.channels; }
};

std::vector<Part> parts(const Argument& virtual_batch_size, const ChannelLayout& l, const Array& x) {
    if (!virtual_batch_size.given()) return {{l}};
    constexpr const char* rule = "be an int >= 1";
    const npy_intp size = virtual_batch_size.integer(rule), samples = x.dims()[0];
    if (size < 1) virtual_batch_size.value_error(rule);
    if (l.outer % std::max<npy_intp>(samples, 1) != 0 || (x.ndim() > 0 && l.outer == 1 && samples != 1))
        virtual_batch_size.value_error("be None where the channels lie along axis 0");
    const npy_intp per_sample = samples ? l.outer / samples : 0;
    if (size * per_sample * l.inner == 1)
        virtual_batch_size.value_error("leave more than one value per channel in a block");
    npy_intp blocks = samples / size, rest = samples % size;
    if (blocks && rest * per_sample * l.inner == 1) --blocks, rest += size;
    std::vector<Part> all;
    if (blocks) all.push_back({{blocks, size * per_sample, l.channels, l.inner}});
    if (rest)
        all.push_back({{1, rest * per_sample, l.channels, l.inner},
                       blocks * l.channels,
                       blocks * size * per_sample * l.channels * l.inner});
    return all;
}

Shape statistics_shape(const Argument& virtual_batch_size, const std::vector<Part>& all, npy_intp channels) {
    npy_intp blocks = 0;
    for (const Part& part : all) blocks += part.layout.blocks;
    return virtual_batch_size.given() ? Shape{blocks, channels} : Shape{channels};
}

const char* at(const Array& array, npy_intp value) {
    return array ? static_cast<const char*>(array.data()) + value * array.itemsize() : nullptr;
}

// Mean and (1/m) variance of all blocks together.
void pool(const std::vector<Part>& all, const Array& mean, const Array& var, npy_intp channels, double* pooled_mean,
          double* pooled_var) {
    for (npy_intp c = 0; c < channels; ++c) {
        Pooled pooled;
        for (const Part& part : all)
            for (npy_intp unit = part.first_unit + c; unit < part.first_unit + part.units(); unit += channels)
                pooled.add(double(part.values_per_unit()), mean.doubles()[unit], var.doubles()[unit]);
        pooled_mean[c] = pooled.mean;
        pooled_var[c] = pooled.var;
    }
}

Ref batch_norm(const Arguments<docs::batch_norm>& in) {
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    for (const Argument& statistic : {in["mean"], in["var"]})
        if (!statistic.given()) statistic.type_error("be an array");
    const Parameter mean(in["mean"], x, {channels}, DType::float64, 0),
        var(in["var"], x, {channels}, DType::float64, 1);
    const Parameter gamma(in["gamma"], x, {channels}, working_type(x), 1);
    const Parameter beta(in["beta"], x, {channels}, working_type(x), 0);
    const double epsilon = in["eps"].non_negative(1e-5);
    const bool relu = is_relu(in["activation"]);
    const Array residual = in["residual"].given() ? read_like(in["residual"], x) : Array();
    Output y(in["out"], x, {&x, &residual}, {&mean.array(), &var.array(), &gamma.array(), &beta.array()});
    if (x.size() > 0) {
        const Scratch<double> rstd(channels);
        const Released released;
        kernels->batch_norm->rstd(var.doubles(), epsilon, rstd, channels);
        kernels->batch_norm->apply[int(x.dtype())]({.x = x.data(),
                                                    .gamma = gamma.data(),
                                                    .beta = beta.data(),
                                                    .residual = at(residual, 0),
                                                    .y = y.data(),
                                                    .mean = mean.doubles(),
                                                    .rstd = rstd,
                                                    .layout = layout,
                                                    .relu = relu});
    }
    return y.finish();
}

Ref batch_norm_forward(const Arguments<docs::batch_norm_forward>& in) {
    const Array x = read(in["x"]);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    if (layout.outer * layout.inner < 2)
        in["x"].fail(PyExc_ValueError, "have more than one value per channel", "shape " + text(x.shape()));
    const Parameter gamma(in["gamma"], x, {channels}, working_type(x), 1);
    const Parameter beta(in["beta"], x, {channels}, working_type(x), 0);
    const Argument running_mean = in["running_mean"], running_var = in["running_var"];
    Running means(running_mean, channels), variances(running_var, channels);
    if (means.given() != variances.given())
        (means.given() ? running_var : running_mean)
            .fail(PyExc_ValueError,
                  std::string("be given together with ") + (means.given() ? running_mean : running_var).name(), "None");
    means.require_disjoint(running_var);
    const double momentum = in["momentum"].between(0, 1, 0.1);
    const bool unbiased = in["unbiased"].flag(true);
    const double epsilon = in["eps"].non_negative(1e-5);
    const bool relu = is_relu(in["activation"]);
    const Array residual = in["residual"].given() ? read_like(in["residual"], x) : Array();
    const std::vector<Part> all = parts(in["virtual_batch_size"], layout, x);
    Output y(in["out"], x, {&x, &residual}, {&gamma.array(), &beta.array()});
    for (const Running* running : {&means, &variances}) running->require_disjoint(in["out"]);
    const Shape shape = statistics_shape(in["virtual_batch_size"], all, channels);
    Array mean = empty_doubles(shape), rstd = empty_doubles(shape);
    const Array var = empty_doubles(shape);
    if (x.size() > 0) {
        const Released released;
        for (const Part& part : all)
            kernels->batch_norm->forward[int(x.dtype())](
                {.x = at(x, part.first_value),
                 .gamma = gamma.data(),
                 .beta = beta.data(),
                 .residual = at(residual, part.first_value),
                 .y = static_cast<char*>(y.data()) + part.first_value * x.itemsize(),
                 .mean = mean.doubles() + part.first_unit,
                 .rstd = rstd.doubles() + part.first_unit,
                 .var = var.doubles() + part.first_unit,
                 .layout = part.layout,
                 .eps = epsilon,
                 .relu = relu});
    }
    if (means.given()) {
        const Scratch<double> pooled(2 * channels);
        pool(all, mean, var, channels, pooled, pooled + channels);
        const double m = double(layout.outer * layout.inner);
        means.update(pooled, momentum, 1);
        variances.update(pooled + channels, momentum, unbiased ? m / (m - 1) : 1);
    }
    return forward_result(y.finish(), mean.release(), rstd.release());
}

Ref batch_norm_backward(const Arguments<docs::batch_norm_backward>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const ChannelLayout layout = channel_layout(in["axis"], x, 1);
    const npy_intp channels = layout.channels;
    const std::vector<Part> all = parts(in["virtual_batch_size"], layout, x);
    const Shape shape = statistics_shape(in["virtual_batch_size"], all, channels);
    const Array mean = read_statistic(in["mean"], shape), rstd = read_statistic(in["rstd"], shape);
    const Parameter gamma(in["gamma"], x, {channels}, working_type(x), 1);
    const Array y = in["y"].given() ? read_like(in["y"], dy) : Array();
    const bool relu = is_relu(in["activation"]);
    if (relu && !y)
        in["y"].fail(PyExc_ValueError, "be the result of the forward pass where activation is 'relu'", "None");
    const bool residual = in["residual"].flag(false), training = in["training"].flag(true);
    Output dx(in["out"], x, {&dy, &x, &y}, {&mean, &rstd, &gamma.array()});
    Array dresidual = residual ? empty_like(x) : Array();
    Gradient dgamma(gamma, {channels}), dbeta(gamma, {channels});
    std::fill_n(dgamma.sums(), channels, 0.0);
    std::fill_n(dbeta.sums(), channels, 0.0);
    if (x.size() > 0) {
        const Released released;
        for (const Part& part : all)
            kernels->batch_norm->backward[int(x.dtype())](
                {.dy = at(dy, part.first_value),
                 .x = at(x, part.first_value),
                 .gamma = gamma.data(),
                 .y = relu ? at(y, part.first_value) : nullptr,
                 .mean = mean.doubles() + part.first_unit,
                 .rstd = rstd.doubles() + part.first_unit,
                 .dx = static_cast<char*>(dx.data()) + part.first_value * x.itemsize(),
                 .dresidual = const_cast<char*>(at(dresidual, part.first_value)),
                 .dgamma = dgamma.sums(),
                 .dbeta = dbeta.sums(),
                 .layout = part.layout,
                 .training = training});
    }
    return backward_result(dx.finish(), dgamma.finish(), dbeta.finish(), residual ? dresidual.release() : Ref::none());
}
}  // namespace

void bind_batch_norm(PyObject* module) {
    forward_result.create(module);
    backward_result.create(module);
    add_functions(module, {method<batch_norm>(), method<batch_norm_forward>(), method<batch_norm_backward>()});
}
}  // namespace trimtab
