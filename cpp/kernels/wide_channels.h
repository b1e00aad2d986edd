// Units (channels of blocks) that the working type does not hold, beside those that it does.
#pragma once
#include "../memory.h"
#include "../parallel.h"
#include "wide.h"

namespace trimtab {
namespace {

TRIMTAB_INLINE UnitLayout unit_layout(const ChannelLayout& l, ptrdiff_t unit) {
    return {unit / l.channels * l.outer * l.channels * l.inner + unit % l.channels * l.inner, l.outer, l.inner,
            l.channels * l.inner, l.inner};
}

// `wide` tells which units these are, and makes results of theirs: needed(unit), write(unit, y, place). They are made before
// the results of all are written, which may replace what they are made of, and put in their place after.
template <class Wide>
class WideUnits {
    using T = typename Wide::Result;

public:
    WideUnits(const ChannelLayout& l, const Wide& wide) : l_(l) {
        const ptrdiff_t units = l.blocks * l.channels;
        for (ptrdiff_t unit = 0; unit < units; ++unit) count_ += wide.needed(unit);
        if (count_ == 0) return;
        units_ = Scratch<ptrdiff_t>(count_);
        results_ = Scratch<T>(count_ * values());
        for (ptrdiff_t unit = 0, i = 0; unit < units; ++unit)
            if (wide.needed(unit)) units_[i++] = unit;
        parallel_for(count_, 10.0 * double(count_ * values()), [&](ptrdiff_t begin, ptrdiff_t stop) {
            for (ptrdiff_t i = begin; i < stop; ++i)
                wide.write(units_[i], results_ + i * values(), {0, 1, values(), values(), values()});
        });
    }
    void put_in_place(T* y) const {
        for (ptrdiff_t i = 0; i < count_; ++i) {
            const T* from = results_ + i * values();
            unit_layout(l_, units_[i])
                .for_runs(0, values(), [&](ptrdiff_t k, ptrdiff_t offset, ptrdiff_t, ptrdiff_t n) {
                __builtin_memcpy(y + offset, from + k, size_t(n) * sizeof(T));
            });
        }
    }

private:
    ptrdiff_t values() const { return l_.outer * l_.inner; }
    const ChannelLayout& l_;
    ptrdiff_t count_ = 0;
    Scratch<ptrdiff_t> units_;
    Scratch<T> results_;
};
}  // namespace
}  // namespace trimtab
