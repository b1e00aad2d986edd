// Signatures and docstrings of convolution.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto convolve = join(
    R"(convolve(x, weight, bias, before, stride, spacing, output)
--

Convolution of channels-last images (without the flip: cross-correlation).

    y[n, i, j, g, o] = bias[g, o] + sum over a, b, c of weight[g, a, b, c, o]
                       * z[n, i * stride + a - before, j * stride + b - before, g, c]

where z is `x` with its elements `spacing` apart, and zeros between and around them.

Parameters
----------
x : array_like
    Shape (N, H, W, G * C), of one of the four dtypes.
weight : array_like
    Shape (G, A, B, C, O), of any real dtype.
bias : array_like or None
    Shape (G * O,), of any real dtype.
before, stride, spacing, output : tuple of two ints
    For height and width: zeros before `x` (negative: elements left out), the stride of the kernel, the spacing of the
    elements of `x`, and the extents of y.

Returns
-------
y : ndarray
    Shape (N, *output, G * O), of `x`'s dtype, summed in float32 or wider. The bits do not depend on the number of threads
    or on the instruction set.

Raises
------
)",
    errors_of_images);

constexpr auto convolve_weights = join(
    R"(convolve_weights(dy, x, groups, kernel, before, stride)
--

Gradient of `convolve` with respect to its weight, for a spacing of 1.

    dweight[g, a, b, c, o] = sum over n, i, j of dy[n, i, j, g, o]
                             * z[n, i * stride + a - before, j * stride + b - before, g, c]

Parameters
----------
dy : array_like
    Gradient with respect to y: shape (N, *output, G * O), of one of the four dtypes.
x : array_like
    Of the forward pass: shape (N, H, W, G * C), of `dy`'s dtype.
groups : int
    G.
kernel, before, stride : tuple of two ints
    For height and width; A and B are `kernel`.

Returns
-------
dweight : ndarray
    Shape (G, A, B, C, O), float64 where `dy` is, else float32. The bits do not depend on the number of threads or on the
    instruction set.

Raises
------
)",
    errors_of_images);
}  // namespace trimtab::docs
