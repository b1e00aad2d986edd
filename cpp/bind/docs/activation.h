// Signatures and docstrings of activations.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr char dx_elementwise[] = R"(dx : ndarray
    Of `dy`'s shape and dtype; `out` if given.
)";

constexpr char y_of_forward[] = R"(y : array_like
    The result of the forward pass, of `dy`'s shape and dtype.
)";

constexpr auto relu = join(
    R"(relu(x, *, out=None)
--

Rectifier, elementwise.

    y = max(x, 0)

Parameters
----------
)",
    x_of_any_shape, out_for_y,
    R"(
Returns
-------
)",
    y_like_x_with_nan,
    R"(
Raises
------
)",
    type_error, value_error_of_out,
    R"(
References
----------
Nair, V., and Hinton, G. E. (2010). Rectified Linear Units Improve Restricted Boltzmann Machines. ICML.
)",
    examples,
    R"(>>> tt.relu([-1.0, 2.0])
array([0., 2.])
)");

constexpr auto relu_backward = join(
    R"(relu_backward(dy, y, *, out=None)
--

Gradient of `relu`.

    dx = dy where y > 0, else 0

Parameters
----------
)",
    dy,
    R"(y : array_like
    The result of the forward pass, or its input: both are positive in the same places. Of `dy`'s shape and dtype.
)",
    out_for_dx_over_y,
    R"(
Returns
-------
dx : ndarray
    Of `dy`'s shape and dtype; `out` if given. Where `y` > 0 does not hold `dx` is 0, even if `dy` is NaN or
    infinite.

Raises
------
TypeError, ValueError
    As `relu`; also where `y` does not fit `dy`.
)",
    examples,
    R"(>>> tt.relu_backward([5.0, 5.0], y=[0.0, 2.0])
array([0., 5.])
)");

constexpr auto leaky_relu = join(
    R"(leaky_relu(x, negative_slope=0.05, *, out=None)
--

Rectifier with a slope for negative values, elementwise.

    y = x where x > 0, else negative_slope * x

Parameters
----------
)",
    x_of_any_shape,
    R"(negative_slope : float, default 0.05
    Finite.
)",
    out_for_y,
    R"(
Returns
-------
)",
    y_like_x_with_nan,
    R"(
Raises
------
)",
    type_error,
    R"(ValueError
    A slope that is not finite, an `out` of the wrong shape or read-only.

References
----------
Maas, A. L., Hannun, A. Y., and Ng, A. Y. (2013). Rectifier Nonlinearities Improve Neural Network Acoustic Models. ICML.
)",
    examples,
    R"(>>> tt.leaky_relu([-1.0, 2.0], 0.25)
array([-0.25,  2.  ])
)");

constexpr auto leaky_relu_backward = join(
    R"(leaky_relu_backward(dy, x, negative_slope=0.05, *, out=None)
--

Gradient of `leaky_relu`.

    dx = dy where x > 0, else negative_slope * dy

Parameters
----------
)",
    dy,
    R"(x : array_like
    The input of the forward pass; where `negative_slope` >= 0 its result serves as well, since both are positive in the
    same places. Of `dy`'s shape and dtype.
negative_slope : float, default 0.05
    As in the forward pass.
)",
    out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_elementwise,
    R"(
Raises
------
TypeError, ValueError
    As `leaky_relu`; also where `x` does not fit `dy`.
)",
    examples,
    R"(>>> tt.leaky_relu_backward([4.0, 4.0], [-1.0, 2.0], 0.25)
array([1., 4.])
)");

constexpr auto sigmoid = join(
    R"(sigmoid(x, *, out=None)
--

Logistic function, elementwise.

    y = 1 / (1 + exp(-x))

Parameters
----------
)",
    x_of_any_shape, out_for_y,
    R"(
Returns
-------
)",
    y_like_x_with_nan,
    R"(
Raises
------
)",
    type_error, value_error_of_out,
    R"(
Notes
-----
The error is below 1.5 units in the last place everywhere (16-bit results: computed so in float32, then rounded), and
nothing overflows: for large negative `x` the result goes to 0 like exp(x), through the subnormal numbers; for large
positive `x` it is exactly 1. The bits do not depend on the instruction set.
)",
    examples,
    R"(>>> tt.sigmoid([0.0, 1000.0])
array([0.5, 1. ])
)");

constexpr auto sigmoid_backward = join(
    R"(sigmoid_backward(dy, y, *, out=None)
--

Gradient of `sigmoid`.

    dx = dy * y * (1 - y)

Parameters
----------
)",
    dy, y_of_forward, out_for_dx_over_y,
    R"(
Returns
-------
)",
    dx_elementwise,
    R"(
Raises
------
TypeError, ValueError
    As `sigmoid`; also where `y` does not fit `dy`.
)",
    examples,
    R"(>>> tt.sigmoid_backward([4.0, 4.0], y=[0.5, 1.0])
array([1., 0.])
)");

constexpr auto tanh = join(
    R"(tanh(x, *, out=None)
--

Hyperbolic tangent, elementwise.

    y = (1 - exp(-2x)) / (1 + exp(-2x))

Parameters
----------
)",
    x_of_any_shape, out_for_y,
    R"(
Returns
-------
)",
    y_like_x_with_nan,
    R"(
Raises
------
)",
    type_error, value_error_of_out,
    R"(
Notes
-----
The error is below 1.5 units in the last place everywhere, near 0 too (16-bit results: computed so in float32, then
rounded). For large |x| the result is exactly 1 or -1. The bits do not depend on the instruction set.
)",
    examples,
    R"(>>> tt.tanh([0.0, -1000.0])
array([ 0., -1.])
)");

constexpr auto tanh_backward = join(
    R"(tanh_backward(dy, y, *, out=None)
--

Gradient of `tanh`.

    dx = dy * (1 - y^2)

Parameters
----------
)",
    dy, y_of_forward, out_for_dx_over_y,
    R"(
Returns
-------
)",
    dx_elementwise,
    R"(
Raises
------
TypeError, ValueError
    As `tanh`; also where `y` does not fit `dy`.
)",
    examples,
    R"(>>> tt.tanh_backward([4.0, 4.0], y=[0.5, 1.0])
array([3., 0.])
)");

constexpr auto silu = join(
    R"(silu(x, *, out=None)
--

Sigmoid linear unit, also called swish, elementwise.

    y = x / (1 + exp(-x))

Parameters
----------
)",
    x_of_any_shape, out_for_y,
    R"(
Returns
-------
)",
    y_like_x_with_nan,
    R"(
Raises
------
)",
    type_error, value_error_of_out,
    R"(
Notes
-----
The error is below 4 units in the last place, for large negative `x`, too, down to the subnormal numbers (16-bit results:
computed so in float32, then rounded). silu(-inf) is -0, the limit. The bits do not depend on the instruction set.

References
----------
Elfwing, S., Uchibe, E., and Doya, K. (2018). Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
Reinforcement Learning. Neural Networks.
)",
    examples,
    R"(>>> tt.silu([-1000.0, 0.0, 1000.0])
array([  -0.,    0., 1000.])
)");

constexpr auto silu_backward = join(
    R"(silu_backward(dy, x, *, out=None)
--

Gradient of `silu`.

    dx = dy * (p + x * p * (1 - p)),   p = 1 / (1 + exp(-x))

Parameters
----------
)",
    dy, x_of_forward, out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_elementwise,
    R"(
Raises
------
TypeError, ValueError
    As `silu`; also where `x` does not fit `dy`.
)",
    examples,
    R"(>>> tt.silu_backward([4.0, 4.0], [0.0, 1000.0])
array([2., 4.])
)");

constexpr auto gelu = join(
    R"(gelu(x, approximate=False, *, out=None)
--

Gaussian error linear unit, elementwise.

    y = x * P(x),   P(x) = (1 + erf(x / sqrt(2))) / 2, the distribution of standard normal numbers
                    approximate: 1 / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))), which is the form with tanh

Parameters
----------
)",
    x_of_any_shape,
    R"(approximate : bool, default False
    Whether to take the approximation, which differs by up to 0.0005.
)",
    out_for_y,
    R"(
Returns
-------
)",
    y_like_x_with_nan,
    R"(
Raises
------
)",
    type_error, value_error_of_out,
    R"(
Notes
-----
The error of the exact form is below 6 units in the last place, for large negative `x`, too, down to the subnormal numbers
(16-bit results: computed so in float32, then rounded). gelu(-inf) is -0, the limit. The bits do not depend on the
instruction set.

References
----------
Hendrycks, D., and Gimpel, K. (2016). Gaussian Error Linear Units. arXiv:1606.08415.
)",
    examples,
    R"(>>> tt.gelu([-1000.0, 0.0, 1000.0])
array([  -0.,    0., 1000.])
)");

constexpr auto gelu_backward = join(
    R"(gelu_backward(dy, x, approximate=False, *, out=None)
--

Gradient of `gelu`.

    dx = dy * (P(x) + x * P'(x)),   P'(x) = exp(-x^2 / 2) / sqrt(2 pi), or the derivative of the approximation

Parameters
----------
)",
    dy, x_of_forward,
    R"(approximate : bool, default False
    As in the forward pass.
)",
    out_for_dx_over_x,
    R"(
Returns
-------
)",
    dx_elementwise,
    R"(
Raises
------
TypeError, ValueError
    As `gelu`; also where `x` does not fit `dy`.
)",
    examples,
    R"(>>> tt.gelu_backward([4.0, 4.0], [0.0, 1000.0])
array([2., 4.])
)");
}  // namespace trimtab::docs
