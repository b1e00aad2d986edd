// Two sums over each unit of x (blocks, outer, channels, inner), such as mean and second moment. A task sums a panel of
// a unit or of a tile. Sums of panels combine in order, so the result does not depend on the number of threads.
#pragma once
#include "channel_columns.h"
#include "channel_runs.h"

namespace trimtab {
namespace {

struct UnitSums {
    double count, first, second;
};

// A statistic: what is summed, and how partial sums combine.
template <class S>
concept Statistic =
    requires(const S& s, const ChannelRuns& runs, const Tile& tile, ptrdiff_t i, UnitSums sums, double v, double* p) {
        sums = s.in_runs(runs, i, i, i);         // of a unit, segments begin..end
        s.in_columns(tile, i, i, p, p);          // of a tile, rows begin..end: both sums of each channel
        S::combine(v, v, v, v, v, v);            // (first, second, count) += the next part; also vectors
        !s.in_range(sums);                       // does the working type hold the sums?
        sums = s.wide().in_runs(runs, i, i, i);  // the same statistic in double, for sums that are out of range
    };

// Stores both sums of each unit to first[unit] and second[unit]. `cost` is the time of all, in ns.
template <Statistic S>
void sum_units(const S& statistic, const ChannelLayout& l, double cost, double* first, double* second) {
    sums_by_run(l) ? sum_units(statistic, ChannelRuns{l}, cost, first, second)
                   : sum_units(statistic, ChannelColumns(l), cost, first, second);
}

// ---- runs ----

template <Statistic S>
void sum_units(const S& statistic, const ChannelRuns& x, double cost, double* first, double* second) {
    const ptrdiff_t panels = x.panels();
    const Scratch<UnitSums> partial(x.units() * panels);
    parallel_for(x.units() * panels, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t task = begin; task < end; ++task)
            partial[task] = sum_panel(statistic, x, task / panels, task % panels);
    });
    for (ptrdiff_t unit = 0; unit < x.units(); ++unit) {
        const UnitSums sums =
            combine_panels(statistic, x, unit, [&](ptrdiff_t panel) { return partial[unit * panels + panel]; });
        first[unit] = sums.first;
        second[unit] = sums.second;
    }
}

template <Statistic S>
UnitSums sum_unit(const S& statistic, const ChannelRuns& x, ptrdiff_t unit) {
    return combine_panels(statistic, x, unit, [&](ptrdiff_t panel) { return sum_panel(statistic, x, unit, panel); });
}

// The sums of a unit, from those that sums_of(panel) returns.
template <Statistic S, class F>
TRIMTAB_INLINE UnitSums combine_panels(const S& statistic, const ChannelRuns& x, ptrdiff_t unit, F&& sums_of) {
    UnitSums sums = sums_of(0);
    for (ptrdiff_t panel = 1; panel < x.panels(); ++panel) {
        const UnitSums next = sums_of(panel);
        S::combine(sums.first, sums.second, sums.count, next.first, next.second, next.count);
        sums.count += next.count;
    }
    return statistic.in_range(sums) ? sums : statistic.wide().in_runs(x, unit, 0, x.runs().segments());
}

template <Statistic S>
TRIMTAB_OUTLINE UnitSums sum_panel(const S& statistic, const ChannelRuns& x, ptrdiff_t unit, ptrdiff_t panel) {
    return statistic.in_runs(x, unit, x.panel_begin(panel), x.panel_begin(panel + 1));
}

// ---- columns ----

template <Statistic S>
void sum_units(const S& statistic, const ChannelColumns& x, double cost, double* first, double* second) {
    const ptrdiff_t units = x.units(), panels = x.panels();
    const Scratch<double> partial(panels * 2 * units);  // (panels, 2, units)
    parallel_for(x.tiles() * panels, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t task = begin; task < end; ++task) {
            const Tile tile(x, task / panels);
            const ptrdiff_t panel = task % panels;
            double* const sums = partial + panel * 2 * units + tile.unit();
            statistic.in_columns(tile, x.panel_begin(panel), x.panel_begin(panel + 1), sums, sums + units);
        }
    });
    const double count = x.count(0, x.rows());
    parallel_for(x.tiles(), double(panels * units), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t t = begin; t < end; ++t) {
            const Tile tile(x, t);
            double *const tile_first = first + tile.unit(), *const tile_second = second + tile.unit();
            sweep<double>(tile.channels, [&](ptrdiff_t k, auto at) {
                const double* sums = partial + tile.unit() + k;
                Doubles a = at.load(sums), b = at.load(sums + units);
                for (ptrdiff_t panel = 1; panel < panels; ++panel) {
                    sums += 2 * units;
                    const ptrdiff_t row = x.panel_begin(panel), end_row = x.panel_begin(panel + 1);
                    S::combine(a, b, x.count(0, row), at.load(sums), at.load(sums + units), x.count(row, end_row));
                }
                at.store(tile_first + k, a);
                at.store(tile_second + k, b);
            });
            bool in_range = true;
            for (ptrdiff_t k = 0; k < tile.channels; ++k)
                in_range &= statistic.in_range({count, tile_first[k], tile_second[k]});
            if (in_range) continue;
            const Scratch<double> wide(2 * tile.channels);
            statistic.wide().in_columns(tile, 0, x.rows(), wide, wide + tile.channels);
            for (ptrdiff_t k = 0; k < tile.channels; ++k)
                if (!statistic.in_range({count, tile_first[k], tile_second[k]}))
                    tile_first[k] = wide[k], tile_second[k] = wide[tile.channels + k];
        }
    });
}

// ---- sums down the columns of a tile ----

constexpr ptrdiff_t rows_per_sum = 8;  // rows of a column that are summed in W before the sum is added in double

// How many of these rows are visited at once, one vector of columns after the other.
enum class RowOrder {
    all,     // sums stay in registers. The default.
    some,    // fewer cache lines at once. For several arrays with strides of a page and more: lines at equal offsets in
             // their pages compete for the eight ways of a set of the L1 cache.
    single,  // the order of memory. For rows beyond the caches that share a page (visits_single_rows).
};
template <class W, int arrays>
TRIMTAB_INLINE RowOrder row_order(const ChannelColumns& x, bool exceeds_caches) {
    if (memory_bound && visits_single_rows<W>(exceeds_caches, x.width())) return RowOrder::single;
    const bool competes = arrays > 1 && x.width() * ptrdiff_t(sizeof(W)) >= page_bytes;
    return memory_bound && competes ? RowOrder::some : RowOrder::all;
}

template <class W>
TRIMTAB_INLINE void clear(W* values, ptrdiff_t n) {
    sweep<W>(n, [&](ptrdiff_t i, auto at) { at.store(values + i, Vector<W>{}); });
}

template <class W, int quantities, class F>
struct ColumnSums;

// totals[q][channel]: sums of f over rows begin..end of a tile. f reads `arrays` arrays. column_sums has room for
// (quantities, columns) sums; it is unused if each column is a channel.
template <class W, int quantities, int arrays, class F>
TRIMTAB_INLINE void sum_rows(const Tile& tile, ptrdiff_t begin, ptrdiff_t end, bool exceeds_caches, double* column_sums,
                             double* const (&totals)[quantities], const F f) {
    const ptrdiff_t width = tile.columns();
    const RowOrder order = row_order<W, arrays>(tile.matrix, exceeds_caches);
    const Scratch<W> partial(order != RowOrder::all ? quantities * width : 0);
    ColumnSums<W, quantities, F> columns{tile, f, {}, {}};
    for (int q = 0; q < quantities; ++q) {
        columns.sums[q] = tile.matrix.column_is_channel() ? totals[q] : column_sums + q * width;
        columns.partial[q] = partial + q * width;
        clear<double>(columns.sums[q], width);
    }
    const ptrdiff_t whole = tile.columns_in(end - 1) < width ? end - 1 : end;  // the last row may be shorter
    ptrdiff_t row = begin;
    if constexpr (memory_bound) {
        if (order == RowOrder::single) row = columns.template add_sums<1>(row, whole, Uncached<false>{page_bytes / 2});
        if (order == RowOrder::some) row = columns.template add_sums<rows_per_sum / arrays>(row, whole, Cached{});
    }
    if (order == RowOrder::all) row = columns.template add_sums<rows_per_sum>(row, whole, Cached{});
    for (; row < end; ++row) columns.template add<1, true, true>(row, tile.columns_in(row), Cached{});
    if (!tile.matrix.column_is_channel())
        for (int q = 0; q < quantities; ++q) tile.reduce_columns(columns.sums[q], totals[q]);
}

// Sums of the columns of a tile. f(offset, at, acc, column) adds the terms of a vector of one row to the accumulators
// acc[q].
template <class W, int quantities, class F>
struct ColumnSums {
    const Tile& tile;
    const F f;
    double* sums[quantities];
    W* partial[quantities];  // of fewer than rows_per_sum rows

    // Adds whole sums of rows begin..end, `rows` of them at once. Returns the first row that is left.
    template <int rows, class Cache>
    TRIMTAB_INLINE ptrdiff_t add_sums(ptrdiff_t begin, ptrdiff_t end, Cache cache) const {
        const ptrdiff_t width = tile.columns();
        constexpr ptrdiff_t last = rows_per_sum - rows;
        ptrdiff_t row = begin;
        for (; row + rows_per_sum <= end; row += rows_per_sum) {
            if constexpr (rows == rows_per_sum) {
                add<rows, true, true>(row, width, cache);
            } else {
                add<rows, true, false>(row, width, cache);
                for (ptrdiff_t r = rows; r < last; r += rows) add<rows, false, false>(row + r, width, cache);
                add<rows, false, true>(row + last, width, cache);
            }
        }
        return row;
    }
    // Adds the first n columns of `rows` rows. begins: the sums begin with these rows, else with `partial`. ends: they
    // are complete after these rows and added to `sums`, else stored to `partial`.
    template <int rows, bool begins, bool ends, class Cache>
    TRIMTAB_INLINE void add(ptrdiff_t row, ptrdiff_t n, Cache cache) const {
        const ptrdiff_t stride = tile.matrix.width(), start = tile.start() + row * stride;
        sweep<W>(n, [&](ptrdiff_t i, auto at) {
            Vector<W> acc[quantities] = {};
            if constexpr (!begins) unroll<0, quantities>([&](int q) { acc[q] = at.load(partial[q] + i); });
            unroll<0, rows>([&](int r) { f(start + r * stride + i, at, acc, i); });
            unroll<0, quantities>([&](int q) {
                if constexpr (ends)
                    at.add(sums[q] + i, acc[q]);
                else
                    at.store(partial[q] + i, acc[q]);
            });
        }, cache);
    }
};
}  // namespace
}  // namespace trimtab
