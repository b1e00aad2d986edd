// Units (channels of blocks) that the working type does not hold. Their results are computed in double (wide.h).
#pragma once
#include "../parallel.h"
#include "channels.h"
#include "wide.h"

namespace trimtab {
namespace {

TRIMTAB_INLINE UnitLayout unit_layout(const ChannelLayout& l, ptrdiff_t unit) {
    return {start(l, unit), l.outer, l.inner, l.channels * l.inner, l.inner};
}

// Results of wide units, kept until all other results are written: y may be x, and dx may be x or dy.
//   wide.is_wide(unit)          is this unit one of them?
//   wide.write(unit, y, place)  writes its results, whose layout in y is `place`
template <class Wide>
class WideUnits {
    using T = typename Wide::Result;

public:
    WideUnits(const ChannelLayout& l, const Wide& wide) : l_(l) {
        const ptrdiff_t units = trimtab::units(l);
        for (ptrdiff_t unit = 0; unit < units; ++unit) count_ += wide.is_wide(unit);
        if (count_ == 0) return;
        units_ = Scratch<ptrdiff_t>(count_);
        results_ = Scratch<T>(count_ * values());
        for (ptrdiff_t unit = 0, i = 0; unit < units; ++unit)
            if (wide.is_wide(unit)) units_[i++] = unit;
        parallel_for(count_, 10.0 * double(count_ * values()), [&](ptrdiff_t begin, ptrdiff_t stop) {
            for (ptrdiff_t i = begin; i < stop; ++i)
                wide.write(units_[i], results_ + i * values(), {0, 1, values(), values(), values()});
        });
    }
    void copy_to(T* y) const {
        for (ptrdiff_t i = 0; i < count_; ++i) {
            const T* from = results_ + i * values();
            unit_layout(l_, units_[i])
                .for_runs(0, values(), [&](ptrdiff_t k, ptrdiff_t offset, ptrdiff_t, ptrdiff_t n) {
                __builtin_memcpy(y + offset, from + k, size_t(n) * sizeof(T));
            });
        }
    }

private:
    ptrdiff_t values() const { return l_.outer * l_.inner; }  // of a unit
    const ChannelLayout& l_;
    ptrdiff_t count_ = 0;
    Scratch<ptrdiff_t> units_;  // (count,)
    Scratch<T> results_;        // (count, values)
};
}  // namespace
}  // namespace trimtab
