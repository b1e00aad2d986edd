// Elementwise work, cut into tiles.
#pragma once
#include "../parallel.h"
#include "../simd.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t tile = 4096;  // elements

// f(first, count) on every tile of 0..count. `cost` in ns an element.
template <class F>
TRIMTAB_INLINE void for_tiles(ptrdiff_t count, double cost, const F& f) {
    parallel_for((count + tile - 1) / tile, cost * double(count), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t first = begin * tile; begin < end; ++begin, first += tile) f(first, min(count - first, tile));
    });
}
}  // namespace
}  // namespace trimtab
