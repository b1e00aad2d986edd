// Softmax of rows of x (rows, width), and the gradient:
//   softmax      y = exp(x - maximum) / sum(exp(x - maximum))      dx = y * (dy - sum(dy * y))
//   log_softmax  y = x - maximum - log(sum(exp(x - maximum)))      dx = dy - exp(y) * sum(dy)
#include "../parallel.h"
#include "elementary.h"
#include "sums.h"

namespace trimtab {
namespace {

// The largest value of a row. NaN is ignored.
template <class T, class W = Work<T>>
TRIMTAB_INLINE W largest(const T* x, ptrdiff_t width) {
    Vector<W> maxima = broadcast(W(-__builtin_inf()));
    sweep<W>(width, [&](ptrdiff_t i, auto at) {
        const Vector<W> v = at.keep(at.load(x + i), maxima);
        maxima = v > maxima ? v : maxima;
    });
    return largest_lane<W>(maxima);
}

// Writes exp(x - maximum) to e, unless it is null; returns the sum.
template <class T, class W = Work<T>>
TRIMTAB_LOOP double sum_of_exponentials(const T* x, ptrdiff_t width, W maximum, W* e) {
    double sum[1];
    reduce<W>(width, sum, [&](ptrdiff_t i, auto at, auto& acc) {
        const Vector<W> power = at.keep(exp_below_1<W>(at.load(x + i) - maximum));
        if (e) at.store(e + i, power);
        acc[0] += power;
    });
    return sum[0];
}

template <class T, bool logarithm>
void forward(const Softmax& a) {
    using W = Work<T>;
    const ptrdiff_t width = a.width;
    parallel_for(a.rows, double(a.rows) * (30 + 0.6 * double(width)), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t row = begin; row < end; ++row) {
            const T* const x = static_cast<const T*>(a.x) + row * width;
            T* const y = static_cast<T*>(a.y) + row * width;
            const W maximum = largest(x, width);
            if constexpr (logarithm) {
                const double sum = sum_of_exponentials<T>(x, width, maximum, static_cast<W*>(nullptr));
                const Vector<W> log_of_sum = broadcast(W(log(broadcast(sum))[0]));
                sweep<W>(width,
                         [&](ptrdiff_t i, auto at) { at.store(y + i, (at.load(x + i) - maximum) - log_of_sum); });
            } else {
                // 16-bit results do not hold exponentials, which are then taken again: a buffer might run out of
                // memory while other rows are written.
                W* kept = nullptr;
                if constexpr (is_same<T, W>) kept = y;
                const W factor = W(1 / sum_of_exponentials<T>(x, width, maximum, kept));
                sweep<W>(width, [&](ptrdiff_t i, auto at) {
                    Vector<W> power;
                    if constexpr (is_same<T, W>)
                        power = at.load(y + i);
                    else
                        power = exp_below_1<W>(at.load(x + i) - maximum);
                    at.store(y + i, power * factor);
                });
            }
        }
    });
}

template <class T, bool logarithm>
void backward(const SoftmaxBackward& a) {
    using W = Work<T>;
    const ptrdiff_t width = a.width;
    parallel_for(a.rows, double(a.rows) * (30 + (logarithm ? 0.6 : 0.3) * double(width)),
                 [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t row = begin; row < end; ++row) {
            const T *const dy = static_cast<const T*>(a.dy) + row * width, *const y =
                                                                               static_cast<const T*>(a.y) + row * width;
            T* const dx = static_cast<T*>(a.dx) + row * width;
            double sums[1];
            reduce<W>(width, sums, [&](ptrdiff_t i, auto at, auto& acc) {
                acc[0] += logarithm ? at.load(dy + i) : at.load(dy + i) * at.load(y + i);
            });
            const Vector<W> sum = broadcast(W(sums[0]));
            sweep<W>(width, [&](ptrdiff_t i, auto at) {
                const Vector<W> gradient = at.load(dy + i), result = at.load(y + i);
                if constexpr (logarithm)  // rounding may leave the logarithm of 1 above 0
                    at.store(dx + i, fma(exp_below_1<W>(result > 0 ? Vector<W>{} : result), -sum, gradient));
                else
                    at.store(dx + i, result * (gradient - sum));
            });
        }
    });
}

template <class T>
void softmax(const Softmax& a) {
    forward<T, false>(a);
}
template <class T>
void log_softmax(const Softmax& a) {
    forward<T, true>(a);
}
template <class T>
void softmax_backward(const SoftmaxBackward& a) {
    backward<T, false>(a);
}
template <class T>
void log_softmax_backward(const SoftmaxBackward& a) {
    backward<T, true>(a);
}
}  // namespace

TRIMTAB_EXPORT(SoftmaxKernels, softmax) = {
    .softmax = TRIMTAB_EACH_DTYPE(softmax),
    .log_softmax = TRIMTAB_EACH_DTYPE(log_softmax),
    .softmax_backward = TRIMTAB_EACH_DTYPE(softmax_backward),
    .log_softmax_backward = TRIMTAB_EACH_DTYPE(log_softmax_backward),
};
}  // namespace trimtab
