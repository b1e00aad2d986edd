// Elementary functions of vectors: exp, sigmoid, tanh, log. The bits do not depend on the instruction set: each
// multiply-add is an fma, each quotient a division. Error bounds are in units in the last place (ulp).
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

// A polynomial of x by Horner's rule. The coefficient of the highest power comes first.
template <class W, int count>
TRIMTAB_INLINE Vector<W> horner(const W (&coefficients)[count], Vector<W> x) {
    Vector<W> sum = Vector<W>{} + coefficients[0];
    unroll<1, count>([&](int i) TRIMTAB_INLINE_LAMBDA { sum = fma(sum, x, Vector<W>{} + coefficients[i]); });
    return sum;
}
// A polynomial of x and y in the powers 1, x, y, xy, y^2, xy^2 ..., highest first. With y = x^2 this has the operations
// of Horner's rule, but in two chains of half the length, so it rounds half as often. `leading` is y if a coefficient of
// 1 precedes the others.
template <class W, int count>
TRIMTAB_INLINE Vector<W> horner(const W (&coefficients)[count], Vector<W> x, Vector<W> y,
                                Vector<W> leading = Vector<W>{}) {
    Vector<W> sums[2] = {Vector<W>{} + coefficients[0], leading + coefficients[1]};
    unroll<2, count>([&](int i)
                         TRIMTAB_INLINE_LAMBDA { sums[i % 2] = fma(sums[i % 2], y, Vector<W>{} + coefficients[i]); });
    return fma(sums[count % 2], x, sums[(count - 1) % 2]);
}

// The coefficients of a polynomial times a factor.
template <class W, int count>
struct Polynomial {
    W coefficients[count];
};
template <class W, int count>
constexpr Polynomial<W, count> scaled(const W (&coefficients)[count], W factor) {
    Polynomial<W, count> product = {};
    for (int i = 0; i < count; ++i) product.coefficients[i] = coefficients[i] * factor;
    return product;
}

// The largest lane of a vector of numbers.
template <class W, int distance = lanes<W> / 2>
TRIMTAB_INLINE W largest_lane(Vector<W> v) {
    if constexpr (distance == 0)
        return v[0];
    else {
        const Vector<W> rotated = [&]<int... lane>(std::integer_sequence<int, lane...>) TRIMTAB_INLINE_LAMBDA {
            return __builtin_shufflevector(v, v, ((lane + distance) % lanes<W>)...);
        }(std::make_integer_sequence<int, lanes<W>>{});
        return largest_lane<W, distance / 2>(rotated > v ? rotated : v);
    }
}

// Constants of float and double.
template <class W>
struct Format;
template <>
struct Format<float> {
    using Lanes = Ints;
    static constexpr int32_t sign = INT32_MIN;
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float largest = 0x1.fffffep127f;
    static constexpr float round = 0x1.8p23f;  // added and subtracted again, rounds to the nearest integer
    static constexpr float lowest = -104;      // exp(lowest) is 0; above it, 2^(n + lift) is normal
    static constexpr int lift = 64;
    static constexpr float unlift = 0x1p-64f;
    static constexpr float one_over_ln2 = 0x1.715476p0f, ln2 = 0x1.62e430p-1f, ln2_rest = -0x1.05c61p-29f;
    // Minimax polynomial of (exp(r) - 1 - r) / r^2 for |r| <= ln2 / 2. Relative error of exp(r) - 1: 1.3e-8, double
    // 2.6e-19.
    static constexpr float series[] = {0.0013946496f, 0.008366611f, 0.04166628f, 0.16666543f, 0.5f};
    // NormalTail's quotient of polynomials of x and y = -x^2 / 2, an interpolant. Relative error 7.9e-9, double 2.1e-18.
    // The denominator begins with xy^2, double xy^5.
    static constexpr float tail_end = 15;
    static constexpr float tail_numerator[] = {-0.39894658f, -1.9693196f, 8.877499f, 10.612881f, -12.0965395f};
    static constexpr float tail_denominator[] = {-9.873299f, -22.745573f, 58.23673f, 40.529053f, -24.193079f};
};
template <>
struct Format<double> {
    using Lanes = Longs;
    static constexpr int64_t sign = INT64_MIN;
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double largest = 0x1.fffffffffffffp1023;
    static constexpr double round = 0x1.8p52;
    static constexpr double lowest = -746;
    static constexpr int lift = 512;
    static constexpr double unlift = 0x1p-512;
    static constexpr double one_over_ln2 = 0x1.71547652b82fep0, ln2 = 0x1.62e42fefa39efp-1,
                            ln2_rest = 0x1.abc9e3b39803fp-56;
    static constexpr double series[] = {2.09244725983338e-09,
                                        2.510909041294864e-08,
                                        2.7557242663845033e-07,
                                        2.755724406189839e-06,
                                        2.4801587360669886e-05,
                                        0.00019841269886266294,
                                        0.001388888888886678,
                                        0.008333333333321579,
                                        0.0416666666666667,
                                        0.16666666666666677,
                                        0.5};
    static constexpr double tail_end = 39;
    static constexpr double tail_numerator[] = {-0.3989422804014844, -6.139542767065978,  92.94395550142869,
                                                449.7927805366768,   -3059.6380331024957, -7611.123703809387,
                                                28008.416828495945,  37683.67151007394,   -71274.5061975666,
                                                -43174.40777207731,  25915.14778219899};
    static constexpr double tail_denominator[] = {-30.77910298649901,  -233.47594681419548, 2270.316154445876,
                                                  7785.363174640462,   -39268.58959543021,  -73926.13802197685,
                                                  206907.20476294812,  210213.75606961217,  -294503.87229122804,
                                                  -127703.40815683703, 51830.29556439798};
};

template <class W>
TRIMTAB_INLINE Vector<W> magnitude(Vector<W> x) {
    using F = Format<W>;
    return bit_cast<Vector<W>>(bit_cast<typename F::Lanes>(x) & ~F::sign);
}
template <class W>
TRIMTAB_INLINE Vector<W> minus_magnitude(Vector<W> x) {
    using F = Format<W>;
    return bit_cast<Vector<W>>(bit_cast<typename F::Lanes>(x) | F::sign);
}
// x with the sign of y, for x >= 0.
template <class W>
TRIMTAB_INLINE Vector<W> with_sign_of(Vector<W> y, Vector<W> x) {
    using F = Format<W>;
    using Lanes = typename F::Lanes;
    return bit_cast<Vector<W>>(bit_cast<Lanes>(x) | (bit_cast<Lanes>(y) & F::sign));
}

// exp(x - excess) = 2^n (1 + p), |x - n ln2| <= ln2 / 2. `excess`: the rounding error of x, which exp would magnify.
// `power` is 2^(n + lift), which must be normal.
template <class W, int lift>
struct Exponential {
    Vector<W> power, p;
    TRIMTAB_INLINE explicit Exponential(Vector<W> x, Vector<W> excess = Vector<W>{}) {
        using F = Format<W>;
        constexpr W round = F::round + (F::bias + lift);  // leaves the exponent of the power in the last bits
        const Vector<W> rounded = fma(x, Vector<W>{} + F::one_over_ln2, Vector<W>{} + round), n = rounded - round;
        const Vector<W> r = fma(n, Vector<W>{} - F::ln2_rest, fma(n, Vector<W>{} - F::ln2, x)) - excess;
        p = fma(r * r, horner<W>(F::series, r), r);
        power = bit_cast<Vector<W>>(bit_cast<typename F::Lanes>(rounded) << F::mantissa);
    }
};

// exp(x) for x <= 0, within 1 ulp. It underflows gradually.
template <class W>
TRIMTAB_INLINE Vector<W> exp_below_1(Vector<W> x) {
    using F = Format<W>;
    const Exponential<W, F::lift> e(max(x, Vector<W>{} + F::lowest));
    return fma(e.power, e.p, e.power) * F::unlift;
}

// n - q * (d + d_rest), for an approximate quotient q. d_rest: the rounding error of d.
template <class V>
TRIMTAB_INLINE V remainder(V n, V q, V d, V d_rest) {
    return fma(-q, d_rest, fma(-q, d, n));
}

// 1 / (1 + exp(-x)), within 1.5 ulp: q = (x < 0 ? e : 1) / (1 + e) with e = exp(-|x|), corrected by its remainder times
// 1 / (1 + e), which is 1 - q or q.
template <class W>
TRIMTAB_INLINE Vector<W> sigmoid(Vector<W> x) {
    const Vector<W> one = Vector<W>{} + 1;
    const Vector<W> e = exp_below_1<W>(minus_magnitude<W>(x)), sum = e + one, rest = e - (sum - one);
    const Vector<W> n = x < 0 ? e : one, q = n / sum;
    return fma(remainder(n, q, sum, rest), x < 0 ? one - q : q, q);
}

// tanh(x), within 1.5 ulp: q = m / (2 - m) with m = 1 - exp(-2|x|), which keeps its digits near 0, corrected by its
// remainder times 1 / (2 - m), which is (1 + q) / 2.
template <class W>
TRIMTAB_INLINE Vector<W> tanh(Vector<W> x) {
    constexpr W one_from = is_same<W, float> ? 10 : 20;
    const Vector<W> half = Vector<W>{} + W(0.5), below_0 = minus_magnitude<W>(x);
    const Exponential<W, 0> e(max(below_0 + below_0, Vector<W>{} - 2 * one_from));
    const Vector<W> below = 1 - e.power;
    const Vector<W> m = fma(-e.power, e.p, below), m_rest = fma(-e.power, e.p, below - m);
    const Vector<W> d = 2 - m, q = m / d;
    const Vector<W> missing = remainder(m, q, d, ((2 - d) - m) - m_rest) + m_rest;
    return with_sign_of<W>(x, fma(missing, fma(q, half, half), q));
}

// 1 / (1 + exp(-x)), and its derivative p (1 - p), within 3 ulp where x is large, too.
template <class W>
struct Logistic {
    Vector<W> p, slope;
    TRIMTAB_INLINE explicit Logistic(Vector<W> x) {
        const Vector<W> e = exp_below_1<W>(minus_magnitude<W>(x)), large = 1 / (e + 1), little = e * large;
        p = x < 0 ? little : large;
        slope = little * large;
    }
};

// The probability P(x) of standard normal values below x, for -tail_end <= x <= 0, within 4 ulp, as a product of
// exp(-x^2 / 2) and a quotient of polynomials, in each of which all terms have one sign. P'(x) = exp(-x^2 / 2) / sqrt(2 pi).
template <class W>
struct NormalTail {
    Vector<W> exponential;  // times 2^lift
    Vector<W> quotient;     // times 2^-lift, as all other factors must be: so a product underflows only at the end
    TRIMTAB_INLINE explicit NormalTail(Vector<W> x) {
        using F = Format<W>;
        const Vector<W> half = x * W(-0.5), exponent = x * half;
        const Exponential<W, F::lift> e(exponent, fma(-x, half, exponent));
        exponential = fma(e.power, e.p, e.power);
        static constexpr auto numerator = scaled(F::tail_numerator, F::unlift);
        quotient =
            horner<W>(numerator.coefficients, x, exponent) / horner<W>(F::tail_denominator, x, exponent, exponent);
    }
};

// log(2^n (1 + f)) for sqrt(1/2) <= 1 + f < sqrt(2), with s = f / (f + 2):
// log(1 + f) = f - s (f - R), R = log((1 + s) / (1 - s)) / s - 2
TRIMTAB_INLINE Doubles log_of(Doubles n, Doubles f, Doubles s) {
    using F = Format<double>;
    constexpr double series[] = {0.14811936070983317, 0.15313030195915803, 0.18183576430198528, 0.22222199005406681,
                                 0.285714287300112,   0.3999999999951718,  0.666666666666671};
    const Doubles square = s * s;
    const Doubles rest = fma(-s, f - square * horner<double>(series, square), n * F::ln2_rest);
    return fma(n, Doubles{} + F::ln2, f + rest);
}

// The natural logarithm of a positive normal number, within 1 ulp.
TRIMTAB_INLINE Doubles log(Doubles x) {
    using F = Format<double>;
    constexpr int64_t root_half = 0x3fe6a09e667f3bcd;
    const Longs scaled = bit_cast<Longs>(x) - root_half;
    const Doubles n = bit_cast<Doubles>((scaled >> 52) + bit_cast<int64_t>(F::round)) - F::round;
    const Doubles f = bit_cast<Doubles>((scaled & 0xfffffffffffff) + root_half) - 1;
    return x < __builtin_inf() ? log_of(n, f, f / (f + 2)) : x;
}
}  // namespace
}  // namespace trimtab
