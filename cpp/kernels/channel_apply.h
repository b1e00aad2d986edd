// y = f(x, constants of the unit) over x (blocks, outer, channels, inner), by runs or by rows of tiles. Passes that sum
// the units first compute the constants from the sums.
#pragma once
#include "channel_sums.h"
#include "output_store.h"
#include "wide_channels.h"

namespace trimtab {
namespace {

// A table (constants, units), seen from one of its units on: of(j)[u] is constant j of unit u.
template <class W>
struct Constants {
    W* values;
    ptrdiff_t stride;
    TRIMTAB_INLINE W* of(int constant) const { return values + constant * stride; }
    TRIMTAB_INLINE Constants from(ptrdiff_t unit) const { return {values + unit, stride}; }
};

template <class W, int count>
class RunBody;
template <class W>
struct Uniform;
template <class W>
struct Varying;

// ---- sums of the units, constants from them, then f over all of x ----

// finish(at, unit, channel, first, second, constants) computes the constants of a vector of units from their sums.
// `wide` computes the units that are out of range (wide_channels.h). Where runs are long, units are taken one by one,
// unless there are fewer than 32 of them and each has several panels.
template <class W, int count, Statistic S, class Finish, class Wide>
void sum_then_apply(const ChannelLayout& l, const S& statistic, double cost, const Finish& finish,
                    const RunBody<W, count>& body, const Wide& wide, typename Wide::Result* y) {
    if (!sums_by_run(l)) return sum_all_then_apply(ChannelColumns(l), statistic, cost, finish, body, wide, y);
    const ChannelRuns x{l};
    if (x.panels() > 1 && x.units() < 32) return sum_all_then_apply(x, statistic, cost, finish, body, wide, y);
    sum_each_then_apply(x, statistic, cost, finish, body, wide, y);
}

// Takes one unit after the other: sums it, then applies f to its segments from the last to the first, since the last
// ones are still in the caches.
template <class W, int count, Statistic S, class Finish, class Wide>
void sum_each_then_apply(const ChannelRuns& x, const S& statistic, double cost, const Finish& finish,
                         const RunBody<W, count>& body, const Wide& wide, typename Wide::Result* y) {
    const ChannelLayout& l = x.l;
    const Runs runs = x.runs();
    // The next unit begins `inner` values further on.
    const RunBody<W, count> prefetching = body.with_prefetch(prefetch_distance(l.outer * l.inner, l.inner));
    parallel_for(x.units(), cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t unit = begin; unit < end; ++unit) {
            W values[count];
            const Constants<W> constants{values, 1};
            const UnitSums sums = sum_unit(statistic, x, unit);
            finish(FirstLanes<double>{1}, unit, unit % l.channels, broadcast(sums.first), broadcast(sums.second),
                   constants);
            Uniform<W> uniform[count];
            if (wide.is_wide(unit)) {
                wide.write(unit, y, unit_layout(l, unit));
                continue;
            }
            load_uniform<count>(constants, uniform);
            for (ptrdiff_t s = runs.segments(); s-- > 0;)
                runs.visit(s, s + 1,
                           [&](ptrdiff_t offset, ptrdiff_t n) { prefetching(x.start(unit) + offset, n, uniform); });
        }
    });
}

// All units at once: two passes over x.
template <class W, int count, class X, Statistic S, class Finish, class Wide>
void sum_all_then_apply(const X& x, const S& statistic, double cost, const Finish& finish,
                        const RunBody<W, count>& body, const Wide& wide, typename Wide::Result* y) {
    const ptrdiff_t units = x.units();
    const Scratch<double> sums(2 * units);
    const Scratch<W> values(count * padded_stride<W>(units));
    const Constants<W> constants{values, padded_stride<W>(units)};
    sum_units(statistic, x, cost, sums, sums + units);  // its cost also decides whether threads wake for the pass below
    for_each_unit(x.l, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
        finish(at, unit, c, at.load(sums + unit), at.load(sums + units + unit), constants.from(unit));
    });
    const WideUnits<Wide> wide_units(x.l, wide);
    apply_to_units<count>(x.l, constants, cost, body);
    wide_units.copy_to(y);
}

// ---- f over all of x, in the order of memory ----

template <int count, class W>
void apply_to_units(const ChannelLayout& l, const Constants<W>& constants, double cost, const RunBody<W, count>& body) {
    applies_by_run(l) ? apply_to_units<count>(ChannelRuns{l}, constants, cost, body)
                      : apply_to_units<count>(ChannelColumns(l), constants, cost, body);
}

template <int count, class W>
void apply_to_units(const ChannelRuns& x, const Constants<W>& constants, double cost, const RunBody<W, count>& body) {
    const ChannelLayout& l = x.l;
    const Runs runs{l.blocks * l.outer * l.channels, l.inner, l.inner};
    const ptrdiff_t segments_per_run = runs.segments_per_run();
    parallel_for(runs.segments(), cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        ptrdiff_t s = begin;
        runs.visit(begin, end, [&](ptrdiff_t offset, ptrdiff_t n) {
            const ptrdiff_t run = s++ / segments_per_run;
            const ptrdiff_t unit = run / (l.outer * l.channels) * l.channels + run % l.channels;
            Uniform<W> uniform[count];
            load_uniform<count>(constants.from(unit), uniform);
            body(offset, n, uniform);
        });
    });
}

template <int count, class W>
void apply_to_units(const ChannelColumns& x, const Constants<W>& constants, double cost,
                    const RunBody<W, count>& body) {
    const ptrdiff_t stride = padded_stride<W>(x.tile_columns());
    const ptrdiff_t expanded_per_tile = x.column_is_channel() ? 0 : count * stride;
    const Scratch<W> expanded(x.tiles() * expanded_per_tile);  // (tiles, constants, columns)
    if (!x.column_is_channel())
        parallel_for(x.tiles(), double(x.tiles() * expanded_per_tile), [&](ptrdiff_t begin, ptrdiff_t end) {
            for (ptrdiff_t t = begin; t < end; ++t) {
                const Tile tile(x, t);
                for (int j = 0; j < count; ++j)
                    tile.expand(constants.of(j) + tile.unit(), expanded + t * expanded_per_tile + j * stride);
            }
        });
    constexpr ptrdiff_t values_per_task = 8192;
    const ptrdiff_t rows_per_task = max(16, values_per_task / x.tile_columns());
    const ptrdiff_t tasks_per_tile = ceil_div(x.rows(), rows_per_task);
    parallel_for(x.tiles() * tasks_per_tile, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t task = begin; task < end; ++task) {
            const ptrdiff_t t = task / tasks_per_tile, first = task % tasks_per_tile * rows_per_task;
            const Tile tile(x, t);
            Varying<W> varying[count];
            for (int j = 0; j < count; ++j)
                varying[j] = {x.column_is_channel() ? constants.of(j) + tile.unit()
                                                    : expanded + t * expanded_per_tile + j * stride};
            const ptrdiff_t stop = min(first + rows_per_task, x.rows());
            const ptrdiff_t whole = tile.columns_in(stop - 1) < tile.columns() ? stop - 1 : stop;
            // Rows that share the constants they load; the L1 cache holds all of them.
            const ptrdiff_t rows_at_once = max(4, max_tile_columns / tile.columns());
            for (ptrdiff_t row = first, rows; row < stop; row += rows) {
                rows = row < whole ? min(rows_at_once, whole - row) : 1;
                body(tile.start() + row * x.width(), tile.columns_in(row), varying, rows, x.width());
            }
        }
    });
}

// ---- f over a run, or over rows of a tile ----

// A constant of such a loop: one value for a run, or a value for each column of a tile.
template <class W>
struct Uniform {
    Vector<W> value;
    template <class At>
    TRIMTAB_INLINE Vector<W> operator()(ptrdiff_t, At) const {
        return value;
    }
};
template <class W>
struct Varying {
    const W* values;
    template <class At>
    TRIMTAB_INLINE Vector<W> operator()(ptrdiff_t i, At at) const {
        return at.load(values + i);
    }
};
template <int count, class W>
TRIMTAB_INLINE void load_uniform(const Constants<W>& constants, Uniform<W> (&uniform)[count]) {
    for (int j = 0; j < count; ++j) uniform[j] = {broadcast(*constants.of(j))};
}

// A loop of f(k, j, to, at) over a run, or over rows of a tile: f computes the result of element j of x with constants
// k[] and writes it to `to`. The type of f is erased, so the passes above are compiled once for all f. A call covers
// many values, so its overhead is negligible.
template <class W, int count>
class RunBody {
public:
    // Beyond the caches, inputs are prefetched `prefetch_distance` values ahead.
    template <class F>
    RunBody(const F& f, bool exceeds_caches, ptrdiff_t prefetch_distance = 0)
        : f_(&f),
          exceeds_caches_(exceeds_caches),
          prefetch_distance_(prefetch_distance),
          uniform_(call<F, Uniform<W>>),
          varying_(call<F, Varying<W>>) {}
    RunBody with_prefetch(ptrdiff_t distance) const {
        RunBody body = *this;
        body.prefetch_distance_ = distance;
        return body;
    }
    // Over x[offset..offset + n) and the same columns of further rows, `stride` values apart.
    template <class Constant>
    void operator()(ptrdiff_t offset, ptrdiff_t n, const Constant* constants, ptrdiff_t rows = 1,
                    ptrdiff_t stride = 0) const {
        if constexpr (is_same<Constant, Uniform<W>>)
            uniform_(*this, offset, n, rows, stride, constants);
        else
            varying_(*this, offset, n, rows, stride, constants);
    }

private:
    template <class F, class Constant>
    TRIMTAB_LOOP static void call(const RunBody& body, ptrdiff_t offset, ptrdiff_t n, ptrdiff_t rows, ptrdiff_t stride,
                                  const Constant* constants) {
        const F f = *static_cast<const F*>(body.f_);
        using T = typename F::Result;
        Constant constant[count];
        for (int j = 0; j < count; ++j) constant[j] = constants[j];
        // Rows visited at once load their constants once.
        const ptrdiff_t at_once = visits_single_rows<T>(body.exceeds_caches_, stride) ? 1 : rows;
        OutputStore<T, W> output(body.exceeds_caches_, body.prefetch_distance_);
        output.write(f.y + offset, n, rows, stride,
                     [&](ptrdiff_t begin, ptrdiff_t end, T* to, ptrdiff_t to_stride, auto cache) {
            for (ptrdiff_t row = 0; row < rows; row += at_once)
                sweep<W>(end - begin, [&](ptrdiff_t i, auto at) {
                    Vector<W> k[count];
                    unroll<0, count>([&](int j) { k[j] = constant[j](begin + i, at); });
                    const ptrdiff_t first = offset + begin + i;
                    if constexpr (is_same<Constant, Uniform<W>>)
                        f(k, first, to + i, at);
                    else
                        for (ptrdiff_t r = row; r < row + at_once; ++r)
                            f(k, first + r * stride, to + r * to_stride + i, at);
                }, cache);
        });
    }
    template <class Constant>
    using Call = void (*)(const RunBody&, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const Constant*);
    const void* f_;
    bool exceeds_caches_;
    ptrdiff_t prefetch_distance_;
    Call<Uniform<W>> uniform_;
    Call<Varying<W>> varying_;
};
}  // namespace
}  // namespace trimtab
