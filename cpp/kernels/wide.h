// Wide units: those whose values leave the range of the working type. Their squares overflow or underflow, or their
// sums and differences exceed its largest number. Their statistics, results and gradients are computed in double, from
// values divided by a scale that is a power of two, so no digit is lost. Wide units are rare: each is computed by
// itself, from values that are gathered in a buffer.
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

// A unit in memory: `runs` runs, `length` values long and `stride` values apart. Along each run the parameters change
// every `per_parameter` values.
struct UnitLayout {
    ptrdiff_t start, runs, length, stride, per_parameter;
    ptrdiff_t count() const { return runs * length; }
    // f(i, offset, column, n) for the runs, or parts of them, that make up values first..first + count of the unit. The
    // n values from first + i on lie at `offset` in the array and `column` in their run.
    template <class F>
    TRIMTAB_INLINE void for_runs(ptrdiff_t first, ptrdiff_t count, F&& f) const {
        ptrdiff_t run = first / length, column = first % length;
        for (ptrdiff_t i = 0, n; i < count; i += n, ++run, column = 0) {
            n = min(length - column, count - i);
            f(i, start + run * stride + column, column, n);
        }
    }
    // f(first, n) for all values, at most `size` at a time.
    template <class F>
    TRIMTAB_INLINE void for_chunks(ptrdiff_t size, F&& f) const {
        for (ptrdiff_t first = 0; first < count(); first += size) f(first, min(size, count() - first));
    }
};

// Values of a buffer. Buffers are on the stack: to run out of memory would leave results half written.
constexpr ptrdiff_t buffer_size = 512;

// A pointer to values of any storage type: rare cases are compiled once for all of them. Only scatter() writes there.
class TypedPointer {
public:
    TypedPointer(decltype(nullptr)) : TypedPointer(nullptr, DType::float32) {}
    TypedPointer(const float* data) : TypedPointer(data, DType::float32) {}
    TypedPointer(const double* data) : TypedPointer(data, DType::float64) {}
    TypedPointer(const half* data) : TypedPointer(data, DType::float16) {}
    TypedPointer(const bfloat16* data) : TypedPointer(data, DType::bfloat16) {}
    TypedPointer(const void* data, DType dtype) : data_(const_cast<void*>(data)), dtype_(dtype) {}
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
    void* data_;
    DType dtype_;
};

TRIMTAB_COLD void gather(const TypedPointer& values, const UnitLayout& layout, ptrdiff_t first, ptrdiff_t count,
                         double* to) {
    values.visit([&](const auto* x) {
        layout.for_runs(first, count, [&](ptrdiff_t i, ptrdiff_t offset, ptrdiff_t, ptrdiff_t n) {
            sweep<double>(n, [&](ptrdiff_t j, auto at) { at.store(to + i + j, at.load(x + offset + j)); });
        });
    });
}
TRIMTAB_COLD void scatter(const double* from, const UnitLayout& layout, ptrdiff_t first, ptrdiff_t count,
                          const TypedPointer& to) {
    to.visit([&](auto* y) {
        layout.for_runs(first, count, [&](ptrdiff_t i, ptrdiff_t offset, ptrdiff_t, ptrdiff_t n) {
            sweep<double>(n, [&](ptrdiff_t j, auto at) { at.store(y + offset + j, at.load(from + i + j)); });
        });
    });
}
// The parameter of each value. Parameters have a working type.
TRIMTAB_COLD void gather_parameter(const TypedPointer& values, const UnitLayout& layout, ptrdiff_t first,
                                   ptrdiff_t count, double* to) {
    values.visit([&](const auto* parameters) {
        layout.for_runs(first, count, [&](ptrdiff_t i, ptrdiff_t, ptrdiff_t column, ptrdiff_t n) {
            for (ptrdiff_t j = 0; j < n; ++j)
                to[i + j] = FirstLanes<double>{1}.load(parameters + (column + j) / layout.per_parameter)[0];
        });
    });
}

// The largest of `largest` and the magnitudes of n values. NaN is ignored.
TRIMTAB_LOOP double largest_magnitude(const double* values, ptrdiff_t n, double largest) {
    Doubles all = broadcast(largest);
    sweep<double>(n, [&](ptrdiff_t i, auto at) {
        const Doubles v = at.load(values + i), magnitude = v < 0 ? -v : v;
        all = magnitude > all ? magnitude : all;
    });
    for (int i = 0; i < lanes<double>; ++i) largest = all[i] > largest ? all[i] : largest;
    return largest;
}
TRIMTAB_COLD double largest_magnitude(const TypedPointer& x, const UnitLayout& layout, double largest = 0) {
    double values[buffer_size];
    layout.for_chunks(buffer_size, [&](ptrdiff_t first, ptrdiff_t n) {
        gather(x, layout, first, n, values);
        largest = largest_magnitude(values, n, largest);
    });
    return largest;
}
TRIMTAB_LOOP void multiply(double* values, ptrdiff_t n, double factor) {
    sweep<double>(n, [&](ptrdiff_t i, auto at) { at.store(values + i, at.load(values + i) * factor); });
}

// ---- forward ----

// Variances (with eps) for which W holds (x - mean) * rstd.
template <class W>
TRIMTAB_INLINE bool result_in_range(double variance) {
    constexpr double limit = is_same<W, float> ? 1e60 : 1e280;
    return variance > 1 / limit && variance < limit;
}

// 1 / sqrt(variance), or 0 for a variance of 0: x̂ and dx are then 0, too.
template <class V>
TRIMTAB_INLINE V reciprocal_deviation(V variance) {
    return variance == 0 ? V{} : reciprocal_root(variance);
}

// Statistics of x / scale. Those of x may be out of range.
struct WideStatistics {
    double scale;
    double scaled_mean, scaled_var, scaled_rstd;
    double eps;
    double mean() const { return scaled_mean * scale; }
    double var() const { return scaled_var * scale * scale; }
    // Of constant values from eps itself: eps / scale^2 may underflow.
    double rstd() const { return scaled_var == 0 ? reciprocal_deviation(eps) : scaled_rstd / scale; }
    double std() const { return scaled_rstd == 0 ? 0 : scale / scaled_rstd; }
};

// n for which x * 2^n has the magnitude of x̂, as far as the scaled mean stays in range.
TRIMTAB_INLINE int scaling_exponent(double mean, double rstd) {
    return int(max(-1000, min(exponent(rstd), 1000 - exponent(mean))));
}
// From given statistics.
TRIMTAB_INLINE WideStatistics wide_statistics(double mean, double rstd) {
    const int n = -scaling_exponent(mean, rstd);
    const double scaled_rstd = rstd * power_of_two(n);
    return {power_of_two(n), mean * power_of_two(-n), 1 / (scaled_rstd * scaled_rstd), scaled_rstd, 0};
}

// Loops over a buffer, compiled once for all storage types.
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
// Sums h = g * weight and h * x_hat.
TRIMTAB_COLD void sum_weighted(const double* g, const double* weight, const double* x_hat, ptrdiff_t n,
                               double (&sums)[2]) {
    reduce<double>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles h = at.load(g + i) * at.load(weight + i);
        acc[0] += h;
        acc[1] = fma(h, at.load(x_hat + i), acc[1]);
    });
}
// Sums g and g * x_hat.
TRIMTAB_COLD void sum_unweighted(const double* g, const double* x_hat, ptrdiff_t n, double (&sums)[2]) {
    reduce<double>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(g + i);
        acc[0] += v;
        acc[1] = fma(v, at.load(x_hat + i), acc[1]);
    });
}

// Not centered: the mean is 0, and the variance the mean of the squares.
template <bool centered>
TRIMTAB_COLD WideStatistics measure_wide(const TypedPointer& x, const UnitLayout& layout, double eps) {
    double values[segment];
    const int scale_exponent = exponent(largest_magnitude(x, layout, __builtin_sqrt(eps)));
    const double factor = power_of_two(-scale_exponent);
    Moments m;
    layout.for_chunks(segment, [&](ptrdiff_t first, ptrdiff_t n) {
        gather(x, layout, first, n, values);
        multiply(values, n, factor);
        if constexpr (centered)
            m = add_gathered(m, values, n);
        else
            m = {m.count + double(n), 0, m.m2 + sum_of_gathered_squares(values, n)};
    });
    return {power_of_two(scale_exponent), m.mean, m.var(), reciprocal_deviation(m.var() + eps * factor * factor), eps};
}

// y = x̂ * gamma + beta, plus the residual and with ReLU in batch norm.
struct WideNormal {
    TypedPointer x;
    UnitLayout layout;
    WideStatistics statistics;
    TypedPointer gamma, beta;  // beta may be null
    TypedPointer residual = nullptr;
    bool relu = false;

    // Writes the unit to layout `to` of y, which may be x.
    TRIMTAB_COLD void write(const TypedPointer& y, const UnitLayout& to) const {
        double values[buffer_size], weight[buffer_size], bias[buffer_size], added[buffer_size];
        const WideStatistics& s = statistics;
        const double high = high_part<double>(s.scaled_mean, s.scaled_var), factor = 1 / s.scale;
        const Standardize<double> standardize{high, s.scaled_rstd, 0, (high - s.scaled_mean) * s.scaled_rstd};
        const bool infinite = s.scaled_rstd == __builtin_inf();  // given, for a variance of 0
        layout.for_chunks(buffer_size, [&](ptrdiff_t first, ptrdiff_t n) {
            gather(x, layout, first, n, values);
            gather_parameter(gamma, layout, first, n, weight);
            if (beta) gather_parameter(beta, layout, first, n, bias);
            if (residual) gather(residual, layout, first, n, added);
            sweep<double>(n, [&](ptrdiff_t i, auto at) {
                const Doubles scaled_x = at.load(values + i) * factor, g = at.load(weight + i);
                const Doubles x_hat = !infinite                   ? standardize(scaled_x)
                                      : scaled_x == s.scaled_mean ? Doubles{}
                                                                  : (scaled_x - s.scaled_mean) * s.scaled_rstd;
                Doubles v = beta ? fma(x_hat, g, at.load(bias + i)) : x_hat * g;
                if (residual) v += at.load(added + i);
                at.store(values + i, relu ? (v < 0 ? Doubles{} : v) : v);
            });
            scatter(values, to, first, n, y);
        });
    }
};

// ---- backward ----

// Does W hold a gradient, given the statistics of its unit and the sums of h and of h * x̂?
template <class W>
TRIMTAB_INLINE Longs gradient_in_range(Doubles mean, Doubles rstd, Doubles h, Doubles hx) {
    constexpr double limit = is_same<W, float> ? 0x1p100 : 0x1p930;
    const auto in_range = [](Doubles v) TRIMTAB_INLINE_LAMBDA { return (v > 1 / limit) & (v < limit); };
    const Doubles size = (h < 0 ? -h : h) + (hx < 0 ? -hx : hx);
    return in_range(rstd) & (mean > -limit) & (mean < limit) & in_range(size) & in_range(size * rstd);
}
// The same for one unit, from exponents alone, which takes few operations. NaN has the largest exponent.
template <class W>
TRIMTAB_INLINE bool gradient_in_range(double mean, double rstd, double h, double hx) {
    constexpr uint64_t limit = is_same<W, float> ? 100 : 930, lowest = 1023 - limit, range = 2 * limit;
    const auto exponent_of = [](double v) TRIMTAB_INLINE_LAMBDA { return uint64_t(long_bits(v)) >> 52; };
    const double size = (h < 0 ? -h : h) + (hx < 0 ? -hx : hx);
    const uint64_t of_rstd = exponent_of(rstd) - lowest, of_size = exponent_of(size) - lowest;
    return (of_rstd < range) & (of_size < range) & (of_rstd + of_size - limit < range) &
           ((exponent_of(mean) & 0x7ff) < 1023 + limit);
}

// Are all values 0? Stops at the first 256 that are not.
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

// dx = rstd * (h - mean(h) - x̂ * mean(h * x̂)) with h = dy * gamma. If y is given, dy counts only where ReLU let y
// pass.
struct WideGradient {
    TypedPointer dy, x, y;
    TypedPointer gamma;
    double mean, rstd;
    UnitLayout layout;
    bool centered = true;
    bool training = true;  // false: mean and rstd are constants

    // Sums of h and of h * x̂ with dy / 2^dy_exponent for dy, gamma / 2^gamma_exponent for gamma, and
    // x̂ = (x * 2^x_exponent - center) * scale.
    struct Sums {
        double h = 0, hx = 0;
        int dy_exponent, gamma_exponent, x_exponent;
        double center, scale;
    };
    // The scales, and sums of 0.
    TRIMTAB_COLD Sums scales() const {
        double weight[buffer_size];
        Sums sums;
        sums.dy_exponent = exponent(largest_magnitude(dy, layout));
        double largest = 0;
        layout.for_chunks(buffer_size, [&](ptrdiff_t first, ptrdiff_t n) {
            gather_parameter(gamma, layout, first, n, weight);
            largest = largest_magnitude(weight, n, largest);
        });
        sums.gamma_exponent = exponent(largest);
        standardize(sums);
        return sums;
    }
    // Also adds to dgamma and dbeta of each parameter, if they are given.
    TRIMTAB_COLD Sums sum(double* dgamma, double* dbeta) const {
        double buffer[3 * buffer_size];
        Sums sums = scales();
        layout.for_chunks(buffer_size, [&](ptrdiff_t first, ptrdiff_t n) {
            const Buffers b(*this, sums, first, n, buffer);
            double both[2];
            sum_weighted(b.g, b.weight, b.x_hat, n, both);
            sums.h += both[0];
            sums.hx += both[1];
            if (dgamma) b.add_parameters(*this, first, n, power_of_two(sums.dy_exponent), dgamma, dbeta);
        });
        return sums;
    }

    void write(const Sums& sums, const TypedPointer& dx, const UnitLayout& to) const {
        const double factor = training ? 1 / double(layout.count()) : 0;
        write(sums, centered ? factor * sums.h : 0, factor * sums.hx, dx, to);
    }
    // With given means of h and of h * x̂, scaled as the sums are.
    TRIMTAB_COLD void write(const Sums& sums, double mean_h, double mean_hx, const TypedPointer& dx,
                            const UnitLayout& to) const {
        double buffer[3 * buffer_size];
        const int sum = sums.dy_exponent + sums.gamma_exponent + sums.x_exponent;
        const int clipped = sum < -2000 ? -2000 : sum > 2000 ? 2000 : sum;
        const double first_half = power_of_two(clipped / 2), second_half = power_of_two(clipped - clipped / 2);
        layout.for_chunks(buffer_size, [&](ptrdiff_t first, ptrdiff_t n) {
            const Buffers b(*this, sums, first, n, buffer);
            sweep<double>(n, [&](ptrdiff_t i, auto at) {
                const Doubles h = at.load(b.g + i) * at.load(b.weight + i) - mean_h;
                const Doubles v = fma(at.load(b.x_hat + i), broadcast(-mean_hx), h) * sums.scale;
                at.store(b.g + i, v * first_half * second_half);
            });
            scatter(b.g, to, first, n, dx);
        });
    }

    // Writes dy where ReLU let y pass, else 0, to the layout of x in another array.
    TRIMTAB_COLD void write_masked_dy(const TypedPointer& to) const {
        double buffer[2 * buffer_size];
        layout.for_chunks(buffer_size, [&](ptrdiff_t first, ptrdiff_t n) {
            scatter(gather_masked_dy(first, n, buffer, buffer + buffer_size), layout, first, n, to);
        });
    }

private:
    const double* gather_masked_dy(ptrdiff_t first, ptrdiff_t n, double* g, double* result) const {
        gather(dy, layout, first, n, g);
        if (!y) return g;
        gather(y, layout, first, n, result);
        sweep<double>(
            n, [&](ptrdiff_t i, auto at) { at.store(g + i, at.load(result + i) > 0 ? at.load(g + i) : Doubles{}); });
        return g;
    }
    // An rstd that overflowed, which takes an eps of 0, is computed from the values again.
    void standardize(Sums& sums) const {
        if (training && rstd == __builtin_inf()) {
            const WideStatistics s = centered ? measure_wide<true>(x, layout, 0) : measure_wide<false>(x, layout, 0);
            sums.x_exponent = -exponent(s.scale);
            sums.center = s.scaled_mean;
            sums.scale = s.scaled_rstd;
        } else {
            sums.x_exponent = scaling_exponent(mean, rstd);
            sums.center = mean * power_of_two(sums.x_exponent);
            sums.scale = rstd * power_of_two(-sums.x_exponent);
        }
    }
    // Scaled dy and gamma, and x̂.
    struct Buffers {
        double *g, *weight, *x_hat;
        Buffers(const WideGradient& a, const Sums& sums, ptrdiff_t first, ptrdiff_t n, double* buffer)
            : g(buffer), weight(g + buffer_size), x_hat(weight + buffer_size) {
            a.gather_masked_dy(first, n, g, x_hat);
            gather_parameter(a.gamma, a.layout, first, n, weight);
            gather(a.x, a.layout, first, n, x_hat);
            multiply(g, n, power_of_two(-sums.dy_exponent));
            multiply(weight, n, power_of_two(-sums.gamma_exponent));
            const double factor = power_of_two(sums.x_exponent);
            sweep<double>(n, [&](ptrdiff_t i, auto at) {
                at.store(x_hat + i, (at.load(x_hat + i) * factor - sums.center) * sums.scale);
            });
        }
        void add_parameters(const WideGradient& a, ptrdiff_t first, ptrdiff_t n, double scale, double* dgamma,
                            double* dbeta) const {
            a.layout.for_runs(first, n, [&](ptrdiff_t i, ptrdiff_t, ptrdiff_t column, ptrdiff_t count) {
                for (ptrdiff_t j = 0, end; j < count; j = end) {
                    const ptrdiff_t parameter = (column + j) / a.layout.per_parameter;
                    end = min(count, (parameter + 1) * a.layout.per_parameter - column);
                    double both[2];
                    sum_unweighted(g + i + j, x_hat + i + j, end - j, both);
                    if (dbeta) dbeta[parameter] += both[0] * scale;
                    dgamma[parameter] += both[1] * scale;
                }
            });
        }
    };
};
}  // namespace
}  // namespace trimtab
