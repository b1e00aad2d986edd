// Moments of each unit of x (blocks, outer, channels, inner), a statistic of channel_sums.h:
//   mean = sum(x) / count,  m2 = sum((x - mean)^2)
// Runs are summed in segments of 4096 values, columns in segments of 256 rows, each about a shift (moments.h).
#pragma once
#include "channel_sums.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t rows_per_segment = 256;

template <class W, class T>
struct UnitMoments {
    const T* x;
    double eps;
    bool in_range(const UnitSums& m) const { return is_same<W, double> || sums_in_range<W>(m.second / m.count + eps); }
    UnitMoments<double, T> wide() const { return {x, eps}; }
    template <class V>
    TRIMTAB_INLINE static void combine(V& mean, V& m2, double count, V mean_b, V m2_b, double count_b) {
        const auto both = trimtab::combine<V>({mean, m2}, count, {mean_b, m2_b}, count_b);
        mean = both.mean;
        m2 = both.m2;
    }
    UnitSums in_runs(const ChannelRuns& runs, ptrdiff_t unit, ptrdiff_t begin, ptrdiff_t end) const {
        const Moments m = moments_in<W>(x + runs.start(unit), runs.runs(), begin, end);
        return {m.count, m.mean, m.m2};
    }
    TRIMTAB_LOOP void in_columns(const Tile& tile, ptrdiff_t begin, ptrdiff_t end, double* mean, double* m2) const {
        const ChannelColumns& matrix = tile.matrix;
        const ptrdiff_t columns = tile.columns(), channels = tile.channels;
        const Scratch<W> shift(channels), expanded(columns);
        const Scratch<double> column_sums(2 * columns), sum(channels), square(channels);
        const W* const column_shift = matrix.column_is_channel() ? shift : expanded;
        const bool exceeds = exceeds_caches<T>(1, array_size(matrix.l));
        const auto sum_about_shift = [&](ptrdiff_t row, ptrdiff_t stop) TRIMTAB_LOOP {
            if (!matrix.column_is_channel()) tile.expand<W>(shift, expanded);
            sum_rows<W, 2, 1>(tile, row, stop, exceeds, column_sums, {sum, square},
                              [x = x, column_shift](ptrdiff_t j, auto at, auto& acc, ptrdiff_t column) {
                const Vector<W> d = at.load(x + j) - at.load(column_shift + column);
                acc[0] += d;
                acc[1] = fma(d, d, acc[1]);
            });
        };
        // The first shift is the mean of a few rows.
        const ptrdiff_t sampled = min(begin + sample_size, end);
        sum_rows<W, 1, 1>(tile, begin, sampled, false, column_sums, {sum},
                          [x = x](ptrdiff_t j, auto at, auto& acc, ptrdiff_t) { acc[0] += at.load(x + j); });
        const double sample_count = matrix.count(begin, sampled);
        sweep<double>(channels, [&](ptrdiff_t k, auto at) { at.store(shift + k, at.load(sum + k) / sample_count); });

        for (ptrdiff_t row = begin; row < end; row += rows_per_segment) {
            const ptrdiff_t stop = min(row + rows_per_segment, end);
            const double count_before = matrix.count(begin, row), count = matrix.count(row, stop);
            sum_about_shift(row, stop);
            if (row == begin) {
                Longs off = {};
                sweep<double>(channels, [&](ptrdiff_t k, auto at) {
                    off |= off_center(count, at.load(sum + k), at.load(square + k));
                });
                if (any(off)) {
                    for (ptrdiff_t k = 0; k < channels; ++k)
                        if (off_center(count, sum[k], square[k])) shift[k] = W(double(shift[k]) + sum[k] / count);
                    sum_about_shift(row, stop);
                }
            }
            sweep<double>(channels, [&](ptrdiff_t k, auto at) {
                auto m = about<Doubles>(at.load(shift + k), count, at.load(sum + k), at.load(square + k));
                if (row > begin)
                    m = trimtab::combine<Doubles>({at.load(mean + k), at.load(m2 + k)}, count_before, m, count);
                at.store(mean + k, m.mean);
                at.store(m2 + k, m.m2);
                at.store(shift + k, m.mean);
            });
        }
    }
};
}  // namespace
}  // namespace trimtab
