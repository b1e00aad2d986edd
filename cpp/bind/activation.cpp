#include "docs/activation.h"

#include <cmath>

#include "bind.h"

namespace trimtab {
namespace {

double finite(const Argument& argument, double fallback) {
    const double value = argument.number(fallback);
    if (!std::isfinite(value)) argument.value_error("be finite");
    return value;
}

using Forward = Kernel<Activation> (ActivationKernels::*)[dtype_count];
using Backward = Kernel<ActivationBackward> (ActivationKernels::*)[dtype_count];

Ref apply(Forward table, const Array& x, const Argument& out, double slope = 0, bool approximate = false) {
    Output y(out, x, {&x});
    {
        const Released released;
        (kernels->activation->*table)[int(x.dtype())](
            {.x = x.data(), .y = y.data(), .count = x.size(), .slope = slope, .approximate = approximate});
    }
    return y.finish();
}

Ref apply(Backward table, const Array& dy, const Array& y, const Argument& out, double slope = 0,
          bool approximate = false) {
    Output dx(out, dy, {&dy, &y});
    {
        const Released released;
        (kernels->activation->*table)[int(dy.dtype())]({.dy = dy.data(),
                                                        .y = y.data(),
                                                        .dx = dx.data(),
                                                        .count = dy.size(),
                                                        .slope = slope,
                                                        .approximate = approximate});
    }
    return dx.finish();
}

template <const auto& doc, Forward table>
Ref forward(const Arguments<doc>& in) {
    return apply(table, read(in["x"]), in["out"]);
}
template <const auto& doc, Backward table>
Ref backward(const Arguments<doc>& in) {
    const Array dy = read(in["dy"]), y = read_like(in["y"], dy);
    return apply(table, dy, y, in["out"]);
}

constexpr double default_slope = 0.05;

Ref leaky_relu(const Arguments<docs::leaky_relu>& in) {
    const Array x = read(in["x"]);
    const double slope = finite(in["negative_slope"], default_slope);
    return apply(&ActivationKernels::leaky_relu, x, in["out"], slope);
}
Ref leaky_relu_backward(const Arguments<docs::leaky_relu_backward>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const double slope = finite(in["negative_slope"], default_slope);
    return apply(&ActivationKernels::leaky_relu_backward, dy, x, in["out"], slope);
}

Ref silu_backward(const Arguments<docs::silu_backward>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    return apply(&ActivationKernels::silu_backward, dy, x, in["out"]);
}

Ref gelu(const Arguments<docs::gelu>& in) {
    const Array x = read(in["x"]);
    const bool approximate = in["approximate"].flag(false);
    return apply(&ActivationKernels::gelu, x, in["out"], 0, approximate);
}
Ref gelu_backward(const Arguments<docs::gelu_backward>& in) {
    const Array dy = read(in["dy"]), x = read_like(in["x"], dy);
    const bool approximate = in["approximate"].flag(false);
    return apply(&ActivationKernels::gelu_backward, dy, x, in["out"], 0, approximate);
}
}  // namespace

void bind_activation(PyObject* module) {
    using K = ActivationKernels;
    add_functions(
        module,
        {method<forward<docs::relu, &K::relu>>(), method<backward<docs::relu_backward, &K::relu_backward>>(),
         method<leaky_relu>(), method<leaky_relu_backward>(), method<forward<docs::sigmoid, &K::sigmoid>>(),
         method<backward<docs::sigmoid_backward, &K::sigmoid_backward>>(), method<forward<docs::tanh, &K::tanh>>(),
         method<backward<docs::tanh_backward, &K::tanh_backward>>(), method<forward<docs::silu, &K::silu>>(),
         method<silu_backward>(), method<gelu>(), method<gelu_backward>()});
}
}  // namespace trimtab
