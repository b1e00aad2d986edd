// Euclidean norms. Squares neither overflow nor underflow where the norm itself does not.
#pragma once
#include "wide.h"

namespace trimtab {
namespace {

// The sum of the squares of values / 2^exponent. The exponent is 0 where double holds the squares themselves.
struct SquareSum {
    double sum = 0;
    int exponent = 0;
    void add(const SquareSum& other) {
        if (other.sum == 0) return;
        const int larger = sum == 0 || other.exponent > exponent ? other.exponent : exponent;
        const auto rescaled = [=](const SquareSum& s) {
            const double factor = s.exponent - larger < -1000 ? 0 : power_of_two(s.exponent - larger);
            return s.sum * factor * factor;
        };
        *this = {sum == 0 ? rescaled(other) : rescaled(*this) + rescaled(other), larger};
    }
    double norm() const { return __builtin_sqrt(sum) * power_of_two(exponent); }
};

template <class T>
TRIMTAB_LOOP double sum_of_scaled_squares(const T* x, ptrdiff_t n, double factor) {
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
    const double largest = largest_magnitude(x, {0, 1, n, n, n});
    if (largest == 0 || !(largest < __builtin_inf())) return {squares[0]};
    const int scale = exponent(largest);
    return {sum_of_scaled_squares(x, n, power_of_two(-scale)), scale};
}
}  // namespace
}  // namespace trimtab
