#include "docs/max_norm.h"

#include "bind.h"

namespace trimtab {
namespace {

Ref max_norm(const Arguments<docs::max_norm>& in) {
    const Array w = read(in["w"]);
    const double limit = in["limit"].non_negative(0);
    const RowLayout layout = row_layout(in["axis"], w);
    Output y(in["out"], w, {&w}, {}, layout.order);
    const Array source = layout.order.empty() ? Array() : reordered(w, layout.order);
    if (w.size() > 0) {  // an empty array may have too many rows for a loop
        const Released released;
        kernels->max_norm->project[int(w.dtype())]({.x = (source ? source : w).data(),
                                                    .y = y.data(),
                                                    .rows = layout.rows,
                                                    .width = layout.width,
                                                    .limit = limit});
    }
    return y.finish();
}
}  // namespace

void bind_max_norm(PyObject* module) { add_functions(module, {method<max_norm>()}); }
}  // namespace trimtab
