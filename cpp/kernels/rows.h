// Passes over rows of x (rows, width), each normalised by its own statistics: by mean and variance where `centred`
// (layer norm), else by the mean square.
#pragma once
#include "../parallel.h"
#include "moments.h"
#include "output_store.h"
#include "wide.h"

namespace trimtab {
namespace {

// Rows whose statistics are finished together: registers of divisions and roots take little longer than one of them.
constexpr ptrdiff_t max_rows_per_task = 32;
constexpr ptrdiff_t values_together = 8192;  // of theirs, which stay in the first cache

// A value for each of them.
template <class E>
struct alignas(64) PerRow {
    E values[max_rows_per_task];
    TRIMTAB_INLINE E& operator[](ptrdiff_t r) { return values[r]; }
    TRIMTAB_INLINE E* operator+(ptrdiff_t r) { return values + r; }
};
template <class F>
TRIMTAB_INLINE void sweep_rows(ptrdiff_t rows, F&& f) {
    for (ptrdiff_t r = 0; r < rows; r += lanes<double>) f(r, WholeVector<double>{});
}

// Sums that make up the statistics of a row: of x - shift and its square, or of x^2 alone.
template <class W, class T, bool centred>
struct RowSums {
    static constexpr int quantities = centred ? 2 : 1;
    W shift;
    const T* x;
    template <class At>
    TRIMTAB_INLINE void operator()(ptrdiff_t i, At at, Vector<W> (&acc)[quantities]) const {
        const Vector<W> v = at.load(x + i);
        if constexpr (centred)
            SumAbout<W, T>{shift, x}(i, at, acc);
        else
            acc[0] = fma(v, v, acc[0]);
    }
};

// Sums terms of(r) of the first n values of each row, to sums[q][r].
template <class W, int quantities, class Of>
TRIMTAB_INLINE void sum_each(ptrdiff_t rows, ptrdiff_t n, PerRow<double> (&sums)[quantities], Of&& of) {
    for (ptrdiff_t r = 0; r < rows; r += lanes<double>) {
        Doubles total[quantities] = {};
        // Step by step for all rows: what is a chain of latencies in each overlaps with that of the others.
        for (ptrdiff_t begin = 0; begin < n; begin += values_per_sum) {
            Doubles met[quantities][lanes<double>];
            for (ptrdiff_t k = 0; k < min(lanes<double>, rows - r); ++k) {
                PartialSums<W, quantities> partial;
                sum_lanes<quantities>(begin, min(begin + values_per_sum, n), partial, of(r + k));
                unroll<0, quantities>([&](int q) { met[q][k] = partial.meet(q); });
            }
            unroll<0, quantities>([&](int q) { total[q] += totals(met[q]); });
        }
        unroll<0, quantities>([&](int q) { store<double>(sums[q] + r, total[q]); });
    }
}
// The same for rows that fill few registers: in fewer virtual lanes, and these meet in W. No sum is longer than it would
// be in the lanes of a long row.
constexpr ptrdiff_t short_width = 256;
template <class W, int quantities, class Of>
TRIMTAB_INLINE void sum_each(ptrdiff_t rows, ptrdiff_t n, PerRow<W> (&sums)[quantities], Of&& of) {
    for (ptrdiff_t r = 0; r < rows; r += lanes<W>) {
        Vector<W> met[quantities][lanes<W>];
        for (ptrdiff_t k = 0; k < min(lanes<W>, rows - r); ++k) {
            PartialSums<W, quantities, 64> partial;
            sum_lanes<quantities>(0, n, partial, of(r + k));
            unroll<0, quantities>([&](int q) {
                fold<partial.registers, 1>(partial.of[q]);
                met[q][k] = partial.of[q][0];
            });
        }
        unroll<0, quantities>([&](int q) { store<W>(sums[q] + r, totals(met[q])); });
    }
}

// Mean and variance of some rows. Not centred: zero and the mean of x^2. Total: what sums are kept in.
template <class W, bool centred, class Total, class T>
TRIMTAB_LOOP void row_moments(const T* x, ptrdiff_t rows, ptrdiff_t width, PerRow<double>& mean,
                              PerRow<double>& variance) {
    PerRow<double> m2;
    using Sums = RowSums<W, T, centred>;
    constexpr int quantities = Sums::quantities;
    for (ptrdiff_t i = 0; i < width; i += segment) {
        const ptrdiff_t n = min(width - i, segment);
        PerRow<W> shift;
        if constexpr (centred) {
            if (i > 0)
                sweep_rows(rows, [&](ptrdiff_t r, auto at) { at.store(shift + r, at.load(mean + r)); });
            else
                for (ptrdiff_t r = 0; r < rows; r += lanes<W>) {
                    Vector<W> samples[lanes<W>];
                    for (ptrdiff_t k = 0; k < min(lanes<W>, rows - r); ++k)
                        samples[k] = sample<W>(x + (r + k) * width, n);
                    store<W>(shift + r, totals(samples) / W(min(n, sample_size)));
                }
        }
        PerRow<Total> sums[quantities];
        sum_short_rows<W>(rows, n, sums, [&](ptrdiff_t r) { return Sums{shift[r], x + r * width + i}; });
        if constexpr (centred) {
            Longs off = {};
            sweep_rows(rows, [&](ptrdiff_t r, auto at) {
                off |= off_center(double(n), at.load(sums[0] + r), at.load(sums[1] + r));
            });
            for (ptrdiff_t r = 0; any(off) && i == 0 && r < rows; ++r)
                if (off_center(double(n), double(sums[0][r]), double(sums[1][r]))) {
                    double both[2];
                    shift[r] = better_shift(shift[r], sums[0][r], n);
                    sum_about(shift[r], x + r * width, n, both);
                    sums[0][r] = Total(both[0]);
                    sums[1][r] = Total(both[1]);
                }
        }
        sweep_rows(rows, [&](ptrdiff_t r, auto at) {
            MeanAndM2<Doubles> m{Doubles{}, at.load(sums[quantities - 1] + r)};
            if constexpr (centred) m = about(at.load(shift + r), double(n), at.load(sums[0] + r), m.m2);
            if (i > 0) {
                const MeanAndM2<Doubles> before{at.load(mean + r), at.load(m2 + r)};
                m = centred ? combine(before, double(i), m, double(n)) : MeanAndM2<Doubles>{m.mean, before.m2 + m.m2};
            }
            at.store(mean + r, m.mean);
            at.store(m2 + r, m.m2);
        });
    }
    sweep_rows(rows, [&](ptrdiff_t r, auto at) { at.store(variance + r, at.load(m2 + r) / double(width)); });
}

// What some rows are standardised by.
template <class W>
struct RowStatistics {
    PerRow<double> mean, rstd;
    PerRow<W> high, scale, scale_low, rest;
    uint32_t wide_rows;  // a bit for each row that W does not hold; these have
    WideStatistics wide[max_rows_per_task];
    TRIMTAB_INLINE Standardize<W> standardize(ptrdiff_t r) { return {high[r], scale[r], scale_low[r], rest[r]}; }
    TRIMTAB_INLINE bool is_wide(ptrdiff_t r) const { return wide_rows >> r & 1; }

    template <bool centred, class T>
    TRIMTAB_LOOP void measure(const T* x, ptrdiff_t rows, ptrdiff_t width, double eps) {
        PerRow<double> variance;
        if (width <= short_width)
            row_moments<W, centred, W>(x, rows, width, mean, variance);
        else
            row_moments<W, centred, double>(x, rows, width, mean, variance);
        Longs doubtful = {};
        sweep_rows(rows, [&](ptrdiff_t r, auto at) { doubtful |= ~sums_in_range<W>(at.load(variance + r) + eps); });
        wide_rows = 0;
        if (any(doubtful)) measure_doubtful<centred>(x, rows, width, eps, variance);
        sweep_rows(rows, [&](ptrdiff_t r, auto at) {
            const Doubles centre = at.load(mean + r), spread = at.load(variance + r);
            const Doubles root = reciprocal_root(spread + eps);
            at.store(rstd + r, root);
            at.store(high + r, high_part<W>(centre, spread));
            at.store(scale + r, root);
            at.store(scale_low + r, root - at.load(scale + r));
            at.store(rest + r, (at.load(high + r) - centre) * root);
        });
        for (ptrdiff_t r = 0; wide_rows && r < rows; ++r)
            if (is_wide(r)) rstd[r] = wide[r].rstd();
    }

private:
    template <bool centred, class T>
    TRIMTAB_COLD void measure_doubtful(const T* x, ptrdiff_t rows, ptrdiff_t width, double eps,
                                       PerRow<double>& variance) {
        for (ptrdiff_t r = 0; r < rows; ++r) {
            if (sums_in_range<W>(variance[r] + eps)) continue;
            wide[r] = measure_wide<centred>(x + r * width, {0, 1, width, width, 1}, eps);
            mean[r] = wide[r].mean();
            variance[r] = wide[r].var();
            if (!result_in_range<W>(variance[r] + eps)) wide_rows |= uint32_t(1) << r;
        }
    }
};

// Rows measured together: as many as stay in the first cache.
TRIMTAB_INLINE ptrdiff_t rows_per_task(ptrdiff_t width) {
    return max(1, min(max_rows_per_task, values_together / max(1, width)));
}

inline void fill_statistics_of_nothing(const RowNormForward& a) {
    for (ptrdiff_t row = 0; row < a.rows; ++row) {
        if (a.mean) a.mean[row] = __builtin_nan("");
        if (a.rstd) a.rstd[row] = __builtin_nan("");
    }
}

template <class T, bool centred>
void normalise_rows(const RowNormForward& a) {
    using W = Work<T>;
    const ptrdiff_t width = a.width, together = rows_per_task(width);
    if (width == 0) return fill_statistics_of_nothing(a);
    const double cost = double(a.rows) * (10 + 0.15 * double(width));
    const bool past = exceeds_caches<T>(a.x, a.y, a.rows * width);
    parallel_for(ceil_div(a.rows, together), cost, [&](ptrdiff_t begin, ptrdiff_t end) {
        const auto gamma = static_cast<const W*>(a.gamma), beta = static_cast<const W*>(a.beta);
        OutputStore<T> output(past, prefetch_distance(together * width));
        for (ptrdiff_t first = begin * together, stop = min(end * together, a.rows); first < stop; first += together) {
            const ptrdiff_t rows = min(together, stop - first);
            const T* x = static_cast<const T*>(a.x) + first * width;
            T* y = static_cast<T*>(a.y) + first * width;
            if (a.residual) {
                const T* const added = static_cast<const T*>(a.residual) + first * width;
                T* const summed = static_cast<T*>(a.summed) + first * width;
                sweep<W>(rows * width,
                         [&](ptrdiff_t i, auto at) { at.store(summed + i, at.load(x + i) + at.load(added + i)); });
                x = summed;
            }
            RowStatistics<W> statistics;
            statistics.template measure<centred>(x, rows, width, a.eps);
            const auto apply = [&](ptrdiff_t r, auto count) {
                Standardize<W> standardize[count.value];
                unroll<0, count.value>([&](int k) { standardize[k] = statistics.standardize(r + k); });
                const T* const in = x + r * width;
                output.write(y + r * width, width, count.value, width,
                             [&](ptrdiff_t from, ptrdiff_t to, T* result, ptrdiff_t distance, auto cache) {
                    sweep<W>(to - from, [&](ptrdiff_t i, auto at) {
                        const Vector<W> weight = at.load(gamma + from + i);
                        const Vector<W> bias = centred ? at.load(beta + from + i) : Vector<W>{};
                        unroll<0, count.value>([&](int k) {
                            const Vector<W> normal = standardize[k](at.input(in + k * width + from + i));
                            at.output(result + k * distance + i, centred ? fma(normal, weight, bias) : normal * weight);
                        });
                    }, cache);
                });
            };
            ptrdiff_t r = 0;
            if (output.kind(y, width) != StoreKind::streaming && !statistics.wide_rows)
                for (; r + 2 <= rows; r += 2) apply(r, Constant<2>{});  // gamma and beta are loaded once for two rows
            for (; r < rows; ++r)
                if (statistics.is_wide(r)) {
                    const UnitLayout row{r * width, 1, width, width, 1};
                    WideNormal{x, row, statistics.wide[r], gamma, centred ? beta : nullptr}.write(y, row);
                } else {
                    apply(r, Constant<1>{});
                }
            for (r = 0; r < rows; ++r) {
                if (a.mean) a.mean[first + r] = statistics.mean[r];
                if (a.rstd) a.rstd[first + r] = statistics.rstd[r];
            }
        }
    });
}

// ---- backward ----

// Rows whose parameter gradients are summed in W before they meet in double, and tasks at most.
constexpr ptrdiff_t rows_per_panel = 16, most_panels = 64;

// Rows are visited twice, so many at once that they stay in the first cache between, and their constants in registers.
constexpr ptrdiff_t long_rows_at_once = 2, rows_at_once = register_count >= 32 ? 4 : 2;
TRIMTAB_INLINE bool are_long(ptrdiff_t width) { return rows_at_once * width >= values_together / 2; }

// Of rows of one value, whose gradient is 0, 0 does for it.
template <bool centred>
TRIMTAB_INLINE double rstd_of(const RowNormBackward& a, ptrdiff_t row) {
    return centred && a.width == 1 ? 0 : a.rstd[row];
}

template <class T, bool centred>
struct RowGradient {
    using W = Work<T>;
    const T *dy, *x;
    const W* gamma;
    QuickStandardize<W> standardize;
    W mean_h, mean_hx;  // means of h = dy * gamma and of h * x̂, times -rstd

    RowGradient() = default;
    TRIMTAB_INLINE RowGradient(const RowNormBackward& a, ptrdiff_t row)
        : dy(static_cast<const T*>(a.dy) + row * a.width),
          x(static_cast<const T*>(a.x) + row * a.width),
          gamma(static_cast<const W*>(a.gamma)),
          standardize(centred ? a.mean[row] : 0, rstd_of<centred>(a, row)) {}
    // Adds up h and h * x̂.
    template <class At>
    TRIMTAB_INLINE void operator()(ptrdiff_t i, At at, Vector<W> (&acc)[2]) const {
        const Vector<W> h = at.load(dy + i) * at.load(gamma + i);
        acc[0] += h;
        acc[1] = fma(h, at.keep(standardize(at.load(x + i))), acc[1]);
    }
};

// Does W hold the gradient of a row with these sums? Sums of zero may have vanished.
template <class T, bool centred>
TRIMTAB_INLINE bool row_gradient_holds(const RowNormBackward& a, ptrdiff_t row, const double (&sums)[2]) {
    if (rstd_of<centred>(a, row) == 0) return true;  // and so is the gradient
    if (gradient_in_range<Work<T>>(centred ? a.mean[row] : 0, a.rstd[row], sums[0], sums[1])) return true;
    return sums[0] == 0 && sums[1] == 0 &&
           (all_zero(static_cast<const T*>(a.dy) + row * a.width, a.width) ||
            all_zero(static_cast<const Work<T>*>(a.gamma), a.width));
}

template <class T, bool centred>
TRIMTAB_COLD void differentiate_wide_row(const RowNormBackward& a, ptrdiff_t row, double* dgamma, double* dbeta) {
    using W = Work<T>;
    const UnitLayout place{row * a.width, 1, a.width, a.width, 1};
    const WideGradient gradient{.dy = static_cast<const T*>(a.dy),
                                .x = static_cast<const T*>(a.x),
                                .y = nullptr,
                                .gamma = static_cast<const W*>(a.gamma),
                                .mean = centred ? a.mean[row] : 0,
                                .rstd = a.rstd[row],
                                .layout = place,
                                .centred = centred};
    gradient.write(gradient.sum(dgamma, dbeta), static_cast<T*>(a.dx), place);
}

// Gradients of the parameters: of a panel, and of what came before it and rows that W does not hold.
template <class W>
struct ParameterSums {
    W *dgamma, *dbeta;
    double *total_dgamma, *total_dbeta;
};

template <bool centred, class T>
__attribute__((noinline)) void differentiate_one_by_one(const RowNormBackward& a, ptrdiff_t row, int count,
                                                        const ParameterSums<Work<T>>& parameters,
                                                        OutputStore<T>& output);

// dx of rows [row, row + count), and their terms of dgamma and dbeta added to the panel's.
template <int count, bool centred, class T>
TRIMTAB_INLINE void differentiate_rows(const RowNormBackward& a, ptrdiff_t row,
                                       const ParameterSums<Work<T>>& parameters, OutputStore<T>& output) {
    using W = Work<T>;
    const ptrdiff_t width = a.width;
    RowGradient<T, centred> rows[count];
    for (int r = 0; r < count; ++r) rows[r] = {a, row + r};
    double sums[count][2] = {};
    for (ptrdiff_t begin = 0; begin < width; begin += values_per_sum) {
        PartialSums<W, 2> partial[count];
        for (int r = 0; r < count; ++r) sum_lanes<2>(begin, min(begin + values_per_sum, width), partial[r], rows[r]);
        for (int r = 0; r < count; ++r)
            for (int q = 0; q < 2; ++q) sums[r][q] += partial[r].total(q);
    }
    bool all_hold = true;
    for (int r = 0; r < count; ++r) all_hold &= row_gradient_holds<T, centred>(a, row + r, sums[r]);
    if (__builtin_expect(!all_hold, 0)) {
        if constexpr (count == 1)
            differentiate_wide_row<T, centred>(a, row, parameters.total_dgamma, parameters.total_dbeta);
        else
            differentiate_one_by_one<centred, T>(a, row, count, parameters, output);
        return;
    }
    for (int r = 0; r < count; ++r) {
        const double factor = -rstd_of<centred>(a, row + r) / double(width);
        rows[r].mean_h = centred ? W(factor * sums[r][0]) : 0;
        rows[r].mean_hx = W(factor * sums[r][1]);
    }
    output.write(static_cast<T*>(a.dx) + row * width, width, count, width,
                 [&](ptrdiff_t from, ptrdiff_t to, T* dx, ptrdiff_t distance, auto cache) {
        sweep<W>(to - from, [&](ptrdiff_t j, auto at) {
            const ptrdiff_t i = from + j;
            Vector<W> sum_gx = at.load(parameters.dgamma + i);
            Vector<W> sum_g = centred ? at.load(parameters.dbeta + i) : Vector<W>{};
            const Vector<W> weight = at.load(rows[0].gamma + i);
            unroll<0, count>([&](int r) {
                const Vector<W> g = at.input(rows[r].dy + i), normal = rows[r].standardize(at.input(rows[r].x + i));
                sum_g += g;
                sum_gx = fma(g, normal, sum_gx);
                const Vector<W> h = fma(g * weight, broadcast(rows[r].standardize.scale), broadcast(rows[r].mean_h));
                at.output(dx + r * distance + j, fma(normal, broadcast(rows[r].mean_hx), h));
            });
            at.store(parameters.dgamma + i, sum_gx);
            if constexpr (centred) at.store(parameters.dbeta + i, sum_g);
        }, cache);
    });
}

template <bool centred, class T>
void differentiate_one_by_one(const RowNormBackward& a, ptrdiff_t row, int count,
                              const ParameterSums<Work<T>>& parameters, OutputStore<T>& output) {
    for (int r = 0; r < count; ++r) differentiate_rows<1, centred, T>(a, row + r, parameters, output);
}

template <class T, bool centred>
void normalise_rows_backward(const RowNormBackward& a) {
    using W = Work<T>;
    constexpr int parameters = centred ? 2 : 1;
    const ptrdiff_t width = a.width, panels = ceil_div(a.rows, rows_per_panel);
    const ptrdiff_t panels_per_task = ceil_div(panels, most_panels);
    const ptrdiff_t tasks = panels ? ceil_div(panels, panels_per_task) : 0;
    const ptrdiff_t sums = parameters * width;
    const bool past = exceeds_caches<T>(a.x, a.dx, a.rows * width);
    const Scratch<double> partial(tasks * sums);  // [task][dgamma, dbeta][width]
    // [task][dgamma, dbeta][width]: had before dx is written, which may be memory of the caller's.
    const Scratch<W> panel_of_tasks(tasks * 2 * width);
    parallel_for(tasks, double(a.rows) * (30 + 0.4 * double(width)), [&](ptrdiff_t begin, ptrdiff_t end) {
        OutputStore<T> output(past, prefetch_distance((are_long(width) ? long_rows_at_once : rows_at_once) * width));
        for (ptrdiff_t task = begin; task < end; ++task) {
            double* const total = partial + task * sums;
            W* const panel = panel_of_tasks + task * 2 * width;
            const ParameterSums<W> parameter_sums{panel, panel + width, total, centred ? total + width : nullptr};
            sweep<double>(sums, [&](ptrdiff_t i, auto at) { at.store(total + i, Doubles{}); });
            const ptrdiff_t first = task * panels_per_task * rows_per_panel;
            const ptrdiff_t stop = min(first + panels_per_task * rows_per_panel, a.rows);
            for (ptrdiff_t row = first; row < stop;) {
                const ptrdiff_t panel_end = min(row + rows_per_panel, stop);
                sweep<W>(2 * width, [&](ptrdiff_t i, auto at) { at.store(panel + i, Vector<W>{}); });
                const auto differentiate = [&](auto count) {
                    for (; row + count.value <= panel_end; row += count.value)
                        differentiate_rows<count.value, centred, T>(a, row, parameter_sums, output);
                };
                if constexpr (rows_at_once > long_rows_at_once)
                    if (!are_long(width)) differentiate(Constant<rows_at_once>{});
                differentiate(Constant<long_rows_at_once>{});
                differentiate_one_by_one<centred, T>(a, row, int(panel_end - row), parameter_sums, output);
                row = panel_end;
                sweep<double>(
                    sums, [&](ptrdiff_t i, auto at) { at.store(total + i, at.load(total + i) + at.load(panel + i)); });
            }
        }
    });
    const auto meet = [&](const double* from, double* to, ptrdiff_t begin, ptrdiff_t end) {
        sweep<double>(end - begin, [&](ptrdiff_t i, auto at) {
            Doubles sum = {};
            for (ptrdiff_t task = 0; task < tasks; ++task) sum += at.load(from + task * sums + begin + i);
            at.store(to + begin + i, sum);
        });
    };
    parallel_for(width, 1.0 * double(tasks * width), [&](ptrdiff_t begin, ptrdiff_t end) {
        meet(partial, a.dgamma, begin, end);
        if constexpr (centred) meet(partial + width, a.dbeta, begin, end);
    });
}
}  // namespace
}  // namespace trimtab
