// Arguments of convolution and pooling.
#pragma once
#include <algorithm>
#include <limits>

#include "bind.h"

namespace trimtab {

// Neither sums nor products of two of them overflow.
constexpr npy_intp largest_extent = std::numeric_limits<int32_t>::max();

inline Size2d read_plane(const Argument& argument, npy_intp min) {
    const std::string rule =
        "be a tuple of two ints from " + std::to_string(min) + " to " + std::to_string(largest_extent);
    if (!PyTuple_Check(argument.value()) || PyTuple_GET_SIZE(argument.value()) != 2) argument.type_error(rule);
    const npy_intp height = argument.item(0).integer(rule.c_str()), width = argument.item(1).integer(rule.c_str());
    if (std::min(height, width) < min || std::max(height, width) > largest_extent) argument.value_error(rule);
    return {height, width};
}

// The extents of an array of `ndim` axes.
inline const npy_intp* read_extents(const Argument& argument, const Array& array, int ndim, const char* shape) {
    if (array.ndim() != ndim) argument.fail(PyExc_ValueError, std::string("have shape ") + shape, text(array.shape()));
    if (*std::max_element(array.dims(), array.dims() + ndim) > largest_extent)
        argument.fail(PyExc_ValueError, "have at most " + std::to_string(largest_extent) + " entries along an axis",
                      text(array.shape()));
    return array.dims();
}
}  // namespace trimtab
