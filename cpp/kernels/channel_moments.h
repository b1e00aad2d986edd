// Mean and centred second moment of each unit, a statistic of channels.h: first is the mean, second the moment.
#pragma once
#include "channels.h"

namespace trimtab {
namespace {

template <class W, class T>
struct UnitMoments {
    const T* x;
    double eps;
    bool good(const Sums& m) const { return is_same<W, double> || sums_in_range<W>(m.second / m.count + eps); }
    UnitMoments<double, T> wide() const { return {x, eps}; }
    template <class V>
    TRIMTAB_INLINE static void combine(V& mean, V& m2, double count, V mean_b, V m2_b, double count_b) {
        const auto both = trimtab::combine<V>({mean, m2}, count, {mean_b, m2_b}, count_b);
        mean = both.mean;
        m2 = both.m2;
    }
    Sums in_runs(const Planes& planes, ptrdiff_t unit, ptrdiff_t begin, ptrdiff_t end) const {
        const Moments m = moments_in<W>(x + planes.start(unit), planes.runs(), begin, end);
        return {m.count, m.mean, m.m2};
    }
    TRIMTAB_LOOP void in_columns(const Tile& tile, ptrdiff_t begin, ptrdiff_t end, double* mean, double* m2) const {
        const ptrdiff_t columns = tile.columns(), channels = tile.channels;
        const Scratch<W> centre(channels), spread(columns);
        const Scratch<double> of_columns(2 * columns), sum(channels), square(channels);
        const W* const shift = tile.c.plain() ? centre : spread;
        const bool past = exceeds_caches<T>(1, size_with_rest(tile.c.l));
        const auto sum_about_centre = [&](ptrdiff_t row, ptrdiff_t stop) TRIMTAB_LOOP {
            if (!tile.c.plain()) tile.expand<W>(centre, spread);
            sum_rows<W, 2, 1>(tile, row, stop, past, of_columns, {sum, square},
                              [x = x, shift](ptrdiff_t j, auto at, auto& acc, ptrdiff_t i) {
                const Vector<W> d = at.load(x + j) - at.load(shift + i);
                acc[0] += d;
                acc[1] = fma(d, d, acc[1]);
            });
        };
        // A sample for a shift to begin with.
        const ptrdiff_t sampled = min(begin + sample_size, end);
        sum_rows<W, 1, 1>(tile, begin, sampled, false, of_columns, {sum},
                          [x = x](ptrdiff_t j, auto at, auto& acc, ptrdiff_t) { acc[0] += at.load(x + j); });
        const double sample_count = tile.c.count(begin, sampled);
        sweep<double>(channels, [&](ptrdiff_t k, auto at) { at.store(centre + k, at.load(sum + k) / sample_count); });

        for (ptrdiff_t row = begin; row < end; row += rows_per_block) {
            const ptrdiff_t stop = min(row + rows_per_block, end);
            const double count_before = tile.c.count(begin, row), count = tile.c.count(row, stop);
            sum_about_centre(row, stop);
            if (row == begin) {
                Longs off = {};
                sweep<double>(channels, [&](ptrdiff_t k, auto at) {
                    off |= off_center(count, at.load(sum + k), at.load(square + k));
                });
                if (any(off)) {
                    for (ptrdiff_t k = 0; k < channels; ++k)
                        if (off_center(count, sum[k], square[k])) centre[k] = W(double(centre[k]) + sum[k] / count);
                    sum_about_centre(row, stop);
                }
            }
            sweep<double>(channels, [&](ptrdiff_t k, auto at) {
                auto m = about<Doubles>(at.load(centre + k), count, at.load(sum + k), at.load(square + k));
                if (row > begin)
                    m = trimtab::combine<Doubles>({at.load(mean + k), at.load(m2 + k)}, count_before, m, count);
                at.store(mean + k, m.mean);
                at.store(m2 + k, m.m2);
                at.store(centre + k, m.mean);
            });
        }
    }
};
}  // namespace
}  // namespace trimtab
