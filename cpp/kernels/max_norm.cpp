// Bounds the length of the rows of x (rows, width).
#include "../parallel.h"
#include "sums.h"

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

template <class T>
TRIMTAB_LOOP double length(const T* x, ptrdiff_t n) {
    double squares[1];
    reduce<double>(n, squares, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(x + i);
        acc[0] = fma(v, v, acc[0]);
    });
    return __builtin_sqrt(squares[0]);
}

template <class T>
void max_norm(const MaxNorm& a) {
    using W = Work<T>;
    const ptrdiff_t width = a.width;
    parallel_for(a.rows, double(a.rows) * (10 + 0.3 * double(width)), [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t row = begin; row < end; ++row) {
            const T* x = static_cast<const T*>(a.x) + row * width;
            T* y = static_cast<T*>(a.y) + row * width;
            const double norm = length(x, width);
            if (norm > a.limit && norm < __builtin_inf()) {
                const W factor = W(a.limit / norm * (1 - margin<T>));
                sweep<W>(width, [&](ptrdiff_t i, auto at) { at.store(y + i, at.load(x + i) * factor); });
            } else if (y != x) {
                __builtin_memcpy(y, x, std::size_t(width) * sizeof(T));
            }
        }
    });
}
}  // namespace

TRIMTAB_EXPORT(MaxNormKernels, max_norm) = {.project = TRIMTAB_EACH_DTYPE(max_norm)};
}  // namespace trimtab
