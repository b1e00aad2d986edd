// Whether the arrays of a call fit the caches, and what a pass does where they do not.
#pragma once
#include "../memory.h"
#include "../simd.h"

namespace trimtab {
namespace {

// Do `arrays` arrays of `count` elements exceed the last cache? A quarter of it is left to others.
template <class T>
TRIMTAB_INLINE bool exceeds_caches(int arrays, ptrdiff_t count) {
    return arrays * double(count) * sizeof(T) >= 0.75 * double(last_cache_bytes());
}
// The same of a call that reads `in` and writes `out`.
template <class T>
TRIMTAB_INLINE bool exceeds_caches(const void* in, const void* out, ptrdiff_t count) {
    return in != out && exceeds_caches<T>(2, count);
}

// Beyond the caches a pass is memory-bound where registers are this long. Loops with prefetches and streaming stores pay
// there alone.
constexpr bool memory_bound = register_bytes >= 32;

// A task that reads its values twice finds them in the second cache the second time, and prefetches what the next task
// reads: values `distance` further on. 0 where the second cache has no room for both.
TRIMTAB_INLINE ptrdiff_t prefetch_distance(ptrdiff_t values, ptrdiff_t distance) {
    return values <= 1 << 17 ? distance : 0;
}
TRIMTAB_INLINE ptrdiff_t prefetch_distance(ptrdiff_t values) { return prefetch_distance(values, values); }
}  // namespace
}  // namespace trimtab
