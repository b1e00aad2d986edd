// Arguments of the poolings.
#pragma once
#include "images.h"

namespace trimtab {

// The output, which is not known yet, is empty.
inline PoolLayout pool_layout(npy_intp samples, npy_intp channels, Size2d image, const Argument& kernel,
                              const Argument& before, const Argument& stride) {
    return {.samples = samples,
            .channels = channels,
            .image = image,
            .kernel = read_plane(kernel, 1),
            .padding = read_plane(before, -largest_extent),
            .stride = read_plane(stride, 1),
            .output = {}};
}
}  // namespace trimtab
