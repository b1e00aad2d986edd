"""Convolution of images (N, H, W, channels), and the gradient with respect to its weights.

Weights are (groups, A, B, C, K): a kernel of A x B, C input and K output channels for each group. `before` is
the padding in front of the first row and column. A `spacing` above 1 puts zeros between the values of x.
"""

import numpy as np

from reference.axes import wide


def window_at(position, x, kernel, before, stride, spacing):
    """x under the kernel at an output position (N, A, B, channels), with 0 for padding and spacing."""
    window = np.zeros((len(x), *kernel, x.shape[3]))
    for element in np.ndindex(*kernel):
        at = np.multiply(position, stride) + element - before
        source = at // spacing
        if not np.any(at % spacing) and np.all(source >= 0) and np.all(source < x.shape[1:3]):
            window[:, *element] = x[:, *source]
    return window


def convolve(x, weight, bias, before, stride, spacing, output):
    """y[n, i, j, g, k] = sum over a, b, c of x[n, i * stride + a - before, j * stride + b - before, g, c]
    * weight[g, a, b, c, k], plus the bias
    """
    groups, *kernel, channels, outputs = weight.shape
    y = np.empty((len(x), *output, groups, outputs))
    for position in np.ndindex(*output):
        window = window_at(position, x, kernel, before, stride, spacing)
        window = window.reshape(len(x), *kernel, groups, channels)
        y[:, *position] = np.einsum("nabgc,gabck->ngk", window, wide(weight))
    return y.reshape(len(x), *output, -1) + (0 if bias is None else bias)


def convolve_weights(dy, x, groups, kernel, before, stride):
    """dweight[g, a, b, c, k] = sum over n, i, j of dy[n, i, j, g, k] * x[n, i * stride + a - before,
    j * stride + b - before, g, c]
    """
    dweight = 0
    for position in np.ndindex(*dy.shape[1:3]):
        window = window_at(position, x, kernel, before, stride, (1, 1))
        window = window.reshape(len(x), *kernel, groups, -1)
        dweight += np.einsum("nabgc,ngk->gabck", window, wide(dy[:, *position]).reshape(len(x), groups, -1))
    return dweight
