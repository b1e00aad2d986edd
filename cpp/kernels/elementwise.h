// Elementwise work, cut into tasks of equal size.
#pragma once
#include "../parallel.h"
#include "../simd.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t task_size = 4096;  // elements

// f(first, n) for each task of elements 0..count. `cost` in ns an element.
template <class F>
TRIMTAB_INLINE void for_tasks(ptrdiff_t count, double cost, const F& f) {
    parallel_for((count + task_size - 1) / task_size, cost * double(count), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t first = begin * task_size; begin < end; ++begin, first += task_size)
            f(first, min(count - first, task_size));
    });
}
}  // namespace
}  // namespace trimtab
