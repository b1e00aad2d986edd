// Bounds the length of the rows of x (rows, width).
#include "../parallel.h"
#include "norms.h"

namespace trimtab {
namespace {

// What rounding can add to the length of a scaled row, relative to it: none ends above the limit.
template <class T>
constexpr double margin = 0x1p-23;
template <>
constexpr double margin<double> = 0x1p-50;
template <>
constexpr double margin<half> = 0x1p-10;
template <>
constexpr double margin<bfloat16> = 0x1p-7;

// Scales to the limit where the working type may not hold its ratio to the norm: in two steps of about the same size.
template <class T>
TRIMTAB_LOOP void scale_by_steps(const T* x, ptrdiff_t n, double limit, const SquareSum& squares, T* y) {
    const double norm = __builtin_sqrt(squares.sum);  // in units
    const int step = (exponent(limit) - exponent(norm) - squares.unit) / 2;
    const double first = power_of_two(step);
    const double second = limit / first / norm * power_of_two(-squares.unit) * (1 - margin<T>);
    sweep<double>(n, [&](ptrdiff_t i, auto at) { at.store(y + i, at.load(x + i) * first * second); });
}

template <class T>
void max_norm(const MaxNorm& a) {
    using W = Work<T>;
    const ptrdiff_t width = a.width;
    parallel_for(a.rows, double(a.rows) * (10 + 0.3 * double(width)), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t row = begin; row < end; ++row) {
            const T* x = static_cast<const T*>(a.x) + row * width;
            T* y = static_cast<T*>(a.y) + row * width;
            const SquareSum squares = sum_of_squares(x, width);
            const double unit = power_of_two(-squares.unit), norm = __builtin_sqrt(squares.sum);  // in units
            const double limit = a.limit * unit, factor = limit / norm * (1 - margin<T>);
            if (norm > limit && norm < __builtin_inf()) {
                if (a.limit == 0 || factor > 1e-30)
                    sweep<W>(width, [&](ptrdiff_t i, auto at) { at.store(y + i, at.load(x + i) * W(factor)); });
                else
                    scale_by_steps(x, width, a.limit, squares, y);
            } else if (y != x) {
                __builtin_memcpy(y, x, std::size_t(width) * sizeof(T));
            }
        }
    });
}
}  // namespace

TRIMTAB_EXPORT(MaxNormKernels, max_norm) = {.project = TRIMTAB_EACH_DTYPE(max_norm)};
}  // namespace trimtab
