// y or dx: a new array, or the caller's `out`.
#pragma once
#include <initializer_list>

#include "read.h"

namespace trimtab {

// Kernels write to data(), which is contiguous, and which is the memory of an input only where they write each element
// after they have read it; finish() gives the array to return.
class Output {
public:
    // `elementwise`: inputs of x's shape. `others`: those of which an element counts in several places.
    // `axes`: the order in which the kernel sees x's axes; empty: as they are.
    Output(const Argument& out, const Array& x, std::initializer_list<const AnyArray*> elementwise,
           std::initializer_list<const AnyArray*> others = {}, const std::vector<int>& axes = {});
    void* data() const { return work_.data(); }
    Ref finish();

private:
    Ref returned_;     // the caller's `out`
    AnyArray target_;  // it, or a new array
    Array work_;
    std::vector<int> axes_;
};
}  // namespace trimtab
