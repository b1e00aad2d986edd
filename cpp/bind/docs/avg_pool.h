// Signatures and docstrings of average pooling.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto avg_pool = join(
    R"(avg_pool(x, kernel, before, stride, output, count_include_pad=True)
--

Average pooling of channels-last images.

    y[n, i, j, c] = sum over a, b of x[n, i * stride + a - before, j * stride + b - before, c] / count

Parameters
----------
x : array_like
    Shape (N, H, W, C), of one of the four dtypes.
kernel, before, stride, output : tuple of two ints
    As for `max_pool`. Values outside of the image are zeros.
count_include_pad : bool, default True
    Whether count is the size of the kernel. False: the size of its part inside of the image; an empty mean is 0.

Returns
-------
y : ndarray
    Shape (N, *output, C), of `x`'s dtype.

Raises
------
)",
    errors_of_images);

constexpr auto avg_pool_backward = join(
    R"(avg_pool_backward(dy, image, kernel, before, stride, count_include_pad=True)
--

Gradient of `avg_pool`: each dy / count goes to all elements in its window.

Parameters
----------
)",
    dy,
    R"(image : tuple of two ints
    Height and width of x.
kernel, before, stride, count_include_pad
    As in the forward pass.

Returns
-------
dx : ndarray
    Shape (N, *image, C), of `dy`'s dtype.

Raises
------
)",
    errors_of_images);
}  // namespace trimtab::docs
