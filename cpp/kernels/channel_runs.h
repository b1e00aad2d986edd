// Geometry of x (blocks, outer, channels, inner) where inner is long: each unit is `outer` runs of `inner` values.
#pragma once
#include "channels.h"
#include "moments.h"

namespace trimtab {
namespace {

struct ChannelRuns {
    ChannelLayout l;
    ptrdiff_t units() const { return trimtab::units(l); }
    ptrdiff_t start(ptrdiff_t unit) const { return trimtab::start(l, unit); }
    // The runs of a unit, relative to its start.
    Runs runs() const { return {l.outer, l.inner, l.channels * l.inner}; }
    // Panels of a unit: several if there are fewer channels than tasks. Their number does not depend on the number of
    // blocks, so the sums of a block do not either.
    ptrdiff_t panels() const { return l.channels >= 32 ? 1 : min(runs().segments(), ceil_div(64, l.channels)); }
    // In segments.
    ptrdiff_t panel_begin(ptrdiff_t panel) const { return runs().segments() * panel / panels(); }
};
}  // namespace
}  // namespace trimtab
