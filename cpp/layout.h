// From shape and axis to the extents of kernels. The only place that knows about dimensions.
#pragma once
#include "copy.h"

namespace trimtab {

// x as (outer, channels, inner) for a channel axis.
ChannelLayout channel_layout(const Argument& axis, const Array& x, Py_ssize_t fallback);

// x as (samples, outer, channels, inner) for a channel axis; samples along axis 0.
ChannelLayout sample_layout(const Argument& axis, const Array& x, Py_ssize_t fallback);

// x as (rows, width) for the axes to normalize over.
struct RowLayout {
    std::vector<int> order;  // of x's axes, normalized axes last; empty where they are last already
    Shape kept, normalized;  // extents of the other axes, of the normalized ones
    ptrdiff_t rows = 1, width = 1;
};
RowLayout row_layout(const Argument& axis, const Array& x);

// An array with its axes in the order of a layout: itself where they are, else a copy. Also of an empty Array.
class Rows {
public:
    Rows(const Array& array, const RowLayout& layout)
        : array_(array), moved_(array && !layout.order.empty() ? reordered(array, layout.order) : Array()) {}
    const void* data() const { return moved_ ? moved_.data() : array_ ? array_.data() : nullptr; }

private:
    const Array& array_;
    Array moved_;
};
}  // namespace trimtab
