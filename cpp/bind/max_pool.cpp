#include "images.h"

namespace trimtab {
namespace {

namespace docs {
constexpr Text max_pool{
    R"(max_pool(x, kernel, before, stride, output)
--

Largest values under a kernel that moves over images whose channels stand last.

    y[n, i, j, c] = max over a, b of x[n, i * stride + a - before, j * stride + b - before, c]

Parameters
----------
x : array_like
    Shape (N, H, W, C), of one of the four dtypes.
kernel, before, stride, output : tuple of two ints
    For height and width: the extents of the kernel, of which what lies outside of the image does not count; by how much it
    overhangs the image at first; its step; and its places.

Returns
-------
y : ndarray
    Shape (N, *output, C), of `x`'s dtype. NaN counts as the largest; the maximum of nothing is -inf.

Raises
------
TypeError, ValueError
    An argument of the wrong dtype, kind, shape or range.
)"};

constexpr Text max_pool_backward{
    R"(max_pool_backward(dy, x, y, kernel, before, stride)
--

Gradient of `max_pool`: each `dy` goes to the first of the largest values, row by row; that of NaN is lost.

Parameters
----------
dy : array_like
    Gradient with respect to y, of one of the four dtypes.
x, y : array_like
    Of the forward pass, of `dy`'s dtype, and y of its shape.
kernel, before, stride : tuple of two ints
    As in the forward pass.

Returns
-------
dx : ndarray
    Of the shape and dtype of `x`. Where windows overlap gradients add up, in the order of the places.

Raises
------
TypeError, ValueError
    An argument of the wrong dtype, kind, shape or range.
)"};
}  // namespace docs

MaxPoolLayout layout_of(const npy_intp* image, const Argument& kernel, const Argument& before, const Argument& stride) {
    return {.samples = image[0],
            .channels = image[3],
            .image = {image[1], image[2]},
            .kernel = read_plane(kernel, 1),
            .before = read_plane(before, -largest_extent),
            .stride = read_plane(stride, 1),
            .output = {}};
}

Ref max_pool(const Arguments<docs::max_pool>& in) {
    const Array x = read(in["x"]);
    MaxPoolLayout layout =
        layout_of(read_extents(in["x"], x, 4, "(N, H, W, C)"), in["kernel"], in["before"], in["stride"]);
    layout.output = read_plane(in["output"], 0);
    Array y = empty_like(x, {layout.samples, layout.output.height, layout.output.width, layout.channels});
    if (y.size() > 0) {
        const Released released;
        kernels->max_pool->forward[int(x.dtype())]({.x = x.data(), .y = y.data(), .layout = layout});
    }
    return y.release();
}

Ref max_pool_backward(const Arguments<docs::max_pool_backward>& in) {
    const Array dy = read(in["dy"]);
    const npy_intp* const output = read_extents(in["dy"], dy, 4, "(N, *output, C)");
    const Array x = read(in["x"]), y = read_like(in["y"], dy);
    require_dtype(in["x"], x, dy.dtype());
    const npy_intp* const image = read_extents(in["x"], x, 4, "(N, H, W, C)");
    if (image[0] != output[0] || image[3] != output[3])
        in["x"].fail(PyExc_ValueError, "have the samples and channels of dy", text(x.shape()));
    MaxPoolLayout layout = layout_of(image, in["kernel"], in["before"], in["stride"]);
    layout.output = {output[1], output[2]};
    Array dx = empty_like(x);
    if (dx.size() > 0) {
        const Released released;
        kernels->max_pool->backward[int(x.dtype())](
            {.dy = dy.data(), .x = x.data(), .y = y.data(), .dx = dx.data(), .layout = layout});
    }
    return dx.release();
}
}  // namespace

void bind_max_pool(PyObject* module) { add_functions(module, {method<max_pool>(), method<max_pool_backward>()}); }
}  // namespace trimtab
