// Results on their way to memory.
#pragma once
#include "../memory.h"
#include "../simd.h"

namespace trimtab {
namespace {

// Writes results straight to memory or, where nobody will meet them in a cache again, piece by piece through a buffer
// and past the caches: a line that is about to be overwritten is then never read.
template <class T>
class Outlet {
public:
    TRIMTAB_INLINE explicit Outlet(bool past_caches) : past_caches_(past_caches) {}
    // f(begin, end, to) writes results begin..end of y[0..n) to `to`.
    template <class F>
    TRIMTAB_INLINE void operator()(T* y, ptrdiff_t n, F&& f) {
        (*this)(y, n, 1, 0, [&](ptrdiff_t begin, ptrdiff_t end, T* to, ptrdiff_t) { f(begin, end, to); });
    }
    // The same for several rows that lie `stride` apart in memory: f(begin, end, to, distance), where `distance` is that
    // of the rows of `to`.
    template <class F>
    TRIMTAB_INLINE void operator()(T* y, ptrdiff_t n, ptrdiff_t rows, ptrdiff_t stride, F&& f) {
        const ptrdiff_t piece = past_caches_ ? buffered / rows : n;
        for (ptrdiff_t i = 0; i < n; i += piece) {
            const ptrdiff_t end = least(i + piece, n), count = end - i;
            f(i, end, past_caches_ ? buffer_ : y + i, past_caches_ ? count : stride);
            if (!past_caches_) continue;
            if (count == stride)  // nothing lies between the rows
                copy_past_caches(y, buffer_, rows * count * ptrdiff_t(sizeof(T)));
            else
                for (ptrdiff_t r = 0; r < rows; ++r)
                    copy_past_caches(y + r * stride + i, buffer_ + r * count, count * ptrdiff_t(sizeof(T)));
        }
    }

private:
    static constexpr ptrdiff_t buffered = 2048;
    const bool past_caches_;
    alignas(64) T buffer_[buffered];
};

// Does a call that reads `in` and writes `out`, `count` elements each, leave the last of the caches behind? A quarter of
// that holds what others use.
template <class T>
TRIMTAB_INLINE bool past_caches(const void* in, const void* out, ptrdiff_t count) {
    return in != out && 2 * double(count) * sizeof(T) >= 0.75 * double(last_cache_bytes());
}
}  // namespace
}  // namespace trimtab
