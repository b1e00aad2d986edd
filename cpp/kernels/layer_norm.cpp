// Layer normalisation of x (rows, width) along width.
#include "../memory.h"
#include "../parallel.h"
#include "moments.h"

namespace trimtab {
namespace {

template <class T>
void layer_norm_forward(const LayerNormForward& a) {
    using W = Work<T>;
    const auto gamma = static_cast<const W*>(a.gamma), beta = static_cast<const W*>(a.beta);
    const ptrdiff_t width = a.width;
    // The statistics of short rows are a chain of latencies: those of several rows overlap.
    constexpr ptrdiff_t most_together = 8;
    const ptrdiff_t together = most(1, least(most_together, 4096 / most(1, width)));
    parallel_for(a.rows, double(a.rows) * (15 + 0.2 * double(width)), [=](ptrdiff_t begin, ptrdiff_t end) {
        Moments m[most_together];
        for (ptrdiff_t first = begin; first < end; first += together) {
            const ptrdiff_t rows = least(together, end - first);
            const T* x = static_cast<const T*>(a.x) + first * width;
            T* y = static_cast<T*>(a.y) + first * width;
            for (ptrdiff_t r = 0; r < rows; ++r) m[r] = row_moments(x + r * width, width, a.eps);
            for (ptrdiff_t r = 0; r < rows; ++r, x += width, y += width) {
                const double rstd = reciprocal_root(m[r].var() + a.eps);
                const Standardise<W> standardise(m[r].mean, m[r].var(), rstd);
                sweep<W>(width, [&](ptrdiff_t i, auto at) {
                    at.store(y + i, fma(standardise(at.load(x + i)), at.load(gamma + i), at.load(beta + i)));
                });
                if (a.mean) a.mean[first + r] = m[r].mean, a.rstd[first + r] = rstd;
            }
        }
    });
}

// Rows whose parameter gradients are summed in W before they meet in double, and tasks at most.
constexpr ptrdiff_t rows_per_panel = 16, most_panels = 64;

template <class W>
struct RowGradient {
    QuickStandardise<W> standardise;
    W mean_h, mean_hx;  // means of h = dy * gamma and of h * x̂, times -rstd
};

template <class T>
TRIMTAB_INLINE RowGradient<Work<T>> row_gradient(const LayerNormBackward& a, const Work<T>* gamma, ptrdiff_t row) {
    using W = Work<T>;
    const T *dy = static_cast<const T*>(a.dy) + row * a.width, *x = static_cast<const T*>(a.x) + row * a.width;
    const QuickStandardise<W> standardise(a.mean[row], a.rstd[row]);
    double sums[2];
    reduce<W>(a.width, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Vector<W> h = at.load(dy + i) * at.load(gamma + i);
        acc[0] += h;
        acc[1] = fma(h, at.keep(standardise(at.load(x + i))), acc[1]);
    });
    const double factor = -a.rstd[row] / double(a.width);
    return {standardise, W(factor * sums[0]), W(factor * sums[1])};
}

// dx of rows [row, row + count), and their terms of dgamma and dbeta added to the panel's.
template <int count, class T>
TRIMTAB_INLINE void apply_rows(const LayerNormBackward& a, const Work<T>* gamma, ptrdiff_t row, Work<T>* dgamma,
                               Work<T>* dbeta) {
    using W = Work<T>;
    RowGradient<W> rows[count];
    for (int r = 0; r < count; ++r) rows[r] = row_gradient<T>(a, gamma, row + r);
    const T *dy = static_cast<const T*>(a.dy) + row * a.width, *x = static_cast<const T*>(a.x) + row * a.width;
    T* dx = static_cast<T*>(a.dx) + row * a.width;
    sweep<W>(a.width, [&](ptrdiff_t i, auto at) {
        Vector<W> sum_gx = at.load(dgamma + i), sum_g = at.load(dbeta + i);
        const Vector<W> weight = at.load(gamma + i);
        unroll<0, count>([&](int r) {
            const ptrdiff_t j = r * a.width + i;
            const Vector<W> g = at.load(dy + j), normal = rows[r].standardise(at.load(x + j));
            sum_g += g;
            sum_gx = fma(g, normal, sum_gx);
            const Vector<W> h = fma(g * weight, Vector<W>{} + rows[r].standardise.scale, Vector<W>{} + rows[r].mean_h);
            at.store(dx + j, fma(normal, Vector<W>{} + rows[r].mean_hx, h));
        });
        at.store(dgamma + i, sum_gx);
        at.store(dbeta + i, sum_g);
    });
}

template <class T>
void layer_norm_backward(const LayerNormBackward& a) {
    using W = Work<T>;
    const auto gamma = static_cast<const W*>(a.gamma);
    const ptrdiff_t width = a.width, panels = (a.rows + rows_per_panel - 1) / rows_per_panel;
    const ptrdiff_t panels_per_task = (panels + most_panels - 1) / most_panels;
    const ptrdiff_t tasks = panels ? (panels + panels_per_task - 1) / panels_per_task : 0;
    const Scratch<double> partial(tasks * 2 * width);  // [task][dgamma, dbeta][width]
    parallel_for(tasks, double(a.rows) * (40 + 0.6 * double(width)), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<W> panel(2 * width);
        for (ptrdiff_t task = begin; task < end; ++task) {
            double* sums = partial + task * 2 * width;
            sweep<double>(2 * width, [&](ptrdiff_t i, auto at) { at.store(sums + i, Doubles{}); });
            const ptrdiff_t first = task * panels_per_task * rows_per_panel;
            const ptrdiff_t last = first + panels_per_task * rows_per_panel;
            for (ptrdiff_t row = first, stop = last < a.rows ? last : a.rows; row < stop;) {
                const ptrdiff_t panel_end = row + rows_per_panel < stop ? row + rows_per_panel : stop;
                sweep<W>(2 * width, [&](ptrdiff_t i, auto at) { at.store(panel + i, Vector<W>{}); });
                for (; row + 2 <= panel_end; row += 2) apply_rows<2, T>(a, gamma, row, panel, panel + width);
                if (row < panel_end) apply_rows<1, T>(a, gamma, row++, panel, panel + width);
                sweep<double>(2 * width, [&](ptrdiff_t i, auto at) {
                    at.store(sums + i, at.load(sums + i) + at.load(panel + i));
                });
            }
        }
    });
    const auto total = [&](const double* from, double* to, ptrdiff_t begin, ptrdiff_t end) {
        sweep<double>(end - begin, [&](ptrdiff_t i, auto at) {
            Doubles sum = {};
            for (ptrdiff_t task = 0; task < tasks; ++task) sum += at.load(from + task * 2 * width + begin + i);
            at.store(to + begin + i, sum);
        });
    };
    parallel_for(width, 1.0 * double(tasks * width), [&](ptrdiff_t begin, ptrdiff_t end) {
        total(partial, a.dgamma, begin, end);
        total(partial + width, a.dbeta, begin, end);
    });
}
}  // namespace

TRIMTAB_EXPORT(LayerNormKernels, layer_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(layer_norm_forward),
    .backward = TRIMTAB_EACH_DTYPE(layer_norm_backward),
};
}  // namespace trimtab
