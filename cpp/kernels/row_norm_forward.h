// y = x̂ * gamma + beta for rows of x (rows, width), each with statistics of its own; gamma, beta (width,):
//   centered (layer norm)  x̂ = (x - mean) / sqrt(var + eps)
//   else (RMS norm)        x̂ = x / sqrt(mean(x^2) + eps), and no beta
// With a residual, x + residual takes the place of x, and is written to `summed`.
#pragma once
#include "../parallel.h"
#include "output_store.h"
#include "row_statistics.h"

namespace trimtab {
namespace {

template <class T, bool centered>
class RowNorm {
    using W = Work<T>;

public:
    explicit RowNorm(const RowNormForward& a)
        : a_(a),
          width_(a.width),
          rows_per_task_(rows_per_task(a.width)),
          uncached_(exceeds_caches<T>(a.x, a.y, a.rows * a.width)),
          gamma_(static_cast<const W*>(a.gamma)),
          beta_(static_cast<const W*>(a.beta)) {}

    void run() const {
        if (width_ == 0) return save_nan_statistics();
        const double cost = double(a_.rows) * (10 + 0.15 * double(width_));
        parallel_for(ceil_div(a_.rows, rows_per_task_), cost, [this](ptrdiff_t begin, ptrdiff_t end) {
            OutputStore<T> output(uncached_, prefetch_distance(rows_per_task_ * width_));
            const ptrdiff_t stop = min(end * rows_per_task_, a_.rows);
            for (ptrdiff_t first = begin * rows_per_task_; first < stop; first += rows_per_task_)
                normalize(first, min(rows_per_task_, stop - first), output);
        });
    }

private:
    // The rows of a task, from `first` on. Rows of up to l1_values values stay in the L1 cache between the two visits.
    TRIMTAB_INLINE void normalize(ptrdiff_t first, ptrdiff_t rows, OutputStore<T>& output) const {
        const T* const x = a_.residual ? add_residual(first, rows) : static_cast<const T*>(a_.x) + first * width_;
        T* const y = static_cast<T*>(a_.y) + first * width_;
        RowStatistics<W> statistics;
        statistics.template measure<centered>(x, rows, width_, a_.eps);
        ptrdiff_t r = 0;
        if (output.kind(y, width_) != StoreKind::streaming && !statistics.wide_rows)
            for (; r + 2 <= rows; r += 2)
                apply<2>(statistics, r, x, y, output);  // gamma and beta are loaded once for two
        for (; r < rows; ++r)
            if (statistics.is_wide(r))
                apply_wide(statistics.wide[r], {r * width_, 1, width_, width_, 1}, x, y);
            else
                apply<1>(statistics, r, x, y, output);
        for (r = 0; r < rows; ++r) {
            if (a_.mean) a_.mean[first + r] = statistics.mean[r];
            if (a_.rstd) a_.rstd[first + r] = statistics.rstd[r];
        }
    }

    TRIMTAB_INLINE const T* add_residual(ptrdiff_t first, ptrdiff_t rows) const {
        const T* const x = static_cast<const T*>(a_.x) + first * width_;
        const T* const residual = static_cast<const T*>(a_.residual) + first * width_;
        T* const summed = static_cast<T*>(a_.summed) + first * width_;
        sweep<W>(rows * width_,
                 [&](ptrdiff_t i, auto at) { at.store(summed + i, at.load(x + i) + at.load(residual + i)); });
        return summed;
    }

    // Rows r..r + count.
    template <int count>
    TRIMTAB_INLINE void apply(RowStatistics<W>& statistics, ptrdiff_t r, const T* x, T* y,
                              OutputStore<T>& output) const {
        // Copies of members: results might overlap the members themselves, for all the compiler knows.
        const W *const gamma = gamma_, *const beta = beta_;
        const ptrdiff_t width = width_;
        const T* const in = x + r * width;
        Standardize<W> standardize[count];
        unroll<0, count>([&](int k) { standardize[k] = statistics.standardize(r + k); });
        output.write(y + r * width, width, count, width,
                     [&](ptrdiff_t begin, ptrdiff_t end, T* out, ptrdiff_t stride, auto cache) {
            sweep<W>(end - begin, [&](ptrdiff_t i, auto at) {
                const Vector<W> weight = at.load(gamma + begin + i);
                const Vector<W> bias = centered ? at.load(beta + begin + i) : Vector<W>{};
                unroll<0, count>([&](int k) {
                    const Vector<W> x_hat = standardize[k](at.input(in + k * width + begin + i));
                    at.output(out + k * stride + i, centered ? fma(x_hat, weight, bias) : x_hat * weight);
                });
            }, cache);
        });
    }

    TRIMTAB_INLINE void apply_wide(const WideStatistics& statistics, const UnitLayout& row, const T* x, T* y) const {
        WideNormal{x, row, statistics, gamma_, centered ? beta_ : nullptr}.write(y, row);
    }

    // Of rows without values.
    void save_nan_statistics() const {
        for (ptrdiff_t row = 0; row < a_.rows; ++row) {
            if (a_.mean) a_.mean[row] = __builtin_nan("");
            if (a_.rstd) a_.rstd[row] = __builtin_nan("");
        }
    }

    const RowNormForward a_;
    const ptrdiff_t width_, rows_per_task_;
    const bool uncached_;
    const W *gamma_, *beta_;
};

template <class T, bool centered>
void row_norm(const RowNormForward& a) {
    RowNorm<T, centered>(a).run();
}
}  // namespace
}  // namespace trimtab
