// In which order the elements of an array lie in memory.
#pragma once
#include <cstddef>
#include <vector>

#include "array.h"

namespace trimtab {

// Arrays of the same order have the elements at the same places when their memory is read from its lowest address on.
// Axes of length 1 do not count.
class MemoryOrder {
public:
    explicit MemoryOrder(PyArrayObject* array);
    static MemoryOrder c_contiguous(PyArrayObject* array);  // of its shape
    bool dense() const;                                     // in any order, but without gaps
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
    npy_intp first() const;  // element in place (0, 0, ...), counted from the lowest address
    std::vector<Axis> axes_;
};
}  // namespace trimtab
