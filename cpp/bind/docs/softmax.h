// Signatures and docstrings of the softmax.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr char softmax_axes[] = R"(axis : int or tuple of ints, default -1
    The axis or axes that the sum goes over.
)";

constexpr char softmax_errors[] = R"(TypeError
    A dtype that is not one of the four, an argument of the wrong type.
ValueError
    An `out` of the wrong shape, or read-only; no axis, or one that is named twice.
numpy.exceptions.AxisError
    An axis that `x` does not have.
)";

constexpr auto softmax = join(
    R"(softmax(x, *, axis=-1, out=None)
--

Softmax along an axis.

    y = exp(x) / sum(exp(x))

Parameters
----------
)",
    x_with_axes, softmax_axes, out_for_y,
    R"(
Returns
-------
)",
    y_like_x,
    R"(
Raises
------
)",
    softmax_errors,
    R"(
Notes
-----
Rows are shifted by their maximum, so values of any size are safe. -inf counts as absent: its result is 0. A row of
-inf alone, or one with NaN or inf, is NaN. The bits do not depend on the instruction set, the number of threads, or the
other rows.

References
----------
Bridle, J. S. (1990). Probabilistic Interpretation of Feedforward Classification Network Outputs. Neurocomputing.
)",
    examples,
    R"(>>> tt.softmax([0.0, 0.0, -1000.0])
array([0.5, 0.5, 0. ])
)");

constexpr auto softmax_backward = join(
    R"(softmax_backward(dy, y, *, axis=-1, out=None)
--

Gradient of `softmax`.

    dx = y * (dy - sum(dy * y))

Parameters
----------
)",
    dy,
    R"(y : array_like
    The result of the forward pass, of `dy`'s shape and dtype.
)",
    softmax_axes, out_for_dx_over_y,
    R"(
Returns
-------
)",
    dx_like_dy,
    R"(
Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `softmax`; also where `y` does not fit `dy`.
)",
    examples,
    R"(>>> tt.softmax_backward([1.0, 0.0], y=[0.5, 0.5])
array([ 0.25, -0.25])
)");

constexpr auto log_softmax = join(
    R"(log_softmax(x, *, axis=-1, out=None)
--

Logarithm of the softmax along an axis.

    y = x - log(sum(exp(x)))

Parameters
----------
)",
    x_with_axes, softmax_axes, out_for_y,
    R"(
Returns
-------
)",
    y_like_x,
    R"(
Raises
------
)",
    softmax_errors,
    R"(
Notes
-----
Rows are shifted by their maximum, so values of any size are safe. -inf counts as absent: its result is -inf. A row of
-inf alone, or one with NaN or inf, is NaN. The bits do not depend on the instruction set, the number of threads, or the
other rows.

References
----------
Bridle, J. S. (1990). Probabilistic Interpretation of Feedforward Classification Network Outputs. Neurocomputing.
)",
    examples,
    R"(>>> tt.log_softmax([0.0, 1000.0])
array([-1000.,     0.])
)");

constexpr auto log_softmax_backward = join(
    R"(log_softmax_backward(dy, y, *, axis=-1, out=None)
--

Gradient of `log_softmax`.

    dx = dy - exp(y) * sum(dy)

Parameters
----------
)",
    dy,
    R"(y : array_like
    The result of the forward pass, of `dy`'s shape and dtype.
)",
    softmax_axes, out_for_dx_over_y,
    R"(
Returns
-------
)",
    dx_like_dy,
    R"(
Raises
------
TypeError, ValueError, numpy.exceptions.AxisError
    As `log_softmax`; also where `y` does not fit `dy`.
)",
    examples,
    R"(>>> tt.log_softmax_backward([0.0, 1.0], y=[0.0, -1000.0])
array([-1.,  1.])
)");
}  // namespace trimtab::docs
