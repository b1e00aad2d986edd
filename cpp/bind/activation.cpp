#include <cmath>

#include "bind.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text relu{
    R"(relu(x, *, out=None)
--

Rectifier, elementwise.

    y = max(x, 0)

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. NaN stays NaN.

Raises
------
TypeError
    A dtype that is not one of the four, an argument that is not of the right kind.
ValueError
    An `out` that does not fit or is read-only.

References
----------
Nair, V., and Hinton, G. E. (2010). Rectified Linear Units Improve Restricted Boltzmann Machines. ICML.
)"};

constexpr Text relu_backward{
    R"(relu_backward(dy, y, *, out=None)
--

Gradient of `relu`.

    dx = dy where y > 0, else 0

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
y : array_like
    The result of the forward pass, or its input: both are positive in the same places. Of `dy`'s shape and dtype.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `y` itself.

Returns
-------
dx : ndarray
    Of `dy`'s shape and dtype; `out` where it is given. Where `dx` is 0 it is so whatever `dy` is, NaN and infinity too.

Raises
------
TypeError, ValueError
    As `relu`; also where `y` does not fit `dy`.
)"};

constexpr Text leaky_relu{
    R"(leaky_relu(x, negative_slope=0.05, *, out=None)
--

Rectifier that lets a part of what is negative through, elementwise.

    y = x where x > 0, else negative_slope * x

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape.
negative_slope : float, default 0.05
    Finite.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. NaN stays NaN.

Raises
------
TypeError
    A dtype that is not one of the four, an argument that is not of the right kind.
ValueError
    A slope that is not finite, an `out` that does not fit or is read-only.

References
----------
Maas, A. L., Hannun, A. Y., and Ng, A. Y. (2013). Rectifier Nonlinearities Improve Neural Network Acoustic Models. ICML.
)"};

constexpr Text leaky_relu_backward{
    R"(leaky_relu_backward(dy, x, negative_slope=0.05, *, out=None)
--

Gradient of `leaky_relu`.

    dx = dy where x > 0, else negative_slope * dy

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x : array_like
    The input of the forward pass; where `negative_slope` >= 0 its result will do as well, since both are positive in
    the same places. Of `dy`'s shape and dtype.
negative_slope : float, default 0.05
    As in the forward pass.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.

Returns
-------
dx : ndarray
    Of `dy`'s shape and dtype; `out` where it is given.

Raises
------
TypeError, ValueError
    As `leaky_relu`; also where `x` does not fit `dy`.
)"};

constexpr Text sigmoid{
    R"(sigmoid(x, *, out=None)
--

Logistic function, elementwise.

    y = 1 / (1 + exp(-x))

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. NaN stays NaN.

Raises
------
TypeError
    A dtype that is not one of the four, an argument that is not of the right kind.
ValueError
    An `out` that does not fit or is read-only.

Notes
-----
Within 1.5 units in the last place everywhere (16-bit results: of float32, then rounded), without overflow: for large
negative `x` it goes to 0 like exp(x) through the subnormal numbers, for large positive `x` it is exactly 1. The bits do
not depend on the instruction set.
)"};

constexpr Text sigmoid_backward{
    R"(sigmoid_backward(dy, y, *, out=None)
--

Gradient of `sigmoid`.

    dx = dy * y * (1 - y)

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
y : array_like
    The result of the forward pass, of `dy`'s shape and dtype.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `y` itself.

Returns
-------
dx : ndarray
    Of `dy`'s shape and dtype; `out` where it is given.

Raises
------
TypeError, ValueError
    As `sigmoid`; also where `y` does not fit `dy`.
)"};

constexpr Text tanh{
    R"(tanh(x, *, out=None)
--

Hyperbolic tangent, elementwise.

    y = (1 - exp(-2x)) / (1 + exp(-2x))

Parameters
----------
x : array_like
    float32, float64, float16 or bfloat16; any shape.
out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.

Returns
-------
y : ndarray
    Of `x`'s shape and dtype; `out` where it is given. NaN stays NaN.

Raises
------
TypeError
    A dtype that is not one of the four, an argument that is not of the right kind.
ValueError
    An `out` that does not fit or is read-only.

Notes
-----
Within 1.5 units in the last place everywhere, near 0 too (16-bit results: of float32, then rounded); exactly 1 and -1 far
out. The bits do not depend on the instruction set.
)"};

constexpr Text tanh_backward{
    R"(tanh_backward(dy, y, *, out=None)
--

Gradient of `tanh`.

    dx = dy * (1 - y^2)

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
y : array_like
    The result of the forward pass, of `dy`'s shape and dtype.
out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `y` itself.

Returns
-------
dx : ndarray
    Of `dy`'s shape and dtype; `out` where it is given.

Raises
------
TypeError, ValueError
    As `tanh`; also where `y` does not fit `dy`.
)"};
}  // namespace docs

double finite(const Argument& argument, double otherwise) {
    const double value = argument.number(otherwise);
    if (!std::isfinite(value)) argument.value_error("be finite");
    return value;
}

using Forward = Kernel<Activation> (ActivationKernels::*)[dtype_count];
using Backward = Kernel<ActivationBackward> (ActivationKernels::*)[dtype_count];

Ref apply(Forward table, const Array& x, const Argument& out, double slope = 0) {
    Output y(out, x, {&x});
    {
        const Released released;
        (kernels->activation->*table)[int(x.dtype())](
            {.x = x.data(), .y = y.data(), .count = x.size(), .slope = slope});
    }
    return y.finish();
}

Ref apply(Backward table, const Array& dy, const Array& y, const Argument& out, double slope = 0) {
    Output dx(out, dy, {&dy, &y});
    {
        const Released released;
        (kernels->activation->*table)[int(dy.dtype())](
            {.dy = dy.data(), .y = y.data(), .dx = dx.data(), .count = dy.size(), .slope = slope});
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
}  // namespace

void bind_activation(PyObject* module) {
    using K = ActivationKernels;
    add_functions(
        module, {method<forward<docs::relu, &K::relu>>(), method<backward<docs::relu_backward, &K::relu_backward>>(),
                 method<leaky_relu>(), method<leaky_relu_backward>(), method<forward<docs::sigmoid, &K::sigmoid>>(),
                 method<backward<docs::sigmoid_backward, &K::sigmoid_backward>>(),
                 method<forward<docs::tanh, &K::tanh>>(), method<backward<docs::tanh_backward, &K::tanh_backward>>()});
}
}  // namespace trimtab
