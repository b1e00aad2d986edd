"""Max pooling of images (N, H, W, C). `before` is the padding in front of the first row and column."""

import numpy as np

from reference.axes import wide


def pooled_at(position, kernel, before, stride):
    """The pixels under the kernel at an output position, as an index of (N, H, W, C)."""
    first = np.multiply(position, stride) - before
    rows, columns = (slice(max(at, 0), max(at + size, 0)) for at, size in zip(first, kernel, strict=True))
    return slice(None), rows, columns


def max_pool(x, kernel, before, stride, output):
    """y[n, i, j, c] = max of x[n, :, :, c] under the kernel at (i, j); -inf where there is nothing"""
    y = np.empty((len(x), *output, x.shape[3]))
    for position in np.ndindex(*output):
        y[:, *position] = wide(x[pooled_at(position, kernel, before, stride)]).max((1, 2), initial=-np.inf)
    return y


def max_pool_backward(dy, x, kernel, before, stride):
    """dx: each dy[n, i, j, c] goes to the first of the largest values under the kernel at (i, j)"""
    dx = np.zeros(x.shape)
    for position in np.ndindex(*dy.shape[1:3]):
        under = pooled_at(position, kernel, before, stride)
        if not x[under].size:
            continue
        for sample, channel in np.ndindex(len(x), x.shape[3]):
            window = x[under][sample, :, :, channel]
            row, column = np.unravel_index(
                np.argmax(window), window.shape
            )  # argmax: the first of equal values
            dx[under][sample, row, column, channel] += dy[sample, *position, channel]
    return dx
