#include "docs/avg_pool.h"

#include "pool.h"

namespace trimtab {
namespace {

void pool(const Array& from, Array& to, const PoolLayout& layout, bool backward, bool count_include_pad) {
    if (to.size() == 0) return;
    const int dtype = int(from.dtype());
    const Released released;
    kernels->avg_pool->pool({.from = from.data(),
                             .to = to.data(),
                             .layout = layout,
                             .backward = backward,
                             .count_include_pad = count_include_pad,
                             .bytes = from.itemsize(),
                             .widen = kernels->convert->widen[dtype][1],
                             .narrow = kernels->convert->narrow[dtype]});
}

Ref avg_pool(const Arguments<docs::avg_pool>& in) {
    const Array x = read(in["x"]);
    const npy_intp* const extents = read_extents(in["x"], x, 4, "(N, H, W, C)");
    PoolLayout layout =
        pool_layout(extents[0], extents[3], {extents[1], extents[2]}, in["kernel"], in["before"], in["stride"]);
    layout.output = read_plane(in["output"], 0);
    const bool count_include_pad = in["count_include_pad"].flag(true);
    Array y = empty_like(x, {layout.samples, layout.output.height, layout.output.width, layout.channels});
    pool(x, y, layout, false, count_include_pad);
    return y.release();
}

Ref avg_pool_backward(const Arguments<docs::avg_pool_backward>& in) {
    const Array dy = read(in["dy"]);
    const npy_intp* const extents = read_extents(in["dy"], dy, 4, "(N, *output, C)");
    PoolLayout layout =
        pool_layout(extents[0], extents[3], read_plane(in["image"], 0), in["kernel"], in["before"], in["stride"]);
    layout.output = {extents[1], extents[2]};
    const bool count_include_pad = in["count_include_pad"].flag(true);
    Array dx = empty_like(dy, {layout.samples, layout.image.height, layout.image.width, layout.channels});
    pool(dy, dx, layout, true, count_include_pad);
    return dx.release();
}
}  // namespace

void bind_avg_pool(PyObject* module) { add_functions(module, {method<avg_pool>(), method<avg_pool_backward>()}); }
}  // namespace trimtab
