// Output arrays: y or dx, new or the caller's `out`.
#pragma once
#include <initializer_list>

#include "read.h"

namespace trimtab {

// Kernels write to data(), which is contiguous. It shares memory with an input only where the kernel reads each element
// before it writes it. finish() returns the result.
class Output {
public:
    // `elementwise`: inputs of x's shape. `others`: inputs whose elements are read for several elements of the output.
    // `axes`: the order of x's axes for the kernel; empty: as they are.
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
