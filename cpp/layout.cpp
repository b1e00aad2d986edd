#include "layout.h"

#include <algorithm>
#include <numeric>

namespace trimtab {
namespace {

int checked_axis(const Argument& axis, Py_ssize_t value, const Array& x) {
    const Py_ssize_t ndim = x.ndim();
    if (value < -ndim || value >= ndim) {
        const Ref numpy = Ref::checked(PyImport_ImportModule("numpy.exceptions"));
        const Ref type = Ref::checked(PyObject_GetAttrString(numpy.get(), "AxisError"));
        PyErr_Format(type.get(), "%s: %s %zd is out of bounds for an array of %zd dimensions", axis.function(),
                     axis.name(), value, ndim);
        throw Raised();
    }
    return int(value < 0 ? value + ndim : value);
}

npy_intp product(const npy_intp* begin, const npy_intp* end) {
    return std::accumulate(begin, end, npy_intp(1), std::multiplies<>());
}
}  // namespace

ChannelLayout channel_layout(const Argument& axis, const Array& x, Py_ssize_t fallback) {
    const int a = checked_axis(axis, axis.value() ? axis.integer("be an int") : fallback, x);
    return {1, product(x.dims(), x.dims() + a), x.dims()[a], product(x.dims() + a + 1, x.dims() + x.ndim())};
}

ChannelLayout sample_layout(const Argument& axis, const Array& x, Py_ssize_t fallback) {
    const int a = checked_axis(axis, axis.value() ? axis.integer("be an int") : fallback, x);
    if (a == 0) axis.value_error("not be that of the samples");
    return {x.dims()[0], product(x.dims() + 1, x.dims() + a), x.dims()[a],
            product(x.dims() + a + 1, x.dims() + x.ndim())};
}

RowLayout row_layout(const Argument& axis, const Array& x) {
    constexpr const char* rule = "be an int or a tuple of ints";
    std::vector<int> axes;
    if (!axis.value()) {
        axes = {checked_axis(axis, -1, x)};
    } else if (PyTuple_Check(axis.value())) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(axis.value()); ++i) {
            const Argument item = axis.item(i);
            axes.push_back(checked_axis(axis, item.integer(rule), x));
        }
    } else {
        axes = {checked_axis(axis, axis.integer(rule), x)};
    }
    std::sort(axes.begin(), axes.end());
    if (axes.empty()) axis.value_error("name at least one axis");
    if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) axis.value_error("not repeat");

    RowLayout layout;
    const int kept = x.ndim() - int(axes.size());
    for (int i = 0; i < x.ndim(); ++i)
        if (!std::binary_search(axes.begin(), axes.end(), i)) {
            layout.order.push_back(i);
            layout.kept.push_back(x.dims()[i]);
            layout.rows *= x.dims()[i];
        }
    layout.order.insert(layout.order.end(), axes.begin(), axes.end());
    for (const int a : axes) {
        layout.normalized.push_back(x.dims()[a]);
        layout.width *= x.dims()[a];
    }
    if (axes.front() == kept) layout.order.clear();
    return layout;
}
}  // namespace trimtab
