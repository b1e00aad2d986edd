#include "docs/group_norm.h"

#include <algorithm>
#include <cmath>

#include "bind.h"

namespace trimtab {
namespace {

ResultType group_forward_result("GroupNormForwardResult", "y mean rstd");
ResultType group_backward_result("GroupNormBackwardResult", "dx dgamma dbeta");
ResultType instance_forward_result("InstanceNormForwardResult", "y mean rstd");
ResultType instance_backward_result("InstanceNormBackwardResult", "dx dgamma dbeta");

// Without `num_groups`, which has no default, each channel is a group.
GroupLayout group_layout(const Array& x, const Argument& num_groups, const Argument& axis) {
    const auto [samples, outer, channels, inner, other_values] = sample_layout(axis, x, 1);
    npy_intp groups = channels;
    if (num_groups.value()) {
        constexpr const char* rule = "be an int >= 1";
        groups = num_groups.integer(rule);
        if (groups < 1) num_groups.value_error(rule);
        if (channels % groups != 0) num_groups.value_error("divide the " + std::to_string(channels) + " channels");
    }
    return {samples, outer, groups, channels / std::max<npy_intp>(groups, 1), inner};
}

struct ForwardArguments {
    Argument x, num_groups = {}, gamma, beta, axis, eps, out;
};

Ref forward(const ForwardArguments& in, const ResultType* result) {
    const Array x = read(in.x);
    const GroupLayout layout = group_layout(x, in.num_groups, in.axis);
    const Shape parameters = {layout.groups * layout.channels}, statistics = {layout.samples, layout.groups};
    const Parameter gamma(in.gamma, x, parameters, working_type(x), 1, x.size() > 0);
    const Parameter beta(in.beta, x, parameters, working_type(x), 0, x.size() > 0);
    const double epsilon = in.eps.non_negative(1e-5);
    Output y(in.out, x, {&x}, {&gamma.array(), &beta.array()});
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
    const GroupLayout layout = group_layout(x, in.num_groups, in.axis);
    const Shape parameters = {layout.groups * layout.channels}, statistics = {layout.samples, layout.groups};
    const Array mean = read_statistic(in.mean, statistics), rstd = read_statistic(in.rstd, statistics);
    const DType gamma_type = kernels->group_norm->by_row(layout) ? working_type(x) : DType::float64;
    const Parameter gamma(in.gamma, x, parameters, gamma_type, 1, x.size() > 0);
    Output dx(in.out, x, {&dy, &x}, {&mean, &rstd, &gamma.array()});
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
