// Shape and axis to the extents kernels work on. The only place that knows about dimensions.
#pragma once
#include "array.h"

namespace trimtab {

// Which axis holds the channels: x as (outer, channels, inner).
ChannelLayout channel_layout(const Argument& axis, const Array& x, Py_ssize_t otherwise);

// The same of each sample, along axis 0: x as (samples, outer, channels, inner).
ChannelLayout sample_layout(const Argument& axis, const Array& x, Py_ssize_t otherwise);

// The axes normalised over: x as (rows, width).
struct RowLayout {
    std::vector<int> order;  // of x's axes, the normalised ones last; empty where they are last already
    Shape kept, normalised;  // extents of the other axes, of the normalised ones
    ptrdiff_t rows = 1, width = 1;
};
RowLayout row_layout(const Argument& axis, const Array& x);
}  // namespace trimtab
