// Signatures and docstrings of max pooling.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto max_pool = join(
    R"(max_pool(x, kernel, before, stride, output)
--

Max pooling of channels-last images.

    y[n, i, j, c] = max over a, b of x[n, i * stride + a - before, j * stride + b - before, c]

Parameters
----------
x : array_like
    Shape (N, H, W, C), of one of the four dtypes.
kernel, before, stride, output : tuple of two ints
    For height and width: the extents of the kernel, whose elements outside of the image do not count; the elements of
    the first window before the image; the step of the windows; and their number.

Returns
-------
y : ndarray
    Shape (N, *output, C), of `x`'s dtype. NaN counts as the largest; the maximum of nothing is -inf.

Raises
------
)",
    errors_of_images);

constexpr auto max_pool_backward = join(
    R"(max_pool_backward(dy, x, y, kernel, before, stride)
--

Gradient of `max_pool`: each `dy` goes to the first of the largest values, row by row; that of a NaN is dropped.

Parameters
----------
)",
    dy,
    R"(x, y : array_like
    Of the forward pass, of `dy`'s dtype, and y of its shape.
kernel, before, stride : tuple of two ints
    As in the forward pass.

Returns
-------
dx : ndarray
    Of the shape and dtype of `x`. Where windows overlap, gradients add up in the order of the windows.

Raises
------
)",
    errors_of_images);
}  // namespace trimtab::docs
