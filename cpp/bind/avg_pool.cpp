#include "pool.h"

namespace trimtab {
namespace {

const Signature avg_pool_signature(
    R"(avg_pool(x, kernel, before, stride, output, count_include_pad=True)
--

Means under a kernel that moves over images whose channels come last.

    y[n, i, j, c] = sum over a, b of x[n, i * stride + a - before, j * stride + b - before, c] / count

Parameters
----------
x : array_like
    Shape (N, H, W, C), of one of the four dtypes.
kernel, before, stride, output : tuple of two ints
    As for `max_pool`. Values outside of the image are zeros.
count_include_pad : bool, default True
    count is the size of the kernel. False: only of its part inside of the image; the mean of nothing is NaN.

Returns
-------
y : ndarray
    Shape (N, *output, C), of `x`'s dtype.

Raises
------
TypeError, ValueError
    An argument of the wrong dtype, kind, shape or range.
)");

const Signature avg_pool_backward_signature(
    R"(avg_pool_backward(dy, image, kernel, before, stride, count_include_pad=True)
--

Gradient of `avg_pool`: each dy / count goes to all elements in its window.

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
image : tuple of two ints
    Height and width of x.
kernel, before, stride, count_include_pad
    As in the forward pass.

Returns
-------
dx : ndarray
    Shape (N, *image, C), of `dy`'s dtype.

Raises
------
TypeError, ValueError
    An argument of the wrong dtype, kind, shape or range.
)");

PyObject* avg_pool(const Arguments& in) {
    const Array x = read(in[0]);
    const npy_intp* const extents = read_extents(in[0], x, 4, "(N, H, W, C)");
    PoolLayout layout = pool_layout(extents[0], extents[3], {extents[1], extents[2]}, in[1], in[2], in[3]);
    layout.output = read_plane(in[4], 0);
    const bool count_include_pad = in[5].flag(true);
    Array y = empty({layout.samples, layout.output.height, layout.output.width, layout.channels}, x.descr(), x.dtype());
    if (y.size() > 0) {
        const Released released;
        kernels->avg_pool->forward[int(x.dtype())](
            {.x = x.data(), .y = y.data(), .layout = layout, .count_include_pad = count_include_pad});
    }
    return y.release();
}

PyObject* avg_pool_backward(const Arguments& in) {
    const Array dy = read(in[0]);
    const npy_intp* const extents = read_extents(in[0], dy, 4, "(N, *output, C)");
    PoolLayout layout = pool_layout(extents[0], extents[3], read_plane(in[1], 0), in[2], in[3], in[4]);
    layout.output = {extents[1], extents[2]};
    const bool count_include_pad = in[5].flag(true);
    Array dx =
        empty({layout.samples, layout.image.height, layout.image.width, layout.channels}, dy.descr(), dy.dtype());
    if (dx.size() > 0) {
        const Released released;
        kernels->avg_pool->backward[int(dy.dtype())](
            {.dy = dy.data(), .dx = dx.data(), .layout = layout, .count_include_pad = count_include_pad});
    }
    return dx.release();
}
}  // namespace

void bind_avg_pool(PyObject* module) {
    add_functions(module,
                  {method<avg_pool_signature, avg_pool>(), method<avg_pool_backward_signature, avg_pool_backward>()});
}
}  // namespace trimtab
