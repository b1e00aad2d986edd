// Results on their way to memory.
#pragma once
#include "../memory.h"
#include "../simd.h"

namespace trimtab {
namespace {

// Does a call that meets `arrays` arrays of `count` elements leave the last of the caches behind? A quarter of that holds
// what others use.
template <class T>
TRIMTAB_INLINE bool exceeds_caches(int arrays, ptrdiff_t count) {
    return arrays * double(count) * sizeof(T) >= 0.75 * double(last_cache_bytes());
}
// Of a call that reads `in` and writes `out`.
template <class T>
TRIMTAB_INLINE bool exceeds_caches(const void* in, const void* out, ptrdiff_t count) {
    return in != out && exceeds_caches<T>(2, count);
}

// Where blocks of values are visited twice, the second visit finds them in the second cache and may fetch the next block
// there: what lies `distance` values further on, if both have room.
TRIMTAB_INLINE ptrdiff_t prefetch_distance(ptrdiff_t block, ptrdiff_t distance) {
    return block <= 1 << 17 ? distance : 0;
}
TRIMTAB_INLINE ptrdiff_t prefetch_distance(ptrdiff_t block) { return prefetch_distance(block, block); }

// Loops of their own for arrays beyond the caches pay where arithmetic is quicker than memory.
constexpr bool quicker_than_memory = register_bytes >= 32;

// Writes results where they belong or, where nobody will meet them in a cache again, past the caches: a line that is
// about to be overwritten is then never read. Rows that do not begin with a line, and values that a register of W does not
// fill a line with, go there through a buffer.
template <class T, class W = Work<T>>
class Outlet {
public:
    // Past the caches, what lies `ahead` values further on than what is read for the results is fetched.
    TRIMTAB_INLINE explicit Outlet(bool exceeds_caches, ptrdiff_t ahead = 0)
        : exceeds_caches_(exceeds_caches), ahead_(ahead * ptrdiff_t(sizeof(T))) {}
    // Do results for rows y, y + stride... go past the caches without a buffer?
    TRIMTAB_INLINE bool streams(const T* y, ptrdiff_t stride) const {
        return exceeds_caches_ && quicker_than_memory && is_same<T, W> && begins_line(y) && begins_line(y + stride);
    }
    // f(begin, end, to, where) writes results begin..end of y[0..n) to `to` in a sweep there.
    template <class F>
    TRIMTAB_INLINE void operator()(T* y, ptrdiff_t n, F&& f) {
        (*this)(y, n, 1, 0,
                [&](ptrdiff_t begin, ptrdiff_t end, T* to, ptrdiff_t, auto where) { f(begin, end, to, where); });
    }
    // The same for several rows that lie `stride` apart in memory: f(begin, end, to, distance, where), where `distance` is
    // that of the rows of `to`.
    template <class F>
    TRIMTAB_INLINE void operator()(T* y, ptrdiff_t n, ptrdiff_t rows, ptrdiff_t stride, F&& f) {
        if constexpr (quicker_than_memory) {
            if (!exceeds_caches_) return f(0, n, y, stride, Cached{});
            if constexpr (is_same<T, W>)
                if (streams(y, stride)) return f(0, n, y, stride, Uncached<true>{ahead_});
        }
        const ptrdiff_t piece = exceeds_caches_ ? buffered / rows : n;
        for (ptrdiff_t i = 0; i < n; i += piece) {
            const ptrdiff_t end = min(i + piece, n), count = end - i;
            f(i, end, exceeds_caches_ ? buffer_ : y + i, exceeds_caches_ ? count : stride, beside_the_buffer());
            if (!exceeds_caches_) continue;
            if (count == stride)  // nothing lies between the rows
                copy_streaming(y, buffer_, rows * count * ptrdiff_t(sizeof(T)));
            else
                for (ptrdiff_t r = 0; r < rows; ++r)
                    copy_streaming(y + r * stride + i, buffer_ + r * count, count * ptrdiff_t(sizeof(T)));
        }
    }

private:
    TRIMTAB_INLINE auto beside_the_buffer() const {
        if constexpr (quicker_than_memory)
            return Uncached<false>{ahead_};
        else
            return Cached{};
    }
    static constexpr ptrdiff_t buffered = 2048;
    static TRIMTAB_INLINE bool begins_line(const T* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; }
    const bool exceeds_caches_;
    const ptrdiff_t ahead_;  // bytes
    alignas(64) T buffer_[buffered];
};
}  // namespace
}  // namespace trimtab
