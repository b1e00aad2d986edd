// Copies between arrays of the same shape.
#pragma once
#include "array.h"

namespace trimtab {

// to[...] = from. Where both are of the same dtype and their orders of memory differ, in tiles and on several threads.
void copy_values(PyArrayObject* to, PyArrayObject* from);
// A contiguous copy of native byte order.
AnyArray contiguous_copy(const AnyArray& x);
// x with its axes in another order, contiguous.
Array reordered(const Array& x, const std::vector<int>& axes);
}  // namespace trimtab
