"""Average pooling of images (N, H, W, C). `before` is the padding in front of the first row and column."""

import numpy as np

from reference.axes import wide
from reference.max_pool import pooled_at


def avg_pool(x, kernel, before, stride, output, count_include_pad=True):
    """y[n, i, j, c] = sum of x[n, :, :, c] under the kernel at (i, j) / count; 0 where there is nothing"""
    y = np.empty((len(x), *output, x.shape[3]))
    for position in np.ndindex(*output):
        under = wide(x[pooled_at(position, kernel, before, stride)])
        count = max(np.prod(kernel if count_include_pad else under.shape[1:3]), 1)
        y[:, *position] = under.sum((1, 2)) / count
    return y


def avg_pool_backward(dy, image, kernel, before, stride, count_include_pad=True):
    """dx: each dy[n, i, j, c] / count goes to all values under the kernel at (i, j)"""
    dx = np.zeros((len(dy), *image, dy.shape[3]))
    for position in np.ndindex(*dy.shape[1:3]):
        under = dx[pooled_at(position, kernel, before, stride)]
        count = np.prod(kernel if count_include_pad else under.shape[1:3])
        if under.size:
            under += wide(dy[:, *position])[:, None, None] / count
    return dx
