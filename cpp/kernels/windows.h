// Windows of poolings: what the kernel covers of the image (height, width, channels) at its positions.
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

struct Range {
    ptrdiff_t begin, end;
    TRIMTAB_INLINE ptrdiff_t size() const { return end - begin; }
};

// Along one axis of the image: the part in the window at a position.
TRIMTAB_INLINE Range window(ptrdiff_t position, ptrdiff_t stride, ptrdiff_t padding, ptrdiff_t kernel,
                            ptrdiff_t length) {
    const ptrdiff_t first = position * stride - padding;
    return {max(first, 0), min(first + kernel, length)};
}
TRIMTAB_INLINE Range window_rows(const PoolLayout& l, ptrdiff_t position) {
    return window(position, l.stride.height, l.padding.height, l.kernel.height, l.image.height);
}
TRIMTAB_INLINE Range window_columns(const PoolLayout& l, ptrdiff_t position) {
    return window(position, l.stride.width, l.padding.width, l.kernel.width, l.image.width);
}

// The positions whose windows a row of the image is in.
TRIMTAB_INLINE Range positions_over(const PoolLayout& l, ptrdiff_t row) {
    const ptrdiff_t last = row + l.padding.height, before = last - l.kernel.height;  // in the padded image
    return {before < 0 ? 0 : before / l.stride.height + 1,
            last < 0 ? 0 : min(last / l.stride.height + 1, l.output.height)};
}

TRIMTAB_INLINE ptrdiff_t image_size(const PoolLayout& l) { return l.image.height * l.image.width * l.channels; }

// Time to visit all windows, in ns.
TRIMTAB_INLINE double cost_of(const PoolLayout& l) {
    const double window = double(l.kernel.height) * double(l.kernel.width);
    const double positions = double(l.samples) * double(l.output.height) * double(l.output.width);
    return positions * (3 + window * (1 + 0.1 * double(l.channels)));
}
}  // namespace
}  // namespace trimtab
