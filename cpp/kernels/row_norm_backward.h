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
          segments_(ceil_div(a.width, segment)),
          are_shared_(segments_ > 1 && panels_ < num_threads()),
          panel_sums_(panels_ > 1 ? panels_ * parameters * width_ : 0),
          row_sums_(panels_ * 2 * width_),
          segment_sums_(are_shared_ ? a.rows * segments_ : 0) {}

    void run() const {
        if (!are_shared_ || !share_rows()) visit_panels();
        if (panels_ == 1) return;
        parallel_for(width_, 1.0 * double(panels_ * width_), [this](ptrdiff_t begin, ptrdiff_t end) {
            combine_panels(panel_sums_, a_.dgamma, begin, end);
            if constexpr (centered) combine_panels(panel_sums_ + width_, a_.dbeta, begin, end);
        });
    }

private:
    struct Sums {
        double h, hx;  // of h and of h * x̂
    };
    struct Columns {
        ptrdiff_t begin, end;
    };

    static constexpr int parameters = centered ? 2 : 1;
    // Rows whose terms of dgamma and dbeta are summed in W, before these sums are added in double.
    static constexpr ptrdiff_t rows_per_sum = 16, max_panels = 64;
    // Rows are visited twice, a few at a time: they stay in the L1 cache in between, and their constants in registers.
    static constexpr ptrdiff_t long_rows_per_visit = 2, rows_per_visit = register_count >= 32 ? 4 : 2;
    bool are_long() const { return rows_per_visit * width_ >= l1_values / 2; }

    double cost() const { return double(a_.rows) * (30 + 0.4 * double(width_)); }

    // Each panel is a task.
    void visit_panels() const {
        parallel_for(panels_, cost(), [this](ptrdiff_t begin, ptrdiff_t end) {
            OutputStore<T> output(uncached_,
                                  prefetch_distance((are_long() ? long_rows_per_visit : rows_per_visit) * width_));
            for (ptrdiff_t panel = begin; panel < end; ++panel)
                differentiate_panel(panel, {0, width_}, nullptr, output);
        });
    }

    // Few long rows: segments of rows are tasks, first for the sums, then for the results. The bits are those of
    // visit_panels(). Returns false, with nothing written, if some row needs a wider type.
    bool share_rows() const {
        parallel_for(a_.rows * segments_, 0.4 * cost(), [this](ptrdiff_t begin, ptrdiff_t end) {
            for (ptrdiff_t i = begin; i < end; ++i) {
                const Row row[1] = {{*this, i / segments_}};
                Sums sums[1] = {};
                add_segment(row, i % segments_, sums);
                segment_sums_[i] = sums[0];
            }
        });
        for (ptrdiff_t row = 0; row < a_.rows; ++row) {
            Sums* const sums = segment_sums_ + row * segments_;
            for (ptrdiff_t i = 1; i < segments_; ++i) sums[0].h += sums[i].h, sums[0].hx += sums[i].hx;
            if (!is_in_range(row, sums[0])) return false;
        }
        parallel_for(segments_, 0.6 * cost(), [this](ptrdiff_t begin, ptrdiff_t end) {
            OutputStore<T> output(uncached_, 0);
            const Columns columns{begin * segment, min(end * segment, width_)};
            for (ptrdiff_t panel = 0; panel < panels_; ++panel)
                differentiate_panel(panel, columns, segment_sums_, output);
        });
        return true;
    }

    // Sums for dgamma and dbeta: of up to rows_per_sum rows in W, and of the panel in double.
    struct ParameterSums {
        W *dgamma, *dbeta;
        double *panel_dgamma, *panel_dbeta;
    };

    // `known`: the sums of each row, every segments_ of them, or null.
    // Compiled once for both ways to cut the work.
    __attribute__((noinline)) void differentiate_panel(ptrdiff_t panel, Columns columns, const Sums* known,
                                                       OutputStore<T>& output) const {
        W* const in_w = row_sums_ + panel * 2 * width_;
        double* const in_double = panel_sums_ + panel * parameters * width_;
        double* const totals[2] = {panels_ > 1 ? in_double : a_.dgamma, panels_ > 1 ? in_double + width_ : a_.dbeta};
        const ParameterSums sums{in_w, in_w + width_, totals[0], centered ? totals[1] : nullptr};
        for (int p = 0; p < parameters; ++p) fill_zeros(totals[p], columns);
        const ptrdiff_t first = panel * rows_per_panel_, stop = min(first + rows_per_panel_, a_.rows);
        for (ptrdiff_t row = first; row < stop;) {
            const ptrdiff_t end = min(row + rows_per_sum, stop);
            for (int p = 0; p < 2; ++p) fill_zeros(in_w + p * width_, columns);
            const auto differentiate = [&](auto count) {
                for (; row + count.value <= end; row += count.value)
                    differentiate_rows<count.value>(row, columns, known, sums, output);
            };
            if constexpr (rows_per_visit > long_rows_per_visit)
                if (!are_long()) differentiate(Constant<rows_per_visit>{});
            differentiate(Constant<long_rows_per_visit>{});
            differentiate_one_by_one(row, int(end - row), columns, known, sums, output);
            row = end;
            for (int p = 0; p < parameters; ++p) {
                double* const total = totals[p] + columns.begin;
                const W* const part = in_w + p * width_ + columns.begin;
                sweep<double>(columns.end - columns.begin, [&](ptrdiff_t i, auto at) {
                    at.store(total + i, at.load(total + i) + at.load(part + i));
                });
            }
        }
    }

    template <class E>
    TRIMTAB_INLINE static void fill_zeros(E* values, Columns columns) {
        sweep<E>(columns.end - columns.begin,
                 [&](ptrdiff_t i, auto at) { at.store(values + columns.begin + i, Vector<E>{}); });
    }

    __attribute__((noinline)) void differentiate_one_by_one(ptrdiff_t row, int count, Columns columns,
                                                            const Sums* known, const ParameterSums& sums,
                                                            OutputStore<T>& output) const {
        for (int r = 0; r < count; ++r) differentiate_rows<1>(row + r, columns, known, sums, output);
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

    // Adds the sums of one segment of each row.
    template <int count>
    TRIMTAB_INLINE void add_segment(const Row (&rows)[count], ptrdiff_t index, Sums (&sums)[count]) const {
        Sums of_segment[count] = {};
        const ptrdiff_t stop = min((index + 1) * segment, width_);
        for (ptrdiff_t begin = index * segment; begin < stop; begin += values_per_sum) {
            PartialSums<W, 2> partial[count];
            for (int r = 0; r < count; ++r) sum_lanes<2>(begin, min(begin + values_per_sum, stop), partial[r], rows[r]);
            for (int r = 0; r < count; ++r) {
                of_segment[r].h += partial[r].total(0);
                of_segment[r].hx += partial[r].total(1);
            }
        }
        for (int r = 0; r < count; ++r) sums[r].h += of_segment[r].h, sums[r].hx += of_segment[r].hx;
    }

    // dx of rows row..row + count in these columns, and their terms of dgamma and dbeta.
    template <int count>
    TRIMTAB_INLINE void differentiate_rows(ptrdiff_t row, Columns columns, const Sums* known,
                                           const ParameterSums& parameter_sums, OutputStore<T>& output) const {
        Row rows[count];
        for (int r = 0; r < count; ++r) rows[r] = {*this, row + r};
        Sums sums[count] = {};
        if (known)
            for (int r = 0; r < count; ++r) sums[r] = known[(row + r) * segments_];
        else {
            for (ptrdiff_t i = 0; i < segments_; ++i) add_segment(rows, i, sums);
            bool all_in_range = true;
            for (int r = 0; r < count; ++r) all_in_range &= is_in_range(row + r, sums[r]);
            if (__builtin_expect(!all_in_range, 0)) {
                if constexpr (count == 1)
                    differentiate_wide_row(row, parameter_sums);
                else
                    differentiate_one_by_one(row, count, columns, nullptr, parameter_sums, output);
                return;
            }
        }
        for (int r = 0; r < count; ++r) {
            const double factor = -rstd(row + r) / double(width_);
            rows[r].mean_h = centered ? W(factor * sums[r].h) : 0;
            rows[r].mean_hx = W(factor * sums[r].hx);
        }
        output.write(static_cast<T*>(a_.dx) + row * width_ + columns.begin, columns.end - columns.begin, count, width_,
                     [&](ptrdiff_t begin, ptrdiff_t end, T* dx, ptrdiff_t stride, auto cache) {
            sweep<W>(end - begin, [&](ptrdiff_t j, auto at) {
                const ptrdiff_t i = columns.begin + begin + j;
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
    TRIMTAB_INLINE bool is_in_range(ptrdiff_t row, const Sums& sums) const {
        if (rstd(row) == 0) return true;  // the gradient is 0
        if (gradient_in_range<W>(mean(row), a_.rstd[row], sums.h, sums.hx)) return true;
        return sums.h == 0 && sums.hx == 0 &&
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
    const ptrdiff_t segments_;          // of a row
    const bool are_shared_;             // are segments of rows shared by the threads?
    const Scratch<double> panel_sums_;  // [panel][dgamma, dbeta][width]
    // [panel][dgamma, dbeta][width]. Taken before dx is written, which may be memory of the caller: it may run out.
    const Scratch<W> row_sums_;
    const Scratch<Sums> segment_sums_;  // [row][segment]
};

template <class T, bool centered>
void row_norm_backward(const RowNormBackward& a) {
    RowNormGradient<T, centered>(a).run();
}
}  // namespace
}  // namespace trimtab
