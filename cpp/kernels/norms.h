// Euclidean norms that neither overflow nor vanish before their results do.
#pragma once
#include "wide.h"

namespace trimtab {
namespace {

// A sum of squares of values / 2^unit. The unit is 0 where double holds the squares themselves.
struct SquareSum {
    double sum = 0;
    int unit = 0;
    void add(const SquareSum& other) {
        if (other.sum == 0) return;
        const int larger = sum == 0 || other.unit > unit ? other.unit : unit;
        const auto in = [=](const SquareSum& s) {
            const double factor = s.unit - larger < -1000 ? 0 : power_of_two(s.unit - larger);
            return s.sum * factor * factor;
        };
        *this = {sum == 0 ? in(other) : in(*this) + in(other), larger};
    }
    double norm() const { return __builtin_sqrt(sum) * power_of_two(unit); }
};

template <class T>
TRIMTAB_LOOP double squares_in_units(const T* x, ptrdiff_t n, double factor) {
    double squares[1];
    reduce<double>(n, squares, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(x + i) * factor;
        acc[0] = fma(v, v, acc[0]);
    });
    return squares[0];
}
template <class T>
TRIMTAB_LOOP SquareSum sum_of_squares(const T* x, ptrdiff_t n) {
    double squares[1];
    reduce<double>(n, squares, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(x + i);
        acc[0] = fma(v, v, acc[0]);
    });
    if (!is_same<T, double> || sums_in_range<double>(squares[0])) return {squares[0]};
    const double top = largest_magnitude(x, {0, 1, n, n, n});
    if (top == 0 || !(top < __builtin_inf())) return {squares[0]};
    const int unit = exponent(top);
    return {squares_in_units(x, n, power_of_two(-unit)), unit};
}
}  // namespace
}  // namespace trimtab
