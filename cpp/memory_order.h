// The order of the elements of an array in memory.
#pragma once
#include <cstddef>
#include <vector>

#include "array.h"

namespace trimtab {

// Arrays of the same order have elements of the same index at the same offset from their lowest address. Axes of length 1
// do not count.
class MemoryOrder {
public:
    explicit MemoryOrder(PyArrayObject* array);
    static MemoryOrder c_contiguous(PyArrayObject* array);  // of its shape
    bool dense() const;                                     // no gaps between elements
    bool operator==(const MemoryOrder&) const = default;
    // The lowest address of an array of this order.
    char* begin(PyArrayObject* array) const;
    // A new dense array of this order and of another's shape.
    AnyArray empty_like(PyArrayObject* shape, PyArray_Descr* descr) const;

private:
    struct Axis {
        npy_intp extent, step;  // step: in elements; no_step: between elements
        bool operator==(const Axis&) const = default;
    };
    static constexpr npy_intp no_step = 0;
    npy_intp first() const;  // offset of the element (0, 0, ...) from the lowest address, in elements
    std::vector<Axis> axes_;
};
}  // namespace trimtab
