// Overlap of the memory of arrays, to the byte.
#pragma once
#include "numpy.h"

namespace trimtab {

// The bytes between the lowest and the highest address of an array.
struct Extent {
    const char *begin, *end;
    explicit Extent(PyArrayObject* array);
    bool empty() const { return begin == end; }
    bool intersects(const Extent& o) const { return !empty() && !o.empty() && begin < o.end && o.begin < end; }
};

// Whether they have a byte in common. Interleaved arrays have none.
bool overlap(PyArrayObject* a, PyArrayObject* b);
// Whether two elements of an array have a byte in common.
bool overlaps_itself(PyArrayObject* array);
// Whether the elements at the same index of both are the same memory.
bool same_elements(PyArrayObject* a, PyArrayObject* b);
}  // namespace trimtab
