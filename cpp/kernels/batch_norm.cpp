// Batch normalization of x (blocks, outer, channels, inner) with gamma and beta (channels,). Statistics are those of each unit,
// a channel of a block, or given.
//
//   x̂ = (x - mean) * rstd                  rstd = 1 / sqrt(var + eps)
//   y = x̂ * gamma + beta                   batch renormalization: y = (x̂ * r + d) * gamma + beta
//   y = max(y + residual, 0)               where there is a residual, and a ReLU
//
//   g      = dy                            0 where the ReLU returned 0; dresidual = g
//   dbeta  = sum(g)
//   dgamma = sum(g * x̂)
//   dx     = rstd * gamma * (g - mean(g) - x̂ * mean(g * x̂))
//            rstd * gamma * g              where the statistics were given
//
// Each part ends with its kernel, and what that calls comes before it.
#include "channel_apply.h"
#include "channel_moments.h"
#include "specialize.h"

namespace trimtab {
namespace {

// ---- forward ----

// y = (x - mean) * scale + beta with scale = rstd * gamma, in double: float arithmetic of the same accuracy must recover the
// rounding errors, and takes as long.
enum ForwardConstant { forward_mean, forward_scale, forward_beta, forward_constants };

template <class W, class At>
TRIMTAB_INLINE void store_forward(At at, Doubles mean, Doubles rstd, const W* gamma, const W* beta,
                                  const Constants<double>& constants) {
    at.store(constants.of(forward_mean), mean);
    at.store(constants.of(forward_scale), rstd * at.load(gamma));
    at.store(constants.of(forward_beta), at.load(beta));
}

// Rare options are branches in the loop: predicted well, they cost less than a loop for each combination of options.
template <class T, bool relu>
struct ForwardBody {
    using Result = T;
    const T *x, *added;
    T* y;
    template <class At>
    TRIMTAB_INLINE void operator()(const Doubles* k, ptrdiff_t j, T* to, At at) const {
        Doubles v = fma(at.input(x + j) - k[forward_mean], k[forward_scale], k[forward_beta]);
        if (added) v += at.input(added + j);
        if constexpr (relu) v = v < 0 ? Doubles{} : v;
        at.output(to, v);
    }
};

template <class T, class Arguments, class F>
TRIMTAB_INLINE void with_forward_body(const Arguments& a, F&& f) {
    const auto x = static_cast<const T*>(a.x), residual = static_cast<const T*>(a.residual);
    const auto y = static_cast<T*>(a.y);
    const bool exceeds = exceeds_caches<T>(x, y, array_size(a.layout));
    specialize<2>([&](auto with_relu) {
        const ForwardBody<T, with_relu.value> body{x, residual, y};
        f(RunBody<double, forward_constants>(body, exceeds));
    }, a.relu);
}

// Does double hold the results? Those of narrower types are lost to an infinite rstd alone.
template <class T>
TRIMTAB_INLINE bool apply_in_range(double mean, double scale) {
    const double size = scale < 0 ? -scale : scale;
    if constexpr (!is_same<T, double>) return size < __builtin_inf();
    return (size == 0 || (size > 1e-280 && size < 1e280)) && mean > -1e280 && mean < 1e280;
}
template <class T>
struct WideApply {
    using Result = T;
    const BatchNormApply& a;
    const Constants<double>& constants;
    bool is_wide(ptrdiff_t unit) const {
        return !apply_in_range<T>(constants.of(forward_mean)[unit], constants.of(forward_scale)[unit]);
    }
    void write(ptrdiff_t unit, T* y, const UnitLayout& to) const {
        using W = Work<T>;
        const ptrdiff_t c = unit % a.layout.channels;
        WideNormal{static_cast<const T*>(a.x),
                   unit_layout(a.layout, unit),
                   wide_statistics(a.mean[unit], a.rstd[unit]),
                   static_cast<const W*>(a.gamma) + c,
                   static_cast<const W*>(a.beta) + c,
                   static_cast<const T*>(a.residual),
                   a.relu}
            .write(y, to);
    }
};

template <class T>
void batch_norm_apply(const BatchNormApply& a) {
    using W = Work<T>;
    const auto gamma = static_cast<const W*>(a.gamma), beta = static_cast<const W*>(a.beta);
    const ptrdiff_t units = trimtab::units(a.layout);
    const Scratch<double> table(forward_constants * padded_stride<double>(units));
    const Constants<double> constants{table, padded_stride<double>(units)};
    for_each_unit(a.layout, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
        store_forward(at, at.load(a.mean + unit), at.load(a.rstd + unit), gamma + c, beta + c, constants.from(unit));
    });
    const WideUnits<WideApply<T>> wide(a.layout, {a, constants});
    with_forward_body<T>(a, [&](const auto& body) {
        apply_to_units<forward_constants>(a.layout, constants, 0.15 * double(size(a.layout)),
                                          body.with_prefetch(prefetch_distance(a.layout)));
    });
    wide.copy_to(static_cast<T*>(a.y));
}

TRIMTAB_INLINE Doubles clip(Doubles v, double low, double high) {
    const Doubles above = v < low ? broadcast(low) : v;  // NaN stays
    return above > high ? broadcast(high) : above;
}
// Batch renormalization toward given statistics: x̂ becomes x̂ * r + d with r = std / given std and
// d = (mean - given mean) / given std, both clipped.
template <class W, class At>
TRIMTAB_INLINE void renorm(At at, const BatchRenorm& to, ptrdiff_t unit, ptrdiff_t c, Doubles mean, Doubles std,
                           const W* gamma, const Constants<double>& constants) {
    const Doubles r = clip(std / at.load(to.std + c), 1 / to.r_max, to.r_max);
    const Doubles d = clip((mean - at.load(to.mean + c)) / at.load(to.std + c), -to.d_max, to.d_max);
    at.store(to.r + unit, r);
    at.store(to.d + unit, d);
    at.store(constants.of(forward_scale), at.load(constants.of(forward_scale)) * r);
    at.store(constants.of(forward_beta), fma(d, at.load(gamma), at.load(constants.of(forward_beta))));
}

// Units of doubles whose variance is out of range. Double holds the variances and results of narrower types.
template <class T>
struct WideForward {
    using Result = T;
    const BatchNormForward& a;
    bool is_wide(ptrdiff_t unit) const { return is_same<T, double> && !sums_in_range<double>(a.var[unit] + a.eps); }
    void write(ptrdiff_t unit, T* y, const UnitLayout& to) const {
        const auto x = static_cast<const T*>(a.x);
        const ptrdiff_t c = unit % a.layout.channels;
        const UnitLayout from = unit_layout(a.layout, unit);
        const WideStatistics s = measure_wide<true>(x, from, a.eps);
        a.mean[unit] = s.mean();
        a.var[unit] = s.var();
        a.rstd[unit] = s.rstd();
        double gamma = static_cast<const Work<T>*>(a.gamma)[c], beta = static_cast<const Work<T>*>(a.beta)[c];
        if (a.renorm) {
            double constants[forward_constants] = {0, gamma, beta};
            renorm(FirstLanes<double>{1}, *a.renorm, unit, c, broadcast(s.mean()), broadcast(s.std()), &gamma,
                   {constants, 1});
            gamma = constants[forward_scale];
            beta = constants[forward_beta];
        }
        WideNormal{x, from, s, &gamma, &beta, static_cast<const T*>(a.residual), a.relu}.write(y, to);
    }
};

template <class T>
void batch_norm_forward(const BatchNormForward& a) {
    using W = Work<T>;
    const auto gamma = static_cast<const W*>(a.gamma), beta = static_cast<const W*>(a.beta);
    const double count = double(a.layout.outer * a.layout.inner);
    const UnitMoments<W, T> statistic{static_cast<const T*>(a.x), a.eps};
    const auto finish = [&](auto at, ptrdiff_t unit, ptrdiff_t c, Doubles mean, Doubles m2,
                            const Constants<double>& constants) {
        const Doubles var = m2 / count, rstd = reciprocal_deviation(var + a.eps);
        at.store(a.mean + unit, mean);
        at.store(a.var + unit, var);
        at.store(a.rstd + unit, rstd);
        store_forward(at, mean, rstd, gamma + c, beta + c, constants);
        if (a.renorm) renorm(at, *a.renorm, unit, c, mean, sqrt(var + a.eps), gamma + c, constants);
    };
    with_forward_body<T>(a, [&](const auto& body) {
        sum_then_apply<double, forward_constants>(a.layout, statistic, 0.3 * double(size(a.layout)), finish, body,
                                                  WideForward<T>{a}, static_cast<T*>(a.y));
    });
}

template <class T>
void batch_moments(const BatchMoments& a) {
    const ChannelLayout& l = a.layout;
    const double count = double(l.outer * l.inner);
    const auto x = static_cast<const T*>(a.x);
    sum_units(UnitMoments<Work<T>, T>{x, a.eps}, l, 0.15 * double(size(l)), a.mean, a.var);
    for_each_unit(l,
                  [&](auto at, ptrdiff_t unit, ptrdiff_t) { at.store(a.var + unit, at.load(a.var + unit) / count); });
    if constexpr (is_same<T, double>)
        for (ptrdiff_t unit = 0; unit < units(l); ++unit) {
            if (sums_in_range<double>(a.var[unit] + a.eps)) continue;
            const WideStatistics s = measure_wide<true>(x, unit_layout(l, unit), a.eps);
            a.mean[unit] = s.mean();
            a.var[unit] = s.var();
        }
}

// ---- backward ----

// g: dy, or 0 where the ReLU returned 0.
template <class T, bool relu>
struct MaskedDy {
    const T *dy, *y;
    template <class At>
    TRIMTAB_INLINE auto operator()(ptrdiff_t i, At at) const {
        const auto g = at.input(dy + i);
        if constexpr (relu) return at.input(y + i) > 0 ? g : decltype(g){};
        return g;
    }
};

// x̂ = (x - high) * scale + rest, where high is the mean rounded to W
enum StandardConstant { standard_high, standard_scale, standard_rest, standard_constants };

template <class W, class At>
TRIMTAB_INLINE void store_standard(At at, Doubles mean, Doubles rstd, const Constants<W>& constants) {
    at.store(constants.of(standard_high), mean);
    at.store(constants.of(standard_scale), rstd);
    at.store(constants.of(standard_rest), (at.load(constants.of(standard_high)) - mean) * rstd);
}

// A statistic of channel_sums.h: sum(g) and sum(g * x̂).
template <class T, bool relu>
struct UnitGradientSums {
    using W = Work<T>;
    MaskedDy<T, relu> masked_dy;
    const T* x;
    const double *mean, *rstd;
    bool in_range(const UnitSums&) const { return true; }
    const UnitGradientSums& wide() const { return *this; }
    template <class V>
    TRIMTAB_INLINE static void combine(V& g, V& gx, double, V g_b, V gx_b, double) {
        g += g_b;
        gx += gx_b;
    }
    TRIMTAB_LOOP UnitSums in_runs(const ChannelRuns& runs, ptrdiff_t unit, ptrdiff_t begin, ptrdiff_t end) const {
        W standard[standard_constants];
        store_standard<W>(FirstLanes<double>{1}, broadcast(mean[unit]), broadcast(rstd[unit]), {standard, 1});
        Vector<W> k[standard_constants];
        for (int j = 0; j < standard_constants; ++j) k[j] = broadcast(standard[j]);
        UnitSums total = {};
        runs.runs().visit(begin, end, [&](ptrdiff_t offset, ptrdiff_t n) {
            const ptrdiff_t start = runs.start(unit) + offset;
            double sums[2];
            reduce<W>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
                const Vector<W> g = masked_dy(start + i, at);
                acc[0] += g;
                const Vector<W> d = at.load(x + start + i) - k[standard_high];
                acc[1] = fma(g, at.keep(fma(d, k[standard_scale], k[standard_rest])), acc[1]);
            });
            total = {total.count + double(n), total.first + sums[0], total.second + sums[1]};
        });
        return total;
    }
    TRIMTAB_LOOP void in_columns(const Tile& tile, ptrdiff_t begin, ptrdiff_t end, double* g, double* gx) const {
        const ptrdiff_t columns = tile.columns(), channels = tile.channels;
        const bool column_is_channel = tile.matrix.column_is_channel();
        const Scratch<W> of_channels(standard_constants * padded_stride<W>(channels));
        const Scratch<W> expanded(standard_constants * padded_stride<W>(columns));
        const Scratch<double> column_sums(2 * columns);
        const Constants<W> constants{of_channels, padded_stride<W>(channels)};
        sweep<double>(channels, [&](ptrdiff_t k, auto at) {
            store_standard<W>(at, at.load(mean + tile.unit() + k), at.load(rstd + tile.unit() + k), constants.from(k));
        });
        const W* standard[standard_constants];
        for (int j = 0; j < standard_constants; ++j) {
            standard[j] = column_is_channel ? constants.of(j) : expanded + j * padded_stride<W>(columns);
            if (!column_is_channel) tile.expand<W>(constants.of(j), expanded + j * padded_stride<W>(columns));
        }
        const bool exceeds = exceeds_caches<T>(2, array_size(tile.matrix.l));
        sum_rows<W, 2, 2>(
            tile, begin, end, exceeds, column_sums, {g, gx},
            [masked_dy = masked_dy, x = x, high = standard[standard_high], scale = standard[standard_scale],
             rest = standard[standard_rest]](ptrdiff_t j, auto at, auto& acc, ptrdiff_t column) {
            const Vector<W> v = masked_dy(j, at), d = at.input(x + j) - at.load(high + column);
            const Vector<W> normal = fma(d, at.load(scale + column), at.load(rest + column));
            acc[0] += v;
            acc[1] = fma(v, normal, acc[1]);
        });
    }
};

// Does W hold dx? Also gradients of zero, and those that gamma makes zero.
template <class W>
TRIMTAB_INLINE Longs unit_gradient_in_range(Doubles mean, Doubles rstd, Doubles g_scale, Doubles g, Doubles gx) {
    constexpr double limit = is_same<W, float> ? 1e30 : 1e280;
    const Doubles size = g_scale < 0 ? -g_scale : g_scale;
    const Longs scales = ((size > 1 / limit) & (size < limit)) | (g_scale == 0);
    const Longs zero = (g == 0) & (gx == 0) & (rstd < limit);
    return (gradient_in_range<W>(mean, rstd, g, gx) | zero) & scales;
}

// dx = g_scale * g + slope * ((x - high) * scale) + offset, where high is the mean rounded to W
enum BackwardConstant {
    backward_high,
    backward_scale,
    backward_g_scale,
    backward_slope,
    backward_offset,
    backward_constants
};

// From dx = g_scale * g + slope * x̂ + offset.
template <class W, class At>
TRIMTAB_INLINE void store_backward(At at, Doubles mean, Doubles rstd, Doubles g_scale, Doubles slope, Doubles offset,
                                   const Constants<W>& constants) {
    at.store(constants.of(backward_high), mean);
    at.store(constants.of(backward_scale), rstd);
    at.store(constants.of(backward_g_scale), g_scale);
    at.store(constants.of(backward_slope), slope);
    at.store(constants.of(backward_offset), offset + slope * ((at.load(constants.of(backward_high)) - mean) * rstd));
}

template <class T, bool relu>
struct BackwardBody {
    using Result = T;
    using W = Work<T>;
    MaskedDy<T, relu> masked_dy;
    const T* x;
    T *y, *dresidual;
    bool training;
    // Do streaming stores fit both dx and dresidual?
    bool same_alignment = (reinterpret_cast<uintptr_t>(dresidual) - reinterpret_cast<uintptr_t>(y)) % 64 == 0;
    template <class At>
    TRIMTAB_INLINE void operator()(const Vector<W>* k, ptrdiff_t j, T* to, At at) const {
        const Vector<W> g = masked_dy(j, at);
        if (dresidual) same_alignment ? at.output(dresidual + j, g) : at.store(dresidual + j, g);
        if (training)
            at.output(to, fma(k[backward_slope], (at.input(x + j) - k[backward_high]) * k[backward_scale],
                              fma(k[backward_g_scale], g, k[backward_offset])));
        else
            at.output(to, k[backward_g_scale] * g);
    }
};

// Units whose gradients W does not hold.
template <class T>
struct WideBackward {
    using Result = T;
    const BatchNormBackward& a;
    const double* out_of_range;  // of each unit: 0, or not
    double* sums;                // (2, units)
    bool is_wide(ptrdiff_t unit) const { return out_of_range[unit] != 0; }
    void write(ptrdiff_t unit, T* dx, const UnitLayout& to) const {
        using W = Work<T>;
        const ptrdiff_t units = trimtab::units(a.layout);
        const WideGradient gradient{.dy = static_cast<const T*>(a.dy),
                                    .x = static_cast<const T*>(a.x),
                                    .y = static_cast<const T*>(a.y),
                                    .gamma = static_cast<const W*>(a.gamma) + unit % a.layout.channels,
                                    .mean = a.mean[unit],
                                    .rstd = a.rstd[unit],
                                    .layout = unit_layout(a.layout, unit),
                                    .training = a.training};
        sums[unit] = sums[units + unit] = 0;
        if (a.dresidual) gradient.write_masked_dy(static_cast<T*>(a.dresidual));
        gradient.write(gradient.sum(sums + units + unit, sums + unit), dx, to);
    }
};

template <class T>
void batch_norm_backward(const BatchNormBackward& a) {
    using W = Work<T>;
    const ChannelLayout& l = a.layout;
    const auto x = static_cast<const T*>(a.x), dy = static_cast<const T*>(a.dy), y = static_cast<const T*>(a.y);
    const auto dx = static_cast<T*>(a.dx), dresidual = static_cast<T*>(a.dresidual);
    const auto gamma = static_cast<const W*>(a.gamma);
    const double count = double(l.outer * l.inner);
    const ptrdiff_t units = trimtab::units(l);
    const bool exceeds = exceeds_caches<T>(x, dx, array_size(l));
    const Scratch<double> sums(2 * units), out_of_range(units);
    const auto finish = [&](auto at, ptrdiff_t unit, ptrdiff_t c, Doubles g, Doubles gx,
                            const Constants<W>& constants) {
        const Doubles rstd = at.load(a.rstd + unit), g_scale = rstd * at.load(gamma + c);
        const auto in_range = unit_gradient_in_range<W>(at.load(a.mean + unit), rstd, g_scale, g, gx);
        at.store(out_of_range + unit, in_range ? Doubles{} : broadcast(1.0));
        const Doubles mean_g_scale = g_scale * (a.training ? -1 / count : 0);
        store_backward<W>(at, at.load(a.mean + unit), rstd, g_scale, mean_g_scale * gx, mean_g_scale * g, constants);
        at.store(sums + unit, g);
        at.store(sums + units + unit, gx);
    };
    const WideBackward<T> wide{a, out_of_range, sums};
    specialize<2>([&](auto relu) {
        const UnitGradientSums<T, relu.value> statistic{{dy, y}, x, a.mean, a.rstd};
        const BackwardBody<T, relu.value> body{{dy, y}, x, dx, dresidual, a.training};
        sum_then_apply<W, backward_constants>(l, statistic, 0.5 * double(size(l)), finish,
                                              RunBody<W, backward_constants>(body, exceeds), wide, dx);
    }, a.y != nullptr);
    for_each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
        at.store(a.dbeta + c, at.load(a.dbeta + c) + at.load(sums + unit));
        at.store(a.dgamma + c, at.load(a.dgamma + c) + at.load(sums + units + unit));
    });
}

template <class T>
void batch_norm_backward_sums(const BatchNormBackwardSums& a) {
    const UnitGradientSums<T, false> statistic{
        {static_cast<const T*>(a.dy), nullptr}, static_cast<const T*>(a.x), a.mean, a.rstd};
    sum_units(statistic, a.layout, 0.25 * double(size(a.layout)), a.sum_dy, a.sum_dy_xhat);
    const Work<T> one = 1;
    for (ptrdiff_t unit = 0; unit < units(a.layout); ++unit) {
        double &g = a.sum_dy[unit], &gx = a.sum_dy_xhat[unit];
        if ((g == 0 && gx == 0) || gradient_in_range<Work<T>>(a.mean[unit], a.rstd[unit], g, gx)) continue;
        g = gx = 0;
        WideGradient{.dy = static_cast<const T*>(a.dy),
                     .x = static_cast<const T*>(a.x),
                     .y = nullptr,
                     .gamma = &one,
                     .mean = a.mean[unit],
                     .rstd = a.rstd[unit],
                     .layout = unit_layout(a.layout, unit)}
            .sum(&gx, &g);
    }
}

template <class T>
struct WideBackwardApply {
    using Result = T;
    const BatchNormBackwardApply& a;
    const double* out_of_range;
    bool is_wide(ptrdiff_t unit) const { return out_of_range[unit] != 0; }
    void write(ptrdiff_t unit, T* dx, const UnitLayout& to) const {
        const WideGradient gradient{.dy = static_cast<const T*>(a.dy),
                                    .x = static_cast<const T*>(a.x),
                                    .y = nullptr,
                                    .gamma = a.gamma + unit,
                                    .mean = a.mean[unit],
                                    .rstd = a.rstd[unit],
                                    .layout = unit_layout(a.layout, unit)};
        const auto scales = gradient.scales();
        const double dy_scale = power_of_two(-scales.dy_exponent), gamma_scale = power_of_two(-scales.gamma_exponent);
        gradient.write(scales, a.mean_h[unit] * dy_scale * gamma_scale, a.mean_hx[unit] * dy_scale * gamma_scale, dx,
                       to);
    }
};

template <class T>
void batch_norm_backward_apply(const BatchNormBackwardApply& a) {
    using W = Work<T>;
    const ChannelLayout& l = a.layout;
    const ptrdiff_t units = trimtab::units(l);
    const Scratch<W> table(backward_constants * padded_stride<W>(units));
    const Scratch<double> out_of_range(units);
    const Constants<W> constants{table, padded_stride<W>(units)};
    for_each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t) {
        const Doubles mean = at.load(a.mean + unit), rstd = at.load(a.rstd + unit);
        const Doubles g_scale = at.load(a.gamma + unit) * rstd, h = at.load(a.mean_h + unit);
        const Doubles hx = at.load(a.mean_hx + unit);
        store_backward<W>(at, mean, rstd, g_scale, -rstd * hx, -rstd * h, constants.from(unit));
        const auto in_range = unit_gradient_in_range<W>(mean, rstd, g_scale, h, hx);
        at.store(out_of_range + unit, in_range ? Doubles{} : broadcast(1.0));
    });
    const WideUnits<WideBackwardApply<T>> wide(l, {a, out_of_range});
    const BackwardBody<T, false> body{
        {static_cast<const T*>(a.dy), nullptr}, static_cast<const T*>(a.x), static_cast<T*>(a.dx), nullptr, true};
    const bool exceeds = exceeds_caches<T>(a.x, a.dx, array_size(l));
    apply_to_units<backward_constants>(l, constants, 0.25 * double(size(l)),
                                       RunBody<W, backward_constants>(body, exceeds, prefetch_distance(l)));
    wide.copy_to(static_cast<T*>(a.dx));
}
}  // namespace

TRIMTAB_EXPORT(BatchNormKernels, batch_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(batch_norm_forward),
    .apply = TRIMTAB_EACH_DTYPE(batch_norm_apply),
    .backward = TRIMTAB_EACH_DTYPE(batch_norm_backward),
    .moments = TRIMTAB_EACH_DTYPE(batch_moments),
    .backward_sums = TRIMTAB_EACH_DTYPE(batch_norm_backward_sums),
    .backward_apply = TRIMTAB_EACH_DTYPE(batch_norm_backward_apply),
};
}  // namespace trimtab
