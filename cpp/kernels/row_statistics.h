// Statistics of rows of x (rows, width): mean and 1 / sqrt(var + eps) where `centered` (layer norm, group norm), else
// 0 and 1 / sqrt(mean(x^2) + eps) (RMS norm).
//
// Several rows are measured together: a register of divisions and square roots takes little longer than one of them.
#pragma once
#include "moments.h"
#include "wide.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t max_rows_per_task = 32;
constexpr ptrdiff_t l1_values = 8192;   // that stay in the L1 cache between two visits, if they are floats
constexpr ptrdiff_t short_width = 256;  // up to which rows fill few registers

// Rows that a task measures together.
TRIMTAB_INLINE ptrdiff_t rows_per_task(ptrdiff_t width) {
    return max(1, min(max_rows_per_task, l1_values / max(1, width)));
}

// A value for each row of a task.
template <class E>
struct alignas(64) PerRow {
    E values[max_rows_per_task];
    TRIMTAB_INLINE E& operator[](ptrdiff_t r) { return values[r]; }
    TRIMTAB_INLINE E* operator+(ptrdiff_t r) { return values + r; }
};
// f(r, at) at every vector of doubles of `rows` rows. The last one may reach beyond them.
template <class F>
TRIMTAB_INLINE void sweep_rows(ptrdiff_t rows, F&& f) {
    for (ptrdiff_t r = 0; r < rows; r += lanes<double>) f(r, WholeVector<double>{});
}

// Sums the terms terms_of(r) of values 0..n of each row, to sums[q][r].
template <class W, int quantities, class Terms>
TRIMTAB_INLINE void sum_long_rows(ptrdiff_t rows, ptrdiff_t n, PerRow<double> (&sums)[quantities], Terms&& terms_of);
// The same for n <= short_width.
template <class W, int quantities, class Terms>
TRIMTAB_INLINE void sum_short_rows(ptrdiff_t rows, ptrdiff_t n, PerRow<W> (&sums)[quantities], Terms&& terms_of);

// Statistics of the rows of a task, as x̂ = standardize(r)(x). Rows that W does not hold are wide: x̂ comes from
// wide[r].
template <class W>
class RowStatistics {
public:
    PerRow<double> mean, rstd;
    PerRow<W> high, scale, scale_low, rest;
    uint32_t wide_rows;  // a bit for each row
    WideStatistics wide[max_rows_per_task];

    template <bool centered, class T>
    TRIMTAB_LOOP void measure(const T* x, ptrdiff_t rows, ptrdiff_t width, double eps) {
        PerRow<double> variance;
        if (width <= short_width)
            measure_moments<centered, W>(x, rows, width, variance);
        else
            measure_moments<centered, double>(x, rows, width, variance);
        Longs doubtful = {};
        sweep_rows(rows, [&](ptrdiff_t r, auto at) { doubtful |= ~sums_in_range<W>(at.load(variance + r) + eps); });
        wide_rows = 0;
        if (any(doubtful)) measure_again<centered>(x, rows, width, eps, variance);
        sweep_rows(rows, [&](ptrdiff_t r, auto at) {
            const Doubles center = at.load(mean + r), spread = at.load(variance + r);
            const Doubles root = reciprocal_root(spread + eps);
            at.store(rstd + r, root);
            at.store(high + r, high_part<W>(center, spread));
            at.store(scale + r, root);
            at.store(scale_low + r, root - at.load(scale + r));
            at.store(rest + r, (at.load(high + r) - center) * root);
        });
        for (ptrdiff_t r = 0; wide_rows && r < rows; ++r)
            if (is_wide(r)) rstd[r] = wide[r].rstd();
    }
    TRIMTAB_INLINE Standardize<W> standardize(ptrdiff_t r) { return {high[r], scale[r], scale_low[r], rest[r]}; }
    TRIMTAB_INLINE bool is_wide(ptrdiff_t r) const { return wide_rows >> r & 1; }

private:
    // Terms of the sums over a segment: x - shift and its square, or x^2 alone.
    template <class T, bool centered>
    struct Terms {
        static constexpr int quantities = centered ? 2 : 1;
        W shift;
        const T* x;
        template <class At>
        TRIMTAB_INLINE void operator()(ptrdiff_t i, At at, Vector<W> (&acc)[quantities]) const {
            const Vector<W> v = at.load(x + i);
            if constexpr (centered)
                SumAbout<W, T>{shift, x}(i, at, acc);
            else
                acc[0] = fma(v, v, acc[0]);
        }
    };

    // Mean and variance, segment by segment. Total: the type of the sums of a segment, W for short rows.
    template <bool centered, class Total, class T>
    TRIMTAB_LOOP void measure_moments(const T* x, ptrdiff_t rows, ptrdiff_t width, PerRow<double>& variance) {
        constexpr int quantities = Terms<T, centered>::quantities;
        PerRow<double> m2;
        for (ptrdiff_t i = 0; i < width; i += segment) {
            const ptrdiff_t n = min(width - i, segment);
            PerRow<W> shift;
            if constexpr (centered) {
                if (i > 0)
                    sweep_rows(rows, [&](ptrdiff_t r, auto at) { at.store(shift + r, at.load(mean + r)); });
                else
                    sample_shifts(x, rows, width, n, shift);
            }
            PerRow<Total> sums[quantities];
            const auto terms_of = [&](ptrdiff_t r) { return Terms<T, centered>{shift[r], x + r * width + i}; };
            if constexpr (is_same<Total, W>)
                sum_short_rows<W>(rows, n, sums, terms_of);
            else
                sum_long_rows<W>(rows, n, sums, terms_of);
            if constexpr (centered) {
                Longs off = {};
                sweep_rows(rows, [&](ptrdiff_t r, auto at) {
                    off |= off_center(double(n), at.load(sums[0] + r), at.load(sums[1] + r));
                });
                if (any(off) && i == 0) sum_about_better_shifts(x, rows, width, n, shift, sums);
            }
            sweep_rows(rows, [&](ptrdiff_t r, auto at) {
                MeanAndM2<Doubles> m{Doubles{}, at.load(sums[quantities - 1] + r)};
                if constexpr (centered) m = about(at.load(shift + r), double(n), at.load(sums[0] + r), m.m2);
                if (i > 0) {
                    const MeanAndM2<Doubles> before{at.load(mean + r), at.load(m2 + r)};
                    m = centered ? combine(before, double(i), m, double(n))
                                 : MeanAndM2<Doubles>{m.mean, before.m2 + m.m2};
                }
                at.store(mean + r, m.mean);
                at.store(m2 + r, m.m2);
            });
        }
        sweep_rows(rows, [&](ptrdiff_t r, auto at) { at.store(variance + r, at.load(m2 + r) / double(width)); });
    }

    // The mean of the first values of each row.
    template <class T>
    TRIMTAB_INLINE static void sample_shifts(const T* x, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t n,
                                             PerRow<W>& shift) {
        for (ptrdiff_t r = 0; r < rows; r += lanes<W>) {
            Vector<W> samples[lanes<W>];
            for (ptrdiff_t k = 0; k < min(lanes<W>, rows - r); ++k) samples[k] = sample<W>(x + (r + k) * width, n);
            store<W>(shift + r, totals(samples) / W(min(n, sample_size)));
        }
    }

    // Sums the first segment of some rows again: those whose sample lies more than a standard deviation off.
    template <class T, class Total>
    TRIMTAB_INLINE static void sum_about_better_shifts(const T* x, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t n,
                                                       PerRow<W>& shift, PerRow<Total> (&sums)[2]) {
        for (ptrdiff_t r = 0; r < rows; ++r) {
            if (!off_center(double(n), double(sums[0][r]), double(sums[1][r]))) continue;
            double both[2];
            shift[r] = better_shift(shift[r], sums[0][r], n);
            sum_about(shift[r], x + r * width, n, both);
            sums[0][r] = Total(both[0]);
            sums[1][r] = Total(both[1]);
        }
    }

    // Measures rows again whose sums may have left the range of W.
    template <bool centered, class T>
    TRIMTAB_COLD void measure_again(const T* x, ptrdiff_t rows, ptrdiff_t width, double eps, PerRow<double>& variance) {
        for (ptrdiff_t r = 0; r < rows; ++r) {
            if (sums_in_range<W>(variance[r] + eps)) continue;
            wide[r] = measure_wide<centered>(x + r * width, {0, 1, width, width, 1}, eps);
            mean[r] = wide[r].mean();
            variance[r] = wide[r].var();
            if (!result_in_range<W>(variance[r] + eps)) wide_rows |= uint32_t(1) << r;
        }
    }
};

template <class W, int quantities, class Terms>
TRIMTAB_INLINE void sum_long_rows(ptrdiff_t rows, ptrdiff_t n, PerRow<double> (&sums)[quantities], Terms&& terms_of) {
    for (ptrdiff_t r = 0; r < rows; r += lanes<double>) {
        Doubles total[quantities] = {};
        // Each row's additions are a chain of latencies. Those of several rows overlap.
        for (ptrdiff_t begin = 0; begin < n; begin += values_per_sum) {
            Doubles partial_sums[quantities][lanes<double>];
            for (ptrdiff_t k = 0; k < min(lanes<double>, rows - r); ++k) {
                PartialSums<W, quantities> partial;
                sum_lanes<quantities>(begin, min(begin + values_per_sum, n), partial, terms_of(r + k));
                unroll<0, quantities>([&](int q) { partial_sums[q][k] = partial.combine(q); });
            }
            unroll<0, quantities>([&](int q) { total[q] += totals(partial_sums[q]); });
        }
        unroll<0, quantities>([&](int q) { store<double>(sums[q] + r, total[q]); });
    }
}

// In fewer virtual lanes, which combine in W: no lane sums more terms than one of a long row.
template <class W, int quantities, class Terms>
TRIMTAB_INLINE void sum_short_rows(ptrdiff_t rows, ptrdiff_t n, PerRow<W> (&sums)[quantities], Terms&& terms_of) {
    if constexpr (is_same<W, double>)
        return sum_long_rows<W>(rows, n, sums, terms_of);
    else
        for (ptrdiff_t r = 0; r < rows; r += lanes<W>) {
            Vector<W> partial_sums[quantities][lanes<W>];
            for (ptrdiff_t k = 0; k < min(lanes<W>, rows - r); ++k) {
                PartialSums<W, quantities, 64> partial;
                sum_lanes<quantities>(0, n, partial, terms_of(r + k));
                unroll<0, quantities>([&](int q) {
                    fold<partial.registers, 1>(partial.of[q]);
                    partial_sums[q][k] = partial.of[q][0];
                });
            }
            unroll<0, quantities>([&](int q) { store<W>(sums[q] + r, totals(partial_sums[q])); });
        }
}
}  // namespace
}  // namespace trimtab
