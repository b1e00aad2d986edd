// Passes over x (blocks, outer, channels, inner) with a statistic, and a few constants, for each block and channel (a
// unit). Memory is met in one of two ways, chosen by the shape alone:
//   planes   long inner runs: a unit is `outer` runs of `inner` values; its constants are uniform along a run
//   columns  short inner runs: a block is a matrix whose columns belong to channels; sums run down the columns, and
//            constants lie in memory beside them. Rows of very few channels are taken several at a time.
#pragma once
#include "../parallel.h"
#include "moments.h"
#include "output_store.h"
#include "wide_channels.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t rows_per_sum = 8;      // of a column summed in W; then they meet in double
constexpr ptrdiff_t rows_per_block = 256;  // about the same shift
constexpr ptrdiff_t columns_per_tile = 1024;
constexpr ptrdiff_t values_per_strip = 8192;

// From which length inner runs are planes: a page, where they are visited channel by channel; less, where memory is
// visited in its order.
TRIMTAB_INLINE bool sums_by_planes(const ChannelLayout& l) { return l.inner >= 1024; }
TRIMTAB_INLINE bool runs_by_planes(const ChannelLayout& l) { return l.inner >= 128; }
TRIMTAB_INLINE ptrdiff_t size(const ChannelLayout& l) { return l.blocks * l.outer * l.channels * l.inner; }
TRIMTAB_INLINE ptrdiff_t size_with_rest(const ChannelLayout& l) { return size(l) + l.other_values; }
// In a pass over what was just met: how far ahead the part lies that is met next.
TRIMTAB_INLINE ptrdiff_t prefetch_distance(const ChannelLayout& l) {
    return l.other_values ? prefetch_distance(size(l)) : 0;
}

// ---- planes ----

struct Planes {
    ChannelLayout l;
    ptrdiff_t units() const { return l.blocks * l.channels; }
    ptrdiff_t start(ptrdiff_t unit) const {
        return unit / l.channels * l.outer * l.channels * l.inner + unit % l.channels * l.inner;
    }
    Runs runs() const { return {l.outer, l.inner, l.channels * l.inner}; }
    // Parts that a unit is cut into, as there may be too few units to share: as many however many blocks there are.
    ptrdiff_t parts() const { return l.channels >= 32 ? 1 : min(runs().segments(), ceil_div(64, l.channels)); }
    ptrdiff_t part_begin(ptrdiff_t part) const { return runs().segments() * part / parts(); }
};

// ---- columns ----

constexpr ptrdiff_t page_bytes = 4096;

// Rows that come from beyond the caches are visited one at a time, in the order of memory, where several share a page: what
// fetches ahead in a core follows few streams in each.
template <class T>
TRIMTAB_INLINE bool one_at_a_time(bool exceeds_caches, ptrdiff_t stride) {
    return exceeds_caches && stride * ptrdiff_t(sizeof(T)) < page_bytes;
}

struct Columns {
    ChannelLayout l;
    ptrdiff_t repeat;         // rows of x in a row of the matrix
    ptrdiff_t tile_channels;  // channels whose columns are visited together
    explicit Columns(const ChannelLayout& layout)
        : l(layout),
          repeat(max(1, min(64 / (l.channels * l.inner), l.outer))),
          tile_channels(repeat > 1 ? l.channels : min(l.channels, max(1, columns_per_tile / l.inner))) {}
    bool plain() const { return repeat == 1 && l.inner == 1; }  // a column is a channel
    ptrdiff_t units() const { return l.blocks * l.channels; }
    ptrdiff_t width() const { return repeat * l.channels * l.inner; }
    ptrdiff_t rows() const { return ceil_div(l.outer, repeat); }  // the last one may be shorter
    ptrdiff_t size() const { return l.outer * l.channels * l.inner; }
    ptrdiff_t tile_columns() const { return repeat * tile_channels * l.inner; }
    ptrdiff_t tiles_per_block() const { return ceil_div(l.channels, tile_channels); }
    ptrdiff_t tiles() const { return l.blocks * tiles_per_block(); }
    // Panels enough to share among threads, counting those of all tiles of a block, and each long beside what it takes to
    // begin one: as many however many blocks there are.
    ptrdiff_t rows_per_panel() const { return min(rows(), max(128, ceil_div(rows() * tiles_per_block(), 32))); }
    ptrdiff_t panels() const { return ceil_div(rows(), rows_per_panel()); }
    ptrdiff_t panel_begin(ptrdiff_t panel) const { return min(panel * rows_per_panel(), rows()); }
    // Values of one channel in rows begin..end.
    double count(ptrdiff_t begin, ptrdiff_t end) const {
        return double(min(end * repeat, l.outer) - begin * repeat) * double(l.inner);
    }
};

// The columns of some neighbouring channels of one block.
struct Tile {
    const Columns& c;
    ptrdiff_t block, channel, channels;  // first channel, and how many
    Tile(const Columns& columns, ptrdiff_t index)
        : c(columns),
          block(index / c.tiles_per_block()),
          channel(index % c.tiles_per_block() * c.tile_channels),
          channels(min(c.tile_channels, c.l.channels - channel)) {}
    ptrdiff_t unit() const { return block * c.l.channels + channel; }
    ptrdiff_t columns() const { return c.repeat * channels * c.l.inner; }
    ptrdiff_t start() const { return block * c.size() + channel * c.l.inner; }
    ptrdiff_t columns_in(ptrdiff_t row) const { return min(columns(), c.size() - row * c.width()); }
    // Sums of columns into those of their channels.
    TRIMTAB_LOOP void collapse(const double* of_columns, double* of_channels) const {
        for (ptrdiff_t k = 0; k < channels; ++k) of_channels[k] = 0;
        for (ptrdiff_t k = 0; k < c.repeat * channels; ++k) {
            const double* const run = of_columns + k * c.l.inner;
            double sum[1];
            reduce<double>(c.l.inner, sum, [&](ptrdiff_t i, auto at, auto& acc) { acc[0] += at.load(run + i); });
            of_channels[k % channels] += sum[0];
        }
    }
    // Constants of channels into those of their columns.
    template <class W>
    void expand(const W* of_channels, W* of_columns) const {
        for (ptrdiff_t r = 0; r < c.repeat; ++r)
            for (ptrdiff_t k = 0; k < channels; ++k, of_columns += c.l.inner)
                sweep<W>(c.l.inner, [&](ptrdiff_t i, auto at) { at.store(of_columns + i, broadcast(of_channels[k])); });
    }
};

template <class W>
TRIMTAB_INLINE void clear(W* values, ptrdiff_t n) {
    sweep<W>(n, [&](ptrdiff_t i, auto at) { at.store(values + i, Vector<W>{}); });
}

// Sums terms of rows begin..end to totals[q][channel]; f(offset, at, acc, column) adds one row's, from as many `arrays`.
// Rows are visited some at once or, where they come from beyond the caches, in the order of memory. `columns`: room for
// totals of columns, where these are not channels.
template <class W, int quantities, int arrays, class F>
TRIMTAB_INLINE void sum_rows(const Tile& tile, ptrdiff_t begin, ptrdiff_t end, bool exceeds_caches, double* columns,
                             double* const (&totals)[quantities], const F f) {
    const ptrdiff_t stride = tile.c.width(), width = tile.columns();
    const bool by_one = memory_bound && one_at_a_time<W>(exceeds_caches, stride);
    // Lines at the same place of their pages compete for the eight places of a set of the first cache.
    const bool by_fewer = memory_bound && arrays > 1 && stride * ptrdiff_t(sizeof(W)) >= page_bytes;
    const Scratch<W> room(by_one || by_fewer ? quantities * width : 0);
    double* sums[quantities];
    W* partial[quantities];  // of fewer than rows_per_sum
    for (int q = 0; q < quantities; ++q) {
        sums[q] = tile.c.plain() ? totals[q] : columns + q * width;
        partial[q] = room + q * width;
        clear<double>(sums[q], width);
    }
    const auto visit = [&](ptrdiff_t row, ptrdiff_t n, auto rows, auto first, auto last, auto cache) {
        const ptrdiff_t start = tile.start() + row * stride;
        sweep<W>(n, [&](ptrdiff_t i, auto at) {
            Vector<W> acc[quantities] = {};
            if constexpr (!first.value) unroll<0, quantities>([&](int q) { acc[q] = at.load(partial[q] + i); });
            unroll<0, rows.value>([&](int r) { f(start + r * stride + i, at, acc, i); });
            unroll<0, quantities>([&](int q) {
                if constexpr (last.value)
                    at.add(sums[q] + i, acc[q]);
                else
                    at.store(partial[q] + i, acc[q]);
            });
        }, cache);
    };
    constexpr Constant<1> one, yes;
    constexpr Constant<0> no;
    const ptrdiff_t whole = tile.columns_in(end - 1) < width ? end - 1 : end;
    ptrdiff_t row = begin;
    const auto visit_all = [&](auto rows, auto cache) {
        for (; row + rows_per_sum <= whole; row += rows_per_sum) {
            if constexpr (rows.value == rows_per_sum) {
                visit(row, width, rows, yes, yes, cache);
            } else {
                constexpr ptrdiff_t last = rows_per_sum - rows.value;
                visit(row, width, rows, yes, no, cache);
                for (ptrdiff_t r = rows.value; r < last; r += rows.value) visit(row + r, width, rows, no, no, cache);
                visit(row + last, width, rows, no, yes, cache);
            }
        }
    };
    if constexpr (memory_bound) {
        if (by_one) visit_all(one, Uncached<false>{page_bytes / 2});
        if (by_fewer) visit_all(Constant<rows_per_sum / arrays>{}, Cached{});
    }
    if (!by_one && !by_fewer) visit_all(Constant<rows_per_sum>{}, Cached{});
    for (; row < end; ++row) visit(row, tile.columns_in(row), one, yes, yes, Cached{});
    if (!tile.c.plain())
        for (int q = 0; q < quantities; ++q) tile.collapse(sums[q], totals[q]);
}

// ---- sums of units ----

// Two sums over the values of a unit.
struct Sums {
    double count, first, second;
};

// A statistic says what is summed, and how partial sums combine:
//   in_runs(planes, unit, begin, end)             segments of a unit
//   in_columns(tile, begin, end, first, second)   rows of a tile, for each of its channels
//   combine(first, second, count, ...)            of doubles or vectors of them
// Sums that are not good() are taken again, by wide().
// Those of a unit from those of its parts, which part_sum(part) gives.
template <class Statistic, class F>
TRIMTAB_INLINE Sums combine_parts(const Statistic& statistic, const Planes& planes, ptrdiff_t unit, F&& part_sum) {
    Sums sum = part_sum(0);
    for (ptrdiff_t part = 1; part < planes.parts(); ++part) {
        const Sums next = part_sum(part);
        Statistic::combine(sum.first, sum.second, sum.count, next.first, next.second, next.count);
        sum.count += next.count;
    }
    return statistic.good(sum) ? sum : statistic.wide().in_runs(planes, unit, 0, planes.runs().segments());
}
template <class Statistic>
TRIMTAB_OUTLINE Sums part_sum(const Statistic& statistic, const Planes& planes, ptrdiff_t unit, ptrdiff_t part) {
    return statistic.in_runs(planes, unit, planes.part_begin(part), planes.part_begin(part + 1));
}
template <class Statistic>
Sums unit_sum(const Statistic& statistic, const Planes& planes, ptrdiff_t unit) {
    return combine_parts(statistic, planes, unit,
                         [&](ptrdiff_t part) { return part_sum(statistic, planes, unit, part); });
}

template <class Statistic>
void unit_sums(const Statistic& statistic, const Planes& planes, double cost, double* first, double* second) {
    const ptrdiff_t parts = planes.parts();
    const Scratch<Sums> partial(planes.units() * parts);
    parallel_for(planes.units() * parts, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t task = begin; task < end; ++task)
            partial[task] = part_sum(statistic, planes, task / parts, task % parts);
    });
    for (ptrdiff_t unit = 0; unit < planes.units(); ++unit) {
        const Sums sum =
            combine_parts(statistic, planes, unit, [&](ptrdiff_t part) { return partial[unit * parts + part]; });
        first[unit] = sum.first;
        second[unit] = sum.second;
    }
}

template <class Statistic>
void unit_sums(const Statistic& statistic, const Columns& columns, double cost, double* first, double* second) {
    const ptrdiff_t units = columns.units(), panels = columns.panels();
    const Scratch<double> partial(panels * 2 * units);  // [panel][first, second][unit]
    parallel_for(columns.tiles() * panels, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t task = begin; task < end; ++task) {
            const Tile tile(columns, task / panels);
            const ptrdiff_t panel = task % panels;
            double* const sums = partial + panel * 2 * units + tile.unit();
            statistic.in_columns(tile, columns.panel_begin(panel), columns.panel_begin(panel + 1), sums, sums + units);
        }
    });
    const double count = columns.count(0, columns.rows());
    parallel_for(columns.tiles(), double(panels * units), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t t = begin; t < end; ++t) {
            const Tile tile(columns, t);
            double *const of_first = first + tile.unit(), *const of_second = second + tile.unit();
            sweep<double>(tile.channels, [&](ptrdiff_t k, auto at) {
                const double* sums = partial + tile.unit() + k;
                Doubles a = at.load(sums), b = at.load(sums + units);
                for (ptrdiff_t panel = 1; panel < panels; ++panel) {
                    sums += 2 * units;
                    const ptrdiff_t row = columns.panel_begin(panel), end_row = columns.panel_begin(panel + 1);
                    Statistic::combine(a, b, columns.count(0, row), at.load(sums), at.load(sums + units),
                                       columns.count(row, end_row));
                }
                at.store(of_first + k, a);
                at.store(of_second + k, b);
            });
            bool good = true;
            for (ptrdiff_t k = 0; k < tile.channels; ++k) good &= statistic.good({count, of_first[k], of_second[k]});
            if (good) continue;
            const Scratch<double> wide(2 * tile.channels);
            statistic.wide().in_columns(tile, 0, columns.rows(), wide, wide + tile.channels);
            for (ptrdiff_t k = 0; k < tile.channels; ++k)
                if (!statistic.good({count, of_first[k], of_second[k]}))
                    of_first[k] = wide[k], of_second[k] = wide[tile.channels + k];
        }
    });
}

template <class Statistic>
void unit_sums(const Statistic& statistic, const ChannelLayout& l, double cost, double* first, double* second) {
    sums_by_planes(l) ? unit_sums(statistic, Planes{l}, cost, first, second)
                      : unit_sums(statistic, Columns(l), cost, first, second);
}

// ---- runs, and the constants of their units ----

// A constant along a run: the same everywhere, or read from memory.
template <class W>
struct Uniform {
    Vector<W> value;
    template <class At>
    TRIMTAB_INLINE Vector<W> operator()(ptrdiff_t, At) const {
        return value;
    }
};
template <class W>
struct Stream {
    const W* values;
    template <class At>
    TRIMTAB_INLINE Vector<W> operator()(ptrdiff_t i, At at) const {
        return at.load(values + i);
    }
};

// How far apart tables of n values lie that are read side by side: lines whose addresses are equal in 12 bits compete for
// few places in the first cache.
template <class W>
TRIMTAB_INLINE ptrdiff_t apart(ptrdiff_t n) {
    constexpr ptrdiff_t page = page_bytes / sizeof(W), step = 640 / sizeof(W);  // six tables fit a page
    return n + (step + (page - 1) * n) % page;
}

// Where a unit's constants are kept: constant j at of(j).
template <class W>
struct Constants {
    W* values;
    ptrdiff_t stride;
    TRIMTAB_INLINE W* of(int constant) const { return values + constant * stride; }
    TRIMTAB_INLINE Constants from(ptrdiff_t unit) const { return {values + unit, stride}; }
};

// What is done with runs: f(k, j, to, at) writes the result of element j of x to `to`, k[] being the constants there. Runs
// are long: the call through a pointer is lost in them, and the passes below need not be compiled for each f. Runs of the
// same columns, `stride` apart, are visited together, so that their constants are loaded once.
template <class W, int count>
class RunBody {
public:
    template <class F>
    RunBody(const F& f, bool exceeds_caches, ptrdiff_t ahead = 0)
        : f_(&f),
          exceeds_caches_(exceeds_caches),
          ahead_(ahead),
          uniform_(call<F, Uniform<W>>),
          stream_(call<F, Stream<W>>) {}
    // The same, with `ahead` for the stores.
    RunBody fetching(ptrdiff_t ahead) const {
        RunBody body = *this;
        body.ahead_ = ahead;
        return body;
    }
    template <class Kind>
    void operator()(ptrdiff_t offset, ptrdiff_t n, const Kind* constants, ptrdiff_t rows = 1,
                    ptrdiff_t stride = 0) const {
        if constexpr (is_same<Kind, Uniform<W>>)
            uniform_(*this, offset, n, rows, stride, constants);
        else
            stream_(*this, offset, n, rows, stride, constants);
    }

private:
    template <class F, class Kind>
    TRIMTAB_LOOP static void call(const RunBody& body, ptrdiff_t offset, ptrdiff_t n, ptrdiff_t rows, ptrdiff_t stride,
                                  const Kind* constants) {
        const F f = *static_cast<const F*>(body.f_);
        using T = typename F::Result;
        Kind constant[count];
        for (int j = 0; j < count; ++j) constant[j] = constants[j];
        const ptrdiff_t together = one_at_a_time<T>(body.exceeds_caches_, stride) ? 1 : rows;
        OutputStore<T, W> output(body.exceeds_caches_, body.ahead_);
        output.write(f.y + offset, n, rows, stride,
                     [&](ptrdiff_t begin, ptrdiff_t end, T* to, ptrdiff_t distance, auto cache) {
            for (ptrdiff_t row = 0; row < rows; row += together)
                sweep<W>(end - begin, [&](ptrdiff_t i, auto at) {
                    Vector<W> k[count];
                    unroll<0, count>([&](int j) { k[j] = constant[j](begin + i, at); });
                    const ptrdiff_t first = offset + begin + i;
                    if constexpr (is_same<Kind, Uniform<W>>)
                        f(k, first, to + i, at);
                    else
                        for (ptrdiff_t r = row; r < row + together; ++r)
                            f(k, first + r * stride, to + r * distance + i, at);
                }, cache);
        });
    }
    template <class Kind>
    using Call = void (*)(const RunBody&, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, const Kind*);
    const void* f_;
    bool exceeds_caches_;
    ptrdiff_t ahead_;
    Call<Uniform<W>> uniform_;
    Call<Stream<W>> stream_;
};

template <int count, class W>
TRIMTAB_INLINE void load_uniform(const Constants<W>& constants, Uniform<W> (&uniform)[count]) {
    for (int j = 0; j < count; ++j) uniform[j] = {broadcast(*constants.of(j))};
}

// In the order of memory.
template <int count, class W>
void each_run(const Planes& planes, const Constants<W>& constants, double cost, const RunBody<W, count>& body) {
    const ChannelLayout& l = planes.l;
    const Runs runs{l.blocks * l.outer * l.channels, l.inner, l.inner};
    const ptrdiff_t segments_per_run = runs.segments_per_run();
    parallel_for(runs.segments(), cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        ptrdiff_t s = begin;
        runs.visit(begin, end, [&](ptrdiff_t offset, ptrdiff_t n) {
            const ptrdiff_t plane = s++ / segments_per_run;
            Uniform<W> uniform[count];
            load_uniform<count>(constants.from(plane / (l.outer * l.channels) * l.channels + plane % l.channels),
                                uniform);
            body(offset, n, uniform);
        });
    });
}

template <int count, class W>
void each_run(const Columns& columns, const Constants<W>& constants, double cost, const RunBody<W, count>& body) {
    const ptrdiff_t stride = apart<W>(columns.tile_columns()), spread_per_tile = columns.plain() ? 0 : count * stride;
    const Scratch<W> spread(columns.tiles() * spread_per_tile);  // [tile][constant][column]
    if (!columns.plain())
        parallel_for(columns.tiles(), double(columns.tiles() * spread_per_tile), [&](ptrdiff_t begin, ptrdiff_t end) {
            for (ptrdiff_t t = begin; t < end; ++t) {
                const Tile tile(columns, t);
                for (int j = 0; j < count; ++j)
                    tile.expand(constants.of(j) + tile.unit(), spread + t * spread_per_tile + j * stride);
            }
        });
    const ptrdiff_t together = max(16, values_per_strip / columns.tile_columns());  // rows
    const ptrdiff_t strips = ceil_div(columns.rows(), together);
    parallel_for(columns.tiles() * strips, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t s = begin; s < end; ++s) {
            const ptrdiff_t t = s / strips, first = s % strips * together;
            const Tile tile(columns, t);
            Stream<W> stream[count];
            for (int j = 0; j < count; ++j)
                stream[j] = {columns.plain() ? constants.of(j) + tile.unit()
                                             : spread + t * spread_per_tile + j * stride};
            const ptrdiff_t stop = min(first + together, columns.rows());
            const ptrdiff_t whole = tile.columns_in(stop - 1) < tile.columns() ? stop - 1 : stop;
            // Constants are loaded once for several rows, near enough to each other to fit the first cache.
            const ptrdiff_t at_once = max(4, columns_per_tile / tile.columns());
            for (ptrdiff_t row = first, rows; row < stop; row += rows) {
                rows = row < whole ? min(at_once, whole - row) : 1;
                body(tile.start() + row * columns.width(), tile.columns_in(row), stream, rows, columns.width());
            }
        }
    });
}

template <int count, class W>
void each_run(const ChannelLayout& l, const Constants<W>& constants, double cost, const RunBody<W, count>& body) {
    runs_by_planes(l) ? each_run<count>(Planes{l}, constants, cost, body)
                      : each_run<count>(Columns(l), constants, cost, body);
}

// f(at, unit, channel) for all units.
template <class F>
TRIMTAB_INLINE void each_unit(const ChannelLayout& l, F&& f) {
    for (ptrdiff_t block = 0; block < l.blocks; ++block)
        sweep<double>(l.channels, [&](ptrdiff_t c, auto at) { f(at, block * l.channels + c, c); });
}

// For every unit: constants from finish(at, unit, channel, first, second, constants), then body over its runs.
//
// Where there are units enough to share among threads and their runs are long, a unit is visited as a whole: its sums,
// then its runs from the last one back, while they are still in cache. Elsewhere the sums of all come first.
template <class W, int count, class Statistic, class Finish, class Wide>
void sum_then_visit(const ChannelLayout& l, const Statistic& statistic, double cost, const Finish& finish,
                    const RunBody<W, count>& body, const Wide& wide, typename Wide::Result* y) {
    const auto in_two_passes = [&](const auto& way) {
        const ptrdiff_t units = way.units();
        const Scratch<double> sums(2 * units);
        const Scratch<W> values(count * apart<W>(units));
        const Constants<W> constants{values, apart<W>(units)};
        unit_sums(statistic, way, cost, sums, sums + units);  // threads that wake for it stay for what follows
        each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
            finish(at, unit, c, at.load(sums + unit), at.load(sums + units + unit), constants.from(unit));
        });
        const WideUnits<Wide> of_wide(l, wide);
        each_run<count>(l, constants, cost, body);
        of_wide.put_in_place(y);
    };
    if (!sums_by_planes(l)) return in_two_passes(Columns(l));
    const Planes planes{l};
    if (planes.parts() > 1 && planes.units() < 32) return in_two_passes(planes);
    const Runs runs = planes.runs();
    const auto fetching =
        body.fetching(prefetch_distance(l.outer * l.inner, l.inner));  // the plane of the next channel
    parallel_for(planes.units(), cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t unit = begin; unit < end; ++unit) {
            W values[count];
            const Constants<W> constants{values, 1};
            const Sums sum = unit_sum(statistic, planes, unit);
            finish(FirstLanes<double>{1}, unit, unit % l.channels, broadcast(sum.first), broadcast(sum.second),
                   constants);
            Uniform<W> uniform[count];
            if (wide.needed(unit)) {
                wide.write(unit, y, unit_layout(l, unit));
                continue;
            }
            load_uniform<count>(constants, uniform);
            for (ptrdiff_t s = runs.segments(); s-- > 0;)
                runs.visit(s, s + 1,
                           [&](ptrdiff_t offset, ptrdiff_t n) { fetching(planes.start(unit) + offset, n, uniform); });
        }
    });
}
}  // namespace
}  // namespace trimtab
