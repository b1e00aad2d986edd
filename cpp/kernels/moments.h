// Mean and centered second moment, the statistics of every normalization.
//
// The values of a segment are summed about a shift near their mean: x - shift, and its square. The shift is the mean of
// all values before, or of a small sample to begin with. If the mean of the first segment turns out to lie more than a
// standard deviation off, the segment is summed again about it. So no digits are lost: if the shift is delta away from the
// mean, the rounding error of the second moment is about u * delta^2 per value (u: the unit roundoff). Where delta is
// large because later values differ, the second moment itself grows by at least delta^2 / 2 per value. Moments of segments combine in double (Chan, Golub and LeVeque 1983).
//
// Sums in float hold standard deviations of 1e-15 to 1e15, sums in double those of 1e-140 to 1e140. Values outside of
// these ranges are visited again (wide.h).
//
// From the outer loop to the inner: moments_in, add_segment, sum_about. Then x̂ from the moments: Standardize.
#pragma once
#include "sums.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t segment = 4096;  // values
constexpr int sample_size = 16;

// The runs of a unit, `stride` apart in memory, seen as segments.
struct Runs {
    ptrdiff_t count, length, stride;
    TRIMTAB_INLINE ptrdiff_t segments_per_run() const { return ceil_div(length, segment); }
    TRIMTAB_INLINE ptrdiff_t segments() const { return count * segments_per_run(); }
    // f(offset, n) for segments begin..end.
    template <class F>
    TRIMTAB_INLINE void visit(ptrdiff_t begin, ptrdiff_t end, F&& f) const {
        if (begin >= end) return;
        ptrdiff_t run = begin / segments_per_run(), i = begin % segments_per_run() * segment;
        for (ptrdiff_t s = begin; s < end; ++s) {
            f(run * stride + i, min(length - i, segment));
            i += segment;
            if (i >= length) i = 0, ++run;
        }
    }
};

struct Moments {
    double count = 0, mean = 0, m2 = 0;  // m2: sum of (x - mean)^2
    TRIMTAB_INLINE double var() const { return m2 / count; }
};
template <class W, class T>
TRIMTAB_INLINE Moments add_segment(const Moments& before, const T* x, ptrdiff_t n);

// Of segments begin..end.
template <class W, class T>
TRIMTAB_INLINE Moments moments_in(const T* x, const Runs& runs, ptrdiff_t begin, ptrdiff_t end) {
    Moments m;
    runs.visit(begin, end, [&](ptrdiff_t offset, ptrdiff_t n) { m = add_segment<W>(m, x + offset, n); });
    return m;
}

// ---- one segment ----

// Terms of the sums of x - shift and of its square.
template <class W, class T>
struct SumAbout {
    W shift;
    const T* x;
    template <class At>
    TRIMTAB_INLINE void operator()(ptrdiff_t i, At at, Vector<W> (&acc)[2]) const {
        const Vector<W> d = at.keep(at.load(x + i) - shift);
        acc[0] += d;
        acc[1] = fma(d, d, acc[1]);
    }
};
template <class W, class T>
TRIMTAB_LOOP void sum_about(W shift, const T* x, ptrdiff_t n, double (&sums)[2]) {
    reduce<W>(n, sums, SumAbout<W, T>{shift, x});
}

// The sum of the first sample_size values, in lanes whose total it is.
template <class W, class T>
TRIMTAB_INLINE Vector<W> sample(const T* x, ptrdiff_t n) {
    constexpr int registers = sample_size / lanes<W>;
    Vector<W> values[registers] = {};
    if (n >= sample_size)
        unroll<0, registers>([&](int i) { values[i] = load<W>(x + i * lanes<W>); });
    else
        sweep<W>(n, [&](ptrdiff_t i, auto at) { values[i / lanes<W>] = at.load(x + i); });
    fold<registers, 1>(values);
    return values[0];
}

// Is the shift more than a standard deviation away from the mean? V: double, or a vector of them.
template <class V>
TRIMTAB_INLINE auto off_center(double count, V sum, V squares) {
    return 2 * sum * sum > count * squares;
}
template <class W>
TRIMTAB_INLINE W better_shift(W shift, double sum, ptrdiff_t n) {
    return W(double(shift) + sum / double(n));
}

template <class V>
struct MeanAndM2 {
    V mean, m2;
};
// From sums about a shift. Constant values give exactly themselves and 0.
template <class V>
TRIMTAB_INLINE MeanAndM2<V> about(V shift, double count, V sum, V squares) {
    const V offset = sum / count, m2 = squares - offset * sum;
    return {shift + offset, m2 < 0 ? V{} : m2};  // NaN stays
}
template <class V>
TRIMTAB_INLINE MeanAndM2<V> combine(const MeanAndM2<V>& a, double count_a, const MeanAndM2<V>& b, double count_b) {
    const double weight = count_b / (count_a + count_b);
    const V delta = b.mean - a.mean;
    return {a.mean + delta * weight, a.m2 + b.m2 + delta * delta * (count_a * weight)};
}
TRIMTAB_INLINE Moments combine(const Moments& a, const Moments& b) {
    if (a.count == 0) return b;
    const auto both = combine<double>({a.mean, a.m2}, a.count, {b.mean, b.m2}, b.count);
    return {a.count + b.count, both.mean, both.m2};
}

template <class W, class T>
TRIMTAB_INLINE Moments add_segment(const Moments& before, const T* x, ptrdiff_t n) {
    const double count = double(n);
    double sums[2];
    W shift = W(before.count == 0 ? total(sample<W>(x, n)) / W(min(n, sample_size)) : before.mean);
    sum_about(shift, x, n, sums);
    if (before.count == 0 && off_center(count, sums[0], sums[1])) {
        shift = better_shift(shift, sums[0], n);
        sum_about(shift, x, n, sums);
    }
    const auto m = about(double(shift), count, sums[0], sums[1]);
    return combine(before, {count, m.mean, m.m2});
}

// Variances (with eps) for which W holds the sums of squares.
template <class W, class V>
TRIMTAB_INLINE auto sums_in_range(V variance) {
    constexpr double limit = is_same<W, float> ? 1e30 : 1e280;
    return (variance > 1 / limit) & (variance < limit);
}

// ---- x̂ ----

TRIMTAB_INLINE double reciprocal_root(double v) { return 1 / __builtin_sqrt(v); }
TRIMTAB_INLINE Doubles reciprocal_root(Doubles v) { return 1 / sqrt(v); }
TRIMTAB_INLINE Longs long_bits(Doubles v) { return bit_cast<Longs>(v); }
TRIMTAB_INLINE int64_t long_bits(double v) { return bit_cast<int64_t>(v); }

// The mean, rounded to a few bits below the standard deviation. x - high is then exact up to 8,000 deviations away (in
// double, further), except for the lowest bits of x, which x - (x - high + high) recovers. Constant values keep their mean.
template <class W, class V>
TRIMTAB_INLINE V high_part(V mean, V var) {
    constexpr double to_integers = is_same<W, float> ? 1.5 * 0x1p42 : 1.5 * 0x1p28;  // 2^52 / 2^10, 2^52 / 2^24
    const auto halved_exponent = ((long_bits(var) >> 1) + (int64_t(0x3ff) << 51)) & (int64_t(0x7ff) << 52);
    const V integers = bit_cast<V>(halved_exponent) * to_integers;
    return var == 0 ? mean : (mean + integers) - integers;
}

// x̂ = (x - mean) * rstd, within little more than one rounding, however large the mean. With mean = high + low:
// scale + scale_low = rstd, rest = -low * rstd.
template <class W>
struct Standardize {
    W high, scale, scale_low, rest;
    TRIMTAB_INLINE Vector<W> operator()(Vector<W> x) const {
        const Vector<W> d = x - high, lost = x - (d + high), all = broadcast(scale);
        return fma(d, all, fma(lost, all, fma(d, broadcast(scale_low), broadcast(rest))));
    }
};

// The same within two roundings, enough for gradients.
template <class W>
struct QuickStandardize {
    W high, scale, rest;
    QuickStandardize() = default;
    TRIMTAB_INLINE QuickStandardize(W high, W scale, W rest) : high(high), scale(scale), rest(rest) {}
    TRIMTAB_INLINE QuickStandardize(double mean, double rstd)
        : high(W(mean)), scale(W(rstd)), rest(W((double(high) - mean) * rstd)) {}
    TRIMTAB_INLINE Vector<W> operator()(Vector<W> x) const { return fma(x - high, broadcast(scale), broadcast(rest)); }
};
}  // namespace
}  // namespace trimtab
