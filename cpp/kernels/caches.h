// Do the arrays of a call fit the caches? What a pass does if they do not.
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

// With registers this long, a pass beyond the caches is memory-bound: separate loops with prefetches and streaming
// stores pay.
constexpr bool memory_bound = register_bytes >= 32;

// A task that reads its values twice finds them in the L2 cache the second time. Meanwhile it prefetches the values of
// the next task, `distance` further on; 0 if the L2 cache has no room for both.
TRIMTAB_INLINE ptrdiff_t prefetch_distance(ptrdiff_t values, ptrdiff_t distance) {
    return values <= 1 << 17 ? distance : 0;
}
TRIMTAB_INLINE ptrdiff_t prefetch_distance(ptrdiff_t values) { return prefetch_distance(values, values); }

constexpr ptrdiff_t page_bytes = 4096;

// Are rows visited one by one, in the order of memory? Yes beyond the caches if several rows share a page: the hardware
// prefetcher follows few streams in each page.
template <class T>
TRIMTAB_INLINE bool visits_single_rows(bool exceeds_caches, ptrdiff_t stride) {
    return exceeds_caches && stride * ptrdiff_t(sizeof(T)) < page_bytes;
}

// The stride of tables of n values that are read side by side. Cache lines with equal addresses modulo 4096 compete for
// the ways of a set of the L1 cache, so each table begins at another offset in its page.
template <class W>
TRIMTAB_INLINE ptrdiff_t padded_stride(ptrdiff_t n) {
    constexpr ptrdiff_t page = page_bytes / sizeof(W), step = 640 / sizeof(W);  // six steps fit a page
    return n + (step + (page - 1) * n) % page;
}
}  // namespace
}  // namespace trimtab
