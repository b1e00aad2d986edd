// How the results of a pass are stored.
#pragma once
#include "caches.h"

namespace trimtab {
namespace {

// Kinds of stores:
//   direct     ordinary stores. Chosen if the arrays of the call fit the caches, where the next reader finds the results,
//              or if y is x.
//   streaming  streaming stores, from registers to memory: no line is read before it is overwritten. Chosen beyond the
//              caches if registers have 32 bytes or more (memory_bound), every row begins at a cache line, and T is W.
//   buffered   ordinary stores to a buffer in the L1 cache, which streaming stores copy to memory. Chosen beyond the
//              caches for all other rows.
enum class StoreKind { direct, streaming, buffered };

// Stores rows of T that are computed in W.
template <class T, class W = Work<T>>
class OutputStore {
public:
    // Beyond the caches, inputs are prefetched `prefetch_distance` values ahead.
    TRIMTAB_INLINE explicit OutputStore(bool exceeds_caches, ptrdiff_t prefetch_distance = 0)
        : exceeds_caches_(exceeds_caches), prefetch_bytes_(prefetch_distance * ptrdiff_t(sizeof(T))) {}

    // For rows y, y + stride, ...
    TRIMTAB_INLINE StoreKind kind(const T* y, ptrdiff_t stride) const {
        if (!exceeds_caches_) return StoreKind::direct;
        const bool streams = memory_bound && is_same<T, W> && begins_line(y) && begins_line(y + stride);
        return streams ? StoreKind::streaming : StoreKind::buffered;
    }

    // Stores the row y[0..n): f(begin, end, to, cache) sweeps over results begin..end with the cache policy and writes
    // them to `to`, which is y + begin or a buffer.
    template <class F>
    TRIMTAB_INLINE void write(T* y, ptrdiff_t n, F&& f) {
        write(y, n, 1, 0,
              [&](ptrdiff_t begin, ptrdiff_t end, T* to, ptrdiff_t, auto cache) { f(begin, end, to, cache); });
    }
    // Stores rows y, y + stride, ...: f(begin, end, to, to_stride, cache) writes results begin..end of all of them.
    template <class F>
    TRIMTAB_INLINE void write(T* y, ptrdiff_t n, ptrdiff_t rows, ptrdiff_t stride, F&& f) {
        const StoreKind kind = this->kind(y, stride);
        if constexpr (memory_bound) {
            if (kind == StoreKind::direct) return f(0, n, y, stride, Cached{});
            if constexpr (is_same<T, W>)
                if (kind == StoreKind::streaming) return f(0, n, y, stride, Uncached<true>{prefetch_bytes_});
            write_pieces(StoreKind::buffered, y, n, rows, stride, Uncached<false>{prefetch_bytes_}, f);
        } else {
            write_pieces(kind, y, n, rows, stride, Cached{}, f);  // one loop for both kinds: less code
        }
    }

private:
    // Pieces of rows that fill the buffer. A direct store is a single piece without a buffer.
    template <class Cache, class F>
    TRIMTAB_INLINE void write_pieces(StoreKind kind, T* y, ptrdiff_t n, ptrdiff_t rows, ptrdiff_t stride, Cache cache,
                                     F&& f) {
        const bool buffered = kind == StoreKind::buffered;
        const ptrdiff_t piece = buffered ? buffer_size / rows : n;
        for (ptrdiff_t i = 0; i < n; i += piece) {
            const ptrdiff_t end = min(i + piece, n), count = end - i;
            f(i, end, buffered ? buffer_ : y + i, buffered ? count : stride, cache);
            if (!buffered) continue;
            if (count == stride)  // nothing lies between the rows
                copy_streaming(y, buffer_, rows * count * ptrdiff_t(sizeof(T)));
            else
                for (ptrdiff_t r = 0; r < rows; ++r)
                    copy_streaming(y + r * stride + i, buffer_ + r * count, count * ptrdiff_t(sizeof(T)));
        }
    }
    static TRIMTAB_INLINE bool begins_line(const T* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; }

    static constexpr ptrdiff_t buffer_size = 2048;
    const bool exceeds_caches_;
    const ptrdiff_t prefetch_bytes_;
    alignas(64) T buffer_[buffer_size];
};
}  // namespace
}  // namespace trimtab
