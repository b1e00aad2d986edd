// x (blocks, outer, channels, inner), with a statistic and a few constants for each unit, a channel of a block. The
// passes over x are in these headers:
//   channel_apply.h        y = f(x, constants of the unit), after sums of the units or with given constants
//     channel_sums.h       two sums of each unit, of a statistic such as
//       channel_moments.h  mean and second moment
//     wide_channels.h      units whose values are out of range, one by one
//   channel_runs.h         geometry where inner is long: a unit is `outer` runs of `inner` values
//   channel_columns.h      geometry where inner is short: a block is a matrix whose columns belong to channels
// Sums and results are in both geometries, between which the shape alone decides. Both are drawn in kernels.h.
#pragma once
#include "caches.h"

namespace trimtab {
namespace {

TRIMTAB_INLINE ptrdiff_t size(const ChannelLayout& l) { return l.blocks * l.outer * l.channels * l.inner; }
TRIMTAB_INLINE ptrdiff_t array_size(const ChannelLayout& l) { return size(l) + l.other_values; }
TRIMTAB_INLINE ptrdiff_t units(const ChannelLayout& l) { return l.blocks * l.channels; }
// The first value of a unit.
TRIMTAB_INLINE ptrdiff_t start(const ChannelLayout& l, ptrdiff_t unit) {
    return unit / l.channels * l.outer * l.channels * l.inner + unit % l.channels * l.inner;
}

// How long must runs be? Sums visit one unit after the other, whose runs lie far apart, so a run must fill a page (1024
// floats). Other passes visit memory in order, so shorter runs are enough.
TRIMTAB_INLINE bool sums_by_run(const ChannelLayout& l) { return l.inner >= 1024; }
TRIMTAB_INLINE bool applies_by_run(const ChannelLayout& l) { return l.inner >= 128; }

// For a call that visits its part of an array for the second time: the distance to the part that the next call visits.
TRIMTAB_INLINE ptrdiff_t prefetch_distance(const ChannelLayout& l) {
    return l.other_values ? prefetch_distance(size(l)) : 0;
}

// f(at, unit, channel) for vectors of units, one for each lane.
template <class F>
TRIMTAB_INLINE void for_each_unit(const ChannelLayout& l, F&& f) {
    for (ptrdiff_t block = 0; block < l.blocks; ++block)
        sweep<double>(l.channels, [&](ptrdiff_t c, auto at) { f(at, block * l.channels + c, c); });
}
}  // namespace
}  // namespace trimtab
