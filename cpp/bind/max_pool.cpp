#include "docs/max_pool.h"

#include "pool.h"

namespace trimtab {
namespace {

Ref max_pool(const Arguments<docs::max_pool>& in) {
    const Array x = read(in["x"]);
    const npy_intp* const extents = read_extents(in["x"], x, 4, "(N, H, W, C)");
    PoolLayout layout =
        pool_layout(extents[0], extents[3], {extents[1], extents[2]}, in["kernel"], in["before"], in["stride"]);
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
    PoolLayout layout = pool_layout(image[0], image[3], {image[1], image[2]}, in["kernel"], in["before"], in["stride"]);
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
