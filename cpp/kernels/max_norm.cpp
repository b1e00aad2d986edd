// Max-norm constraint (Srebro and Shraibman 2005) on the rows of x (rows, width):
//   y = x * min(1, limit / |x|), with |x| the Euclidean norm of the row
#include "../parallel.h"
#include "norms.h"

namespace trimtab {
namespace {

// Relative: the factor is smaller by it, so that rounding leaves no norm above the limit.
template <class T>
constexpr double margin = 0x1p-23;
template <>
constexpr double margin<double> = 0x1p-50;
template <>
constexpr double margin<half> = 0x1p-10;
template <>
constexpr double margin<bfloat16> = 0x1p-7;

template <class T>
TRIMTAB_LOOP void scale_in_two_steps(const T* x, ptrdiff_t n, double limit, const SquareSum& squares, T* y);

template <class T>
void max_norm(const MaxNorm& a) {
    using W = Work<T>;
    const ptrdiff_t width = a.width;
    parallel_for(a.rows, double(a.rows) * (10 + 0.3 * double(width)), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t row = begin; row < end; ++row) {
            const T* x = static_cast<const T*>(a.x) + row * width;
            T* y = static_cast<T*>(a.y) + row * width;
            const SquareSum squares = sum_of_squares(x, width);
            // Both divided by 2^squares.exponent.
            const double norm = __builtin_sqrt(squares.sum), limit = a.limit * power_of_two(-squares.exponent);
            const double factor = limit / norm * (1 - margin<T>);
            if (norm > limit && norm < __builtin_inf()) {
                if (a.limit == 0 || factor > 1e-30)
                    sweep<W>(width, [&](ptrdiff_t i, auto at) { at.store(y + i, at.load(x + i) * W(factor)); });
                else
                    scale_in_two_steps(x, width, a.limit, squares, y);
            } else if (y != x) {
                __builtin_memcpy(y, x, std::size_t(width) * sizeof(T));
            }
        }
    });
}

// For factors that the working type may not hold: multiplies by two of about the same magnitude.
template <class T>
TRIMTAB_LOOP void scale_in_two_steps(const T* x, ptrdiff_t n, double limit, const SquareSum& squares, T* y) {
    const double norm = __builtin_sqrt(squares.sum);  // divided by 2^squares.exponent
    const int step = (exponent(limit) - exponent(norm) - squares.exponent) / 2;
    const double first = power_of_two(step);
    const double second = limit / first / norm * power_of_two(-squares.exponent) * (1 - margin<T>);
    sweep<double>(n, [&](ptrdiff_t i, auto at) { at.store(y + i, at.load(x + i) * first * second); });
}
}  // namespace

TRIMTAB_EXPORT(MaxNormKernels, max_norm) = {.project = TRIMTAB_EACH_DTYPE(max_norm)};
}  // namespace trimtab
