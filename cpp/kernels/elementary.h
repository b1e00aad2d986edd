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

// Constants of float and double.
template <class W>
struct Format;
template <>
struct Format<float> {
    using Lanes = Ints;
    static constexpr int32_t sign = INT32_MIN;
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float largest = 0x1.fffffep127f;
    static constexpr float round = 0x1.8p23f;         // added and subtracted again, rounds to the nearest integer
    static constexpr float lowest = -104, lift = 64;  // exp(lowest) is 0; above it, 2^(n + lift) is normal
    static constexpr float one_over_ln2 = 0x1.715476p0f, ln2 = 0x1.62e430p-1f, ln2_rest = -0x1.05c61p-29f;
    // Minimax polynomial of (exp(r) - 1 - r) / r^2 for |r| <= ln2 / 2. Relative error of exp(r) - 1: 1.3e-8, double
    // 2.6e-19.
    static constexpr float series[] = {0.0013946496f, 0.008366611f, 0.04166628f, 0.16666543f, 0.5f};
    // Chebyshev series of NormalTail's g, by powers of t. Relative error 1.7e-9, double 5e-18.
    static constexpr float tail_shift = 4, tail_end = 15;
    static constexpr float tail_series[] = {-5.0344395e-05f, -2.2927883e-04f, 1.7151755e-04f, 1.6433807e-03f,
                                            -3.49009e-03f,   -7.5448095e-03f, 6.0397744e-02f, -1.8652132e-01f,
                                            3.8713735e-01f,  -6.078967e-01f,  7.5528514e-01f};
};
template <>
struct Format<double> {
    using Lanes = Longs;
    static constexpr int64_t sign = INT64_MIN;
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double largest = 0x1.fffffffffffffp1023;
    static constexpr double round = 0x1.8p52;
    static constexpr double lowest = -746, lift = 512;
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
    static constexpr double tail_shift = 5, tail_end = 39;
    static constexpr double tail_series[] = {
        -1.629523005393758e-10,  1.7449237580064364e-09, 7.674299428127925e-09,  -9.28503099767642e-09,
        -6.595301294871025e-08,  4.223167435800696e-08,  4.331439093948562e-07,  -3.36578162397913e-07,
        -2.7692645730337717e-06, 3.980882321513714e-06,  1.6681211232117703e-05, -4.976280749785098e-05,
        -5.937572703227387e-05,  0.0005448990633010863,  -0.0007978693986677221, -0.0029933767703130333,
        0.020795066799905414,    -0.06911863870632468,   0.16502036617038354,    -0.31353315667130405,
        0.4953056159699764,      -0.6653825028900567,    0.769193049750063};
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

// exp(x) = 2^n (1 + p), |x - n ln2| <= ln2 / 2. power(lift) is 2^(n + lift), which must be normal.
template <class W>
class Exponential {
    using F = Format<W>;

public:
    TRIMTAB_INLINE explicit Exponential(Vector<W> x) {
        rounded_ = fma(x, Vector<W>{} + F::one_over_ln2, Vector<W>{} + F::round);
        const Vector<W> n = rounded_ - F::round;
        const Vector<W> r = fma(n, Vector<W>{} - F::ln2_rest, fma(n, Vector<W>{} - F::ln2, x));
        p = fma(r * r, horner<W>(F::series, r), r);
    }
    TRIMTAB_INLINE Vector<W> power(int lift) const {
        using Lanes = typename F::Lanes;
        return bit_cast<Vector<W>>((bit_cast<Lanes>(rounded_) + (F::bias + lift)) << F::mantissa);
    }
    Vector<W> p;  // exp(r) - 1

private:
    Vector<W> rounded_;
};

// exp(x) for x <= 0, within 1 ulp. It underflows gradually.
template <class W>
TRIMTAB_INLINE Vector<W> exp_below_1(Vector<W> x) {
    using F = Format<W>;
    const Exponential<W> e(max(x, Vector<W>{} + F::lowest));
    const Vector<W> power = e.power(int(F::lift));
    constexpr W back = is_same<W, float> ? W(0x1p-64) : W(0x1p-512);
    return fma(power, e.p, power) * back;
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
    const Exponential<W> e(max(below_0 + below_0, Vector<W>{} - 2 * one_from));
    const Vector<W> power = e.power(0), below = 1 - power;
    const Vector<W> m = fma(-power, e.p, below), m_rest = fma(-power, e.p, below - m);
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

// Of the standard normal distribution, for a >= 0 up to tail_end, where the tail is 0: exp(-a^2 / 2), and the probability
// of values above a, within 4 ulp. The latter is exp(-a^2 / 2) g(t) / (a + shift), where g is smooth in
// t = (a - shift) / (a + shift).
template <class W>
struct NormalTail {
    Vector<W> density, probability;
    TRIMTAB_INLINE explicit NormalTail(Vector<W> a) {
        using F = Format<W>;
        const Vector<W> square = a * a, rest = fma(a, a, -square);  // exp would magnify the rounding error
        const Vector<W> e = exp_below_1<W>(W(-0.5) * square);
        density = fma(e, W(-0.5) * rest, e);
        const Vector<W> inverse = 1 / (a + F::tail_shift);
        probability = density * (horner<W>(F::tail_series, (a - F::tail_shift) * inverse) * inverse);
    }
};

// The natural logarithm of a positive normal number, within 1 ulp: x = 2^n (1 + f), sqrt(1/2) <= 1 + f < sqrt(2).
TRIMTAB_INLINE Doubles log(Doubles x) {
    using F = Format<double>;
    constexpr double series[] = {0.14811936070983317, 0.15313030195915803, 0.18183576430198528, 0.22222199005406681,
                                 0.285714287300112,   0.3999999999951718,  0.666666666666671};
    constexpr int64_t root_half = 0x3fe6a09e667f3bcd;
    const Longs scaled = bit_cast<Longs>(x) - root_half;
    const Doubles n = bit_cast<Doubles>((scaled >> 52) + bit_cast<int64_t>(F::round)) - F::round;
    const Doubles f = bit_cast<Doubles>((scaled & 0xfffffffffffff) + root_half) - 1;
    const Doubles s = f / (f + 2), square = s * s;
    // log(1 + f) = f - s (f - R), R = log((1 + s) / (1 - s)) / s - 2
    const Doubles rest = fma(-s, f - square * horner<double>(series, square), n * F::ln2_rest);
    const Doubles value = fma(n, Doubles{} + F::ln2, f + rest);
    return x < __builtin_inf() ? value : x;
}
}  // namespace
}  // namespace trimtab
