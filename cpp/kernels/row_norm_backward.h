// Gradients of row_norm_forward.h, for rows of x (rows, width) with h = dy * gamma:
//   centered  dx = rstd * (h - mean(h) - x̂ * mean(h * x̂))
//   else      dx = rstd * (h - x̂ * mean(h * x̂))
//   dgamma = sum over the rows of dy * x̂, dbeta = sum over the rows of dy
#pragma once
#include "../parallel.h"
#include "output_store.h"
#include "row_statistics.h"

namespace trimtab {
namespace {

template <class T, bool centered>
class RowNormGradient {
    using W = Work<T>;

public:
    explicit RowNormGradient(const RowNormBackward& a)
        : a_(a),
          width_(a.width),
          rows_per_panel_(rows_per_sum * max(1, ceil_div(a.rows, rows_per_sum * max_panels))),
          panels_(ceil_div(a.rows, rows_per_panel_)),
          uncached_(exceeds_caches<T>(a.x, a.dx, a.rows * a.width)),
          panel_sums_(panels_ * parameters * width_),
          row_sums_(panels_ * 2 * width_) {}

    void run() const {
        parallel_for(panels_, double(a_.rows) * (30 + 0.4 * double(width_)), [this](ptrdiff_t begin, ptrdiff_t end) {
            OutputStore<T> output(uncached_,
                                  prefetch_distance((are_long() ? long_rows_per_visit : rows_per_visit) * width_));
            for (ptrdiff_t panel = begin; panel < end; ++panel) differentiate_panel(panel, output);
        });
        parallel_for(width_, 1.0 * double(panels_ * width_), [this](ptrdiff_t begin, ptrdiff_t end) {
            combine_panels(panel_sums_, a_.dgamma, begin, end);
            if constexpr (centered) combine_panels(panel_sums_ + width_, a_.dbeta, begin, end);
        });
    }

private:
    static constexpr int parameters = centered ? 2 : 1;
    // Rows whose terms of dgamma and dbeta are summed in W, before these sums are added in double.
    static constexpr ptrdiff_t rows_per_sum = 16, max_panels = 64;
    // Rows are visited twice, a few at a time: they stay in the L1 cache in between, and their constants in registers.
    static constexpr ptrdiff_t long_rows_per_visit = 2, rows_per_visit = register_count >= 32 ? 4 : 2;
    bool are_long() const { return rows_per_visit * width_ >= l1_values / 2; }

    // Sums for dgamma and dbeta: of up to rows_per_sum rows in W, and of the panel in double.
    struct ParameterSums {
        W *dgamma, *dbeta;
        double *panel_dgamma, *panel_dbeta;
    };

    TRIMTAB_INLINE void differentiate_panel(ptrdiff_t panel, OutputStore<T>& output) const {
        double* const in_double = panel_sums_ + panel * parameters * width_;
        W* const in_w = row_sums_ + panel * 2 * width_;
        const ParameterSums sums{in_w, in_w + width_, in_double, centered ? in_double + width_ : nullptr};
        sweep<double>(parameters * width_, [&](ptrdiff_t i, auto at) { at.store(in_double + i, Doubles{}); });
        const ptrdiff_t first = panel * rows_per_panel_, stop = min(first + rows_per_panel_, a_.rows);
        for (ptrdiff_t row = first; row < stop;) {
            const ptrdiff_t end = min(row + rows_per_sum, stop);
            sweep<W>(2 * width_, [&](ptrdiff_t i, auto at) { at.store(in_w + i, Vector<W>{}); });
            const auto differentiate = [&](auto count) {
                for (; row + count.value <= end; row += count.value) differentiate_rows<count.value>(row, sums, output);
            };
            if constexpr (rows_per_visit > long_rows_per_visit)
                if (!are_long()) differentiate(Constant<rows_per_visit>{});
            differentiate(Constant<long_rows_per_visit>{});
            differentiate_one_by_one(row, int(end - row), sums, output);
            row = end;
            sweep<double>(parameters * width_, [&](ptrdiff_t i, auto at) {
                at.store(in_double + i, at.load(in_double + i) + at.load(in_w + i));
            });
        }
    }

    __attribute__((noinline)) void differentiate_one_by_one(ptrdiff_t row, int count, const ParameterSums& sums,
                                                            OutputStore<T>& output) const {
        for (int r = 0; r < count; ++r) differentiate_rows<1>(row + r, sums, output);
    }

    // A row, its constants, and the terms h and h * x̂ of its sums.
    struct Row {
        const T *dy, *x;
        const W* gamma;
        QuickStandardize<W> standardize;
        W mean_h, mean_hx;  // means of h and of h * x̂, times -rstd

        Row() = default;
        TRIMTAB_INLINE Row(const RowNormGradient& g, ptrdiff_t row)
            : dy(static_cast<const T*>(g.a_.dy) + row * g.width_),
              x(static_cast<const T*>(g.a_.x) + row * g.width_),
              gamma(static_cast<const W*>(g.a_.gamma)),
              standardize(g.mean(row), g.rstd(row)) {}
        template <class At>
        TRIMTAB_INLINE void operator()(ptrdiff_t i, At at, Vector<W> (&acc)[2]) const {
            const Vector<W> h = at.load(dy + i) * at.load(gamma + i);
            acc[0] += h;
            acc[1] = fma(h, at.keep(standardize(at.load(x + i))), acc[1]);
        }
    };

    // dx of rows row..row + count, and their terms of dgamma and dbeta.
    template <int count>
    TRIMTAB_INLINE void differentiate_rows(ptrdiff_t row, const ParameterSums& parameter_sums,
                                           OutputStore<T>& output) const {
        Row rows[count];
        for (int r = 0; r < count; ++r) rows[r] = {*this, row + r};
        double sums[count][2] = {};
        for (ptrdiff_t begin = 0; begin < width_; begin += values_per_sum) {
            PartialSums<W, 2> partial[count];
            for (int r = 0; r < count; ++r)
                sum_lanes<2>(begin, min(begin + values_per_sum, width_), partial[r], rows[r]);
            for (int r = 0; r < count; ++r)
                for (int q = 0; q < 2; ++q) sums[r][q] += partial[r].total(q);
        }
        bool all_in_range = true;
        for (int r = 0; r < count; ++r) all_in_range &= is_in_range(row + r, sums[r]);
        if (__builtin_expect(!all_in_range, 0)) {
            if constexpr (count == 1)
                differentiate_wide_row(row, parameter_sums);
            else
                differentiate_one_by_one(row, count, parameter_sums, output);
            return;
        }
        for (int r = 0; r < count; ++r) {
            const double factor = -rstd(row + r) / double(width_);
            rows[r].mean_h = centered ? W(factor * sums[r][0]) : 0;
            rows[r].mean_hx = W(factor * sums[r][1]);
        }
        output.write(static_cast<T*>(a_.dx) + row * width_, width_, count, width_,
                     [&](ptrdiff_t begin, ptrdiff_t end, T* dx, ptrdiff_t stride, auto cache) {
            sweep<W>(end - begin, [&](ptrdiff_t j, auto at) {
                const ptrdiff_t i = begin + j;
                Vector<W> dgamma = at.load(parameter_sums.dgamma + i);
                Vector<W> dbeta = centered ? at.load(parameter_sums.dbeta + i) : Vector<W>{};
                const Vector<W> weight = at.load(rows[0].gamma + i);
                unroll<0, count>([&](int r) {
                    const Vector<W> g = at.input(rows[r].dy + i), x_hat = rows[r].standardize(at.input(rows[r].x + i));
                    dbeta += g;
                    dgamma = fma(g, x_hat, dgamma);
                    const Vector<W> h =
                        fma(g * weight, broadcast(rows[r].standardize.scale), broadcast(rows[r].mean_h));
                    at.output(dx + r * stride + j, fma(x_hat, broadcast(rows[r].mean_hx), h));
                });
                at.store(parameter_sums.dgamma + i, dgamma);
                if constexpr (centered) at.store(parameter_sums.dbeta + i, dbeta);
            }, cache);
        });
    }

    double mean(ptrdiff_t row) const { return centered ? a_.mean[row] : 0; }
    // Centered rows of one value are constant, with a gradient of 0: so is their rstd.
    double rstd(ptrdiff_t row) const { return centered && width_ == 1 ? 0 : a_.rstd[row]; }

    // Does W hold the gradient of a row with these sums? Sums that are 0 may have underflowed.
    TRIMTAB_INLINE bool is_in_range(ptrdiff_t row, const double (&sums)[2]) const {
        if (rstd(row) == 0) return true;  // the gradient is 0
        if (gradient_in_range<W>(mean(row), a_.rstd[row], sums[0], sums[1])) return true;
        return sums[0] == 0 && sums[1] == 0 &&
               (all_zero(static_cast<const T*>(a_.dy) + row * width_, width_) ||
                all_zero(static_cast<const W*>(a_.gamma), width_));
    }

    TRIMTAB_COLD void differentiate_wide_row(ptrdiff_t row, const ParameterSums& sums) const {
        const UnitLayout layout{row * width_, 1, width_, width_, 1};
        const WideGradient gradient{.dy = static_cast<const T*>(a_.dy),
                                    .x = static_cast<const T*>(a_.x),
                                    .y = nullptr,
                                    .gamma = static_cast<const W*>(a_.gamma),
                                    .mean = mean(row),
                                    .rstd = a_.rstd[row],
                                    .layout = layout,
                                    .centered = centered};
        gradient.write(gradient.sum(sums.panel_dgamma, sums.panel_dbeta), static_cast<T*>(a_.dx), layout);
    }

    TRIMTAB_INLINE void combine_panels(const double* from, double* to, ptrdiff_t begin, ptrdiff_t end) const {
        sweep<double>(end - begin, [&](ptrdiff_t i, auto at) {
            Doubles sum = {};
            for (ptrdiff_t panel = 0; panel < panels_; ++panel)
                sum += at.load(from + panel * parameters * width_ + begin + i);
            at.store(to + begin + i, sum);
        });
    }

    const RowNormBackward a_;
    const ptrdiff_t width_, rows_per_panel_, panels_;
    const bool uncached_;
    const Scratch<double> panel_sums_;  // [panel][dgamma, dbeta][width]
    // [panel][dgamma, dbeta][width]. Taken before dx is written, which may be memory of the caller: it may run out.
    const Scratch<W> row_sums_;
};

template <class T, bool centered>
void row_norm_backward(const RowNormBackward& a) {
    RowNormGradient<T, centered>(a).run();
}
}  // namespace
}  // namespace trimtab
