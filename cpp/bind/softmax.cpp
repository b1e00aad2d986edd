#include "docs/softmax.h"

#include "bind.h"

namespace trimtab {
namespace {

template <const auto& doc, Kernel<Softmax> (SoftmaxKernels::*table)[dtype_count]>
Ref forward(const Arguments<doc>& in) {
    const Array x = read(in["x"]);
    const RowLayout layout = row_layout(in["axis"], x);
    Output y(in["out"], x, {&x}, {}, layout.order);
    const Rows source(x, layout);
    if (x.size() > 0) {
        const Released released;
        (kernels->softmax->*table)[int(x.dtype())](
            {.x = source.data(), .y = y.data(), .rows = layout.rows, .width = layout.width});
    }
    return y.finish();
}

template <const auto& doc, Kernel<SoftmaxBackward> (SoftmaxKernels::*table)[dtype_count]>
Ref backward(const Arguments<doc>& in) {
    const Array dy = read(in["dy"]), y = read_like(in["y"], dy);
    const RowLayout layout = row_layout(in["axis"], dy);
    Output dx(in["out"], dy, {&dy, &y}, {}, layout.order);
    const Rows gradient(dy, layout), result(y, layout);
    if (dy.size() > 0) {
        const Released released;
        (kernels->softmax->*table)[int(dy.dtype())](
            {.dy = gradient.data(), .y = result.data(), .dx = dx.data(), .rows = layout.rows, .width = layout.width});
    }
    return dx.finish();
}
}  // namespace

void bind_softmax(PyObject* module) {
    using K = SoftmaxKernels;
    add_functions(module,
                  {method<forward<docs::softmax, &K::softmax>>(), method<forward<docs::log_softmax, &K::log_softmax>>(),
                   method<backward<docs::softmax_backward, &K::softmax_backward>>(),
                   method<backward<docs::log_softmax_backward, &K::log_softmax_backward>>()});
}
}  // namespace trimtab
