// Values that leave the range of the working type: whose squares overflow or vanish, or whose sums and differences exceed
// its largest number. Their statistics, results and gradients are taken in double, in units of powers of two, which keep
// every digit. Such values are rare: what is done here is done for each statistic by itself, and gathered in memory.
#pragma once
#include "moments.h"

namespace trimtab {
namespace {

// 2^n for -1022 <= n <= 1023.
TRIMTAB_INLINE double power_of_two(int n) { return bit_cast<double>(int64_t(n + 1023) << 52); }
// n with 2^n <= x < 2^(n + 1), as far as 2^n and 2^-n are normal numbers with room to spare; 0 where x is not finite.
TRIMTAB_INLINE int exponent(double x) {
    const int biased = int(long_bits(x) >> 52 & 0x7ff);
    if (biased == 0x7ff) return 0;
    return biased < 23 ? -1000 : biased > 2023 ? 1000 : biased - 1023;
}

// Where the values of a statistic lie: `pieces` runs of memory, `length` long and `stride` apart. Along each of them the
// parameters change every `per_parameter` values.
struct UnitLayout {
    ptrdiff_t start, pieces, length, stride, per_parameter;
    ptrdiff_t count() const { return pieces * length; }
    // f(i, offset, column, n) for the runs that make up values first + i of first..first + count; `column` is the place in
    // a piece.
    template <class F>
    TRIMTAB_INLINE void for_runs(ptrdiff_t first, ptrdiff_t count, F&& f) const {
        ptrdiff_t piece = first / length, column = first % length;
        for (ptrdiff_t i = 0, n; i < count; i += n, ++piece, column = 0) {
            n = min(length - column, count - i);
            f(i, start + piece * stride + column, column, n);
        }
    }
    // f(first, n) for parts of all values, up to `most` of them.
    template <class F>
    TRIMTAB_INLINE void for_parts(ptrdiff_t most, F&& f) const {
        for (ptrdiff_t first = 0; first < count(); first += most) f(first, min(most, count() - first));
    }
};

// Values gathered at once. They have their place on the stack: memory that runs out would leave results half written.
constexpr ptrdiff_t gathered = 512;

// An array of any storage type: what seldom happens is compiled once for all of them. Scatter alone writes to it.
class AnyArray {
public:
    AnyArray(decltype(nullptr)) : AnyArray(nullptr, DType::float32) {}
    AnyArray(const float* data) : AnyArray(data, DType::float32) {}
    AnyArray(const double* data) : AnyArray(data, DType::float64) {}
    AnyArray(const half* data) : AnyArray(data, DType::float16) {}
    AnyArray(const bfloat16* data) : AnyArray(data, DType::bfloat16) {}
    explicit operator bool() const { return data_; }
    // f(pointer to its first value)
    template <class F>
    TRIMTAB_INLINE void visit(F&& f) const {
        switch (dtype_) {
            case DType::float32: return f(static_cast<float*>(data_));
            case DType::float64: return f(static_cast<double*>(data_));
            case DType::float16: return f(static_cast<half*>(data_));
            case DType::bfloat16: return f(static_cast<bfloat16*>(data_));
        }
    }

private:
    AnyArray(const void* data, DType dtype) : data_(const_cast<void*>(data)), dtype_(dtype) {}
    void* data_;
    DType dtype_;
};

TRIMTAB_COLD void gather(const AnyArray& values, const UnitLayout& place, ptrdiff_t first, ptrdiff_t count,
                         double* to) {
    values.visit([&](const auto* x) {
        place.for_runs(first, count, [&](ptrdiff_t i, ptrdiff_t offset, ptrdiff_t, ptrdiff_t n) {
            sweep<double>(n, [&](ptrdiff_t j, auto at) { at.store(to + i + j, at.load(x + offset + j)); });
        });
    });
}
TRIMTAB_COLD void scatter(const double* from, const UnitLayout& place, ptrdiff_t first, ptrdiff_t count,
                          const AnyArray& to) {
    to.visit([&](auto* y) {
        place.for_runs(first, count, [&](ptrdiff_t i, ptrdiff_t offset, ptrdiff_t, ptrdiff_t n) {
            sweep<double>(n, [&](ptrdiff_t j, auto at) { at.store(y + offset + j, at.load(from + i + j)); });
        });
    });
}
// Of parameters in a working type.
TRIMTAB_COLD void gather_parameter(const AnyArray& values, const UnitLayout& place, ptrdiff_t first, ptrdiff_t count,
                                   double* to) {
    values.visit([&](const auto* parameters) {
        place.for_runs(first, count, [&](ptrdiff_t i, ptrdiff_t, ptrdiff_t column, ptrdiff_t n) {
            for (ptrdiff_t j = 0; j < n; ++j)
                to[i + j] = FirstLanes<double>{1}.load(parameters + (column + j) / place.per_parameter)[0];
        });
    });
}

// The larger of `top` and the magnitudes of n values; NaN is none.
TRIMTAB_LOOP double largest_magnitude(const double* values, ptrdiff_t n, double top) {
    Doubles tops = broadcast(top);
    sweep<double>(n, [&](ptrdiff_t i, auto at) {
        const Doubles v = at.load(values + i), size = v < 0 ? -v : v;
        tops = size > tops ? size : tops;
    });
    for (int i = 0; i < lanes<double>; ++i) top = tops[i] > top ? tops[i] : top;
    return top;
}
TRIMTAB_COLD double largest_magnitude(const AnyArray& x, const UnitLayout& place, double top = 0) {
    double values[gathered];
    place.for_parts(gathered, [&](ptrdiff_t first, ptrdiff_t n) {
        gather(x, place, first, n, values);
        top = largest_magnitude(values, n, top);
    });
    return top;
}
TRIMTAB_LOOP void multiply(double* values, ptrdiff_t n, double factor) {
    sweep<double>(n, [&](ptrdiff_t i, auto at) { at.store(values + i, at.load(values + i) * factor); });
}

// ---- forward ----

// Variances (eps added) for which (x - mean) * rstd in W holds.
template <class W>
TRIMTAB_INLINE bool result_in_range(double spread) {
    constexpr double limit = is_same<W, float> ? 1e60 : 1e280;
    return spread > 1 / limit && spread < limit;
}

// Where all values are equal and eps is 0 there is nothing to divide by: rstd is 0, and so are x̂ and dx.
template <class V>
TRIMTAB_INLINE V reciprocal_spread(V spread) {
    return spread == 0 ? V{} : reciprocal_root(spread);
}

// Statistics of x / unit; those of x may be out of range.
struct WideStatistics {
    double unit;
    double unit_mean, unit_var, unit_rstd;
    double eps;
    double mean() const { return unit_mean * unit; }
    double var() const { return unit_var * unit * unit; }
    // That of constants is told by eps alone, which may be nothing in the units of theirs.
    double rstd() const { return unit_var == 0 ? reciprocal_spread(eps) : unit_rstd / unit; }
    double std() const { return unit_rstd == 0 ? 0 : unit / unit_rstd; }
};

// n for which values times 2^n are of the size of x̂, as far as the mean holds in these units.
TRIMTAB_INLINE int unit_factor(double mean, double rstd) {
    return int(max(-1000, min(exponent(rstd), 1000 - exponent(mean))));
}
// The same for given statistics.
TRIMTAB_INLINE WideStatistics wide_statistics(double mean, double rstd) {
    const int unit = -unit_factor(mean, rstd);
    const double scale = rstd * power_of_two(unit);
    return {power_of_two(unit), mean * power_of_two(-unit), 1 / (scale * scale), scale, 0};
}

// Loops over gathered values, once for all storage types.
TRIMTAB_COLD Moments add_gathered(const Moments& before, const double* values, ptrdiff_t n) {
    return add_segment<double>(before, values, n);
}
TRIMTAB_COLD double sum_of_gathered_squares(const double* values, ptrdiff_t n) {
    double squares[1];
    reduce<double>(n, squares, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(values + i);
        acc[0] = fma(v, v, acc[0]);
    });
    return squares[0];
}
// Of g * weight, and of that times normal.
TRIMTAB_COLD void sum_weighted(const double* g, const double* weight, const double* normal, ptrdiff_t n,
                               double (&sums)[2]) {
    reduce<double>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles h = at.load(g + i) * at.load(weight + i);
        acc[0] += h;
        acc[1] = fma(h, at.load(normal + i), acc[1]);
    });
}
TRIMTAB_COLD void sum_unweighted(const double* g, const double* normal, ptrdiff_t n, double (&sums)[2]) {
    reduce<double>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(g + i);
        acc[0] += v;
        acc[1] = fma(v, at.load(normal + i), acc[1]);
    });
}

// Not centred: the mean of squares is taken for the variance, as elsewhere.
template <bool centred>
TRIMTAB_COLD WideStatistics measure_wide(const AnyArray& x, const UnitLayout& place, double eps) {
    double values[segment];
    const int unit = exponent(largest_magnitude(x, place, __builtin_sqrt(eps)));
    const double factor = power_of_two(-unit);
    Moments m;
    place.for_parts(segment, [&](ptrdiff_t first, ptrdiff_t n) {
        gather(x, place, first, n, values);
        multiply(values, n, factor);
        if constexpr (centred)
            m = add_gathered(m, values, n);
        else
            m = {m.count + double(n), 0, m.m2 + sum_of_gathered_squares(values, n)};
    });
    return {power_of_two(unit), m.mean, m.var(), reciprocal_spread(m.var() + eps * factor * factor), eps};
}

// y = x̂ * gamma + beta, then the residual and ReLU of batch norm.
struct WideNormal {
    AnyArray x;
    UnitLayout place;
    WideStatistics statistics;
    AnyArray gamma, beta;  // beta may be null
    AnyArray residual = nullptr;
    bool relu = false;

    // y holds the values at `to`, which may be those of x.
    TRIMTAB_COLD void write(const AnyArray& y, const UnitLayout& to) const {
        double values[gathered], weight[gathered], bias[gathered], added[gathered];
        const WideStatistics& s = statistics;
        const double high = high_part<double>(s.unit_mean, s.unit_var), factor = 1 / s.unit;
        const Standardize<double> standardize{high, s.unit_rstd, 0, (high - s.unit_mean) * s.unit_rstd};
        const bool infinite = s.unit_rstd == __builtin_inf();  // given so: of a variance of 0
        place.for_parts(gathered, [&](ptrdiff_t first, ptrdiff_t n) {
            gather(x, place, first, n, values);
            gather_parameter(gamma, place, first, n, weight);
            if (beta) gather_parameter(beta, place, first, n, bias);
            if (residual) gather(residual, place, first, n, added);
            sweep<double>(n, [&](ptrdiff_t i, auto at) {
                const Doubles unit_x = at.load(values + i) * factor, scale = at.load(weight + i);
                const Doubles normal = !infinite               ? standardize(unit_x)
                                       : unit_x == s.unit_mean ? Doubles{}
                                                               : (unit_x - s.unit_mean) * s.unit_rstd;
                Doubles v = beta ? fma(normal, scale, at.load(bias + i)) : normal * scale;
                if (residual) v += at.load(added + i);
                at.store(values + i, relu ? (v < 0 ? Doubles{} : v) : v);
            });
            scatter(values, to, first, n, y);
        });
    }
};

// ---- backward ----

// Does a gradient hold in W, given the statistics of its values and the sums of h and of h * x̂?
template <class W>
TRIMTAB_INLINE Longs gradient_in_range(Doubles mean, Doubles rstd, Doubles h, Doubles hx) {
    constexpr double limit = is_same<W, float> ? 0x1p100 : 0x1p930;
    const auto holds = [](Doubles v) TRIMTAB_INLINE_LAMBDA { return (v > 1 / limit) & (v < limit); };
    const Doubles size = (h < 0 ? -h : h) + (hx < 0 ? -hx : hx);
    return holds(rstd) & (mean > -limit) & (mean < limit) & holds(size) & holds(size * rstd);
}
// The same of one, by exponents alone: an operation or two each. NaN has the highest.
template <class W>
TRIMTAB_INLINE bool gradient_in_range(double mean, double rstd, double h, double hx) {
    constexpr uint64_t limit = is_same<W, float> ? 100 : 930, lowest = 1023 - limit, range = 2 * limit;
    const auto exponent_of = [](double v) TRIMTAB_INLINE_LAMBDA { return uint64_t(long_bits(v)) >> 52; };
    const double size = (h < 0 ? -h : h) + (hx < 0 ? -hx : hx);
    const uint64_t of_rstd = exponent_of(rstd) - lowest, of_size = exponent_of(size) - lowest;
    return (of_rstd < range) & (of_size < range) & (of_rstd + of_size - limit < range) &
           ((exponent_of(mean) & 0x7ff) < 1023 + limit);
}

// Are all values 0? Few others are looked at.
template <class T>
TRIMTAB_COLD bool all_zero(const T* x, ptrdiff_t n) {
    using W = Work<T>;
    for (ptrdiff_t i = 0; i < n; i += 256) {
        decltype(Vector<W>{} != 0) other = {};
        sweep<W>(min(n - i, 256), [&](ptrdiff_t j, auto at) { other |= at.load(x + i + j) != 0; });
        if (any(bit_cast<Longs>(other))) return false;
    }
    return true;
}

// dx = rstd * (h - mean(h) - x̂ * mean(h * x̂)) with h = dy * gamma, where ReLU cut dy off if y is given.
struct WideGradient {
    AnyArray dy, x, y;
    AnyArray gamma;
    double mean, rstd;
    UnitLayout place;
    bool centred = true;
    bool training = true;  // false: mean and rstd were constants

    // h in units of dy times those of gamma; x̂ = (x * factor - centre) * scale.
    struct Sums {
        double h = 0, hx = 0;
        int dy_exponent, gamma_exponent, factor;
        double centre, scale;
    };
    // Sums of nothing yet.
    TRIMTAB_COLD Sums units() const {
        double weight[gathered];
        Sums sums;
        sums.dy_exponent = exponent(largest_magnitude(dy, place));
        double top = 0;
        place.for_parts(gathered, [&](ptrdiff_t first, ptrdiff_t n) {
            gather_parameter(gamma, place, first, n, weight);
            top = largest_magnitude(weight, n, top);
        });
        sums.gamma_exponent = exponent(top);
        standardize(sums);
        return sums;
    }
    // Adds to dgamma and dbeta of each parameter, where they are given.
    TRIMTAB_COLD Sums sum(double* dgamma, double* dbeta) const {
        double room[3 * gathered];
        Sums sums = units();
        place.for_parts(gathered, [&](ptrdiff_t first, ptrdiff_t n) {
            const Part part(*this, sums, first, n, room);
            double both[2];
            sum_weighted(part.g, part.weight, part.normal, n, both);
            sums.h += both[0];
            sums.hx += both[1];
            if (dgamma) part.add_parameters(*this, first, n, power_of_two(sums.dy_exponent), dgamma, dbeta);
        });
        return sums;
    }

    void write(const Sums& sums, const AnyArray& dx, const UnitLayout& to) const {
        const double share = training ? 1 / double(place.count()) : 0;
        write(sums, centred ? share * sums.h : 0, share * sums.hx, dx, to);
    }
    // With given means of h and of h * x̂, in the units of the sums.
    TRIMTAB_COLD void write(const Sums& sums, double mean_h, double mean_hx, const AnyArray& dx,
                            const UnitLayout& to) const {
        double room[3 * gathered];
        const int all = sums.dy_exponent + sums.gamma_exponent + sums.factor;
        const int unit = all < -2000 ? -2000 : all > 2000 ? 2000 : all;
        const double half_unit = power_of_two(unit / 2), other_half = power_of_two(unit - unit / 2);
        place.for_parts(gathered, [&](ptrdiff_t first, ptrdiff_t n) {
            const Part part(*this, sums, first, n, room);
            sweep<double>(n, [&](ptrdiff_t i, auto at) {
                const Doubles h = at.load(part.g + i) * at.load(part.weight + i) - mean_h;
                const Doubles v = fma(at.load(part.normal + i), broadcast(-mean_hx), h) * sums.scale;
                at.store(part.g + i, v * half_unit * other_half);
            });
            scatter(part.g, to, first, n, dx);
        });
    }

    // dy where ReLU let it through, to the place of x in another array.
    TRIMTAB_COLD void write_masked_dy(const AnyArray& to) const {
        double room[2 * gathered];
        place.for_parts(gathered, [&](ptrdiff_t first, ptrdiff_t n) {
            scatter(gather_incoming(first, n, room, room + gathered), place, first, n, to);
        });
    }

private:
    const double* gather_incoming(ptrdiff_t first, ptrdiff_t n, double* g, double* result) const {
        gather(dy, place, first, n, g);
        if (!y) return g;
        gather(y, place, first, n, result);
        sweep<double>(
            n, [&](ptrdiff_t i, auto at) { at.store(g + i, at.load(result + i) > 0 ? at.load(g + i) : Doubles{}); });
        return g;
    }
    // An rstd beyond the largest number tells that eps was 0: it comes from the values again.
    void standardize(Sums& sums) const {
        if (training && rstd == __builtin_inf()) {
            const WideStatistics s = centred ? measure_wide<true>(x, place, 0) : measure_wide<false>(x, place, 0);
            sums.factor = -exponent(s.unit);
            sums.centre = s.unit_mean;
            sums.scale = s.unit_rstd;
        } else {
            sums.factor = unit_factor(mean, rstd);
            sums.centre = mean * power_of_two(sums.factor);
            sums.scale = rstd * power_of_two(-sums.factor);
        }
    }
    // dy and gamma in their units, and x̂.
    struct Part {
        double *g, *weight, *normal;
        Part(const WideGradient& a, const Sums& sums, ptrdiff_t first, ptrdiff_t n, double* room)
            : g(room), weight(g + gathered), normal(weight + gathered) {
            a.gather_incoming(first, n, g, normal);
            gather_parameter(a.gamma, a.place, first, n, weight);
            gather(a.x, a.place, first, n, normal);
            multiply(g, n, power_of_two(-sums.dy_exponent));
            multiply(weight, n, power_of_two(-sums.gamma_exponent));
            const double factor = power_of_two(sums.factor);
            sweep<double>(n, [&](ptrdiff_t i, auto at) {
                at.store(normal + i, (at.load(normal + i) * factor - sums.centre) * sums.scale);
            });
        }
        void add_parameters(const WideGradient& a, ptrdiff_t first, ptrdiff_t n, double unit, double* dgamma,
                            double* dbeta) const {
            a.place.for_runs(first, n, [&](ptrdiff_t i, ptrdiff_t, ptrdiff_t column, ptrdiff_t count) {
                for (ptrdiff_t j = 0, end; j < count; j = end) {
                    const ptrdiff_t parameter = (column + j) / a.place.per_parameter;
                    end = min(count, (parameter + 1) * a.place.per_parameter - column);
                    double both[2];
                    sum_unweighted(g + i + j, normal + i + j, end - j, both);
                    if (dbeta) dbeta[parameter] += both[0] * unit;
                    dgamma[parameter] += both[1] * unit;
                }
            });
        }
    };
};
}  // namespace
}  // namespace trimtab
