// Paragraphs that docstrings of several families share. A docstring is put together from them when it is compiled.
#pragma once
#include "../../signature.h"

namespace trimtab::docs {

// ---- Parameters ----

constexpr char x_of_any_shape[] = R"(x : array_like
    float32, float64, float16 or bfloat16; any shape.
)";

constexpr char x_with_axes[] = R"(x : array_like
    float32, float64, float16 or bfloat16; any shape of at least one dimension.
)";

constexpr char x_with_channels[] = R"(x : array_like
    float32, float64, float16 or bfloat16; channels along `axis`.
)";

constexpr char residual_like_x[] = R"(residual : array_like
    Of `x`'s shape and dtype.
)";

constexpr char dy[] = R"(dy : array_like
    Gradient with respect to y, of one of the four dtypes.
)";

constexpr char x_of_forward[] = R"(x : array_like
    The input of the forward pass, of `dy`'s shape and dtype.
)";

constexpr char gamma_of_forward[] = R"(gamma : array_like, optional
    As in the forward pass.
)";

constexpr char gamma_beta_per_channel[] = R"(gamma, beta : array_like, optional
    Scale and shift of each channel, shape (C,) or with further axes of length 1, such as (1, C); of any real
    dtype. Ones and zeros if not given.
)";

constexpr char channel_axis[] = R"(axis : int, default 1
    The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
)";

constexpr char channel_axis_again[] = R"(axis : int, default 1
    The channel axis.
)";

constexpr char normalized_axes[] = R"(axis : int or tuple of ints, default -1
    The axis or axes to normalize over.
)";

constexpr char eps_in_variance[] = R"(eps : float, default 1e-5
    Added to the variance, inside the root; finite and >= 0.
)";

constexpr char out_for_y[] = R"(out : ndarray, optional
    Where to write the result: of `x`'s shape and dtype, writeable. May be `x` itself.
)";

constexpr char out_for_dx_over_x[] = R"(out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `x` itself.
)";

constexpr char out_for_dx_over_y[] = R"(out : ndarray, optional
    Where to write `dx`: of `dy`'s shape and dtype, writeable. May be `dy` or `y` itself.
)";

// ---- Returns ----

constexpr char y_like_x[] = R"(y : ndarray
    Of `x`'s shape and dtype; `out` if given.
)";

constexpr char y_like_x_with_nan[] = R"(y : ndarray
    Of `x`'s shape and dtype; `out` if given. NaN stays NaN.
)";

constexpr char dx_like_x[] = R"(dx : ndarray
    Gradient with respect to x, of its shape and dtype; `out` if given.
)";

constexpr char dx_like_dy[] = R"(dx : ndarray
    Gradient with respect to x, of `dy`'s shape and dtype; `out` if given.
)";

constexpr char dgamma_dbeta_per_channel[] = R"(dgamma, dbeta : ndarray
    Gradients with respect to the parameters, of `gamma`'s shape and dtype. Where it is not given the shape is (C,);
    where it is not given or not floating-point the dtype is that of `x`.
)";

// ---- Raises ----

constexpr char type_error[] = R"(TypeError
    A dtype that is not one of the four, an argument of the wrong type.
)";

constexpr char type_error_with_parameters[] = R"(TypeError
    A dtype that is not one of the four, a parameter that is not real, an argument of the wrong type.
)";

constexpr char value_error_of_out[] = R"(ValueError
    An `out` of the wrong shape, or read-only.
)";

constexpr char axis_error[] = R"(numpy.exceptions.AxisError
    An axis that `x` does not have.
)";

constexpr char errors_of_images[] = R"(TypeError, ValueError
    An argument of the wrong type, dtype, shape or range.
)";

// ---- Examples ----

constexpr char examples[] = R"(
Examples
--------
>>> import numpy as np, trimtab as tt
)";
}  // namespace trimtab::docs
