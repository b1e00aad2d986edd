// Backward kernels of batch norm (batch_norm.cpp): the gradients, and their two parts, between which sums can be shared
// with other processes.
#pragma once
#include "channel_apply.h"

namespace trimtab {
namespace {

// dx = g_scale * g + slope * ((x - high) * scale) + offset, where high is the mean rounded to W
enum BackwardConstant {
    backward_high,
    backward_scale,
    backward_g_scale,
    backward_slope,
    backward_offset,
    backward_constants
};

template <class T>
struct UnitGradientSums;
template <class T>
struct BackwardBody;
template <class T>
struct WideBackward;
template <class T>
struct WideBackwardApply;

// Does W hold dx of a unit? It holds dx = 0, whether dy or gamma is 0.
template <class W>
TRIMTAB_INLINE Longs unit_gradient_in_range(Doubles mean, Doubles rstd, Doubles g_scale, Doubles g, Doubles gx) {
    constexpr double limit = is_same<W, float> ? 1e30 : 1e280;
    const Doubles size = g_scale < 0 ? -g_scale : g_scale;
    const Longs scales = ((size > 1 / limit) & (size < limit)) | (g_scale == 0);
    const Longs zero = (g == 0) & (gx == 0) & (rstd < limit);
    return (gradient_in_range<W>(mean, rstd, g, gx) | zero) & scales;
}

// ---- gradients ----

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
        store_backward_constants<W>(at, at.load(a.mean + unit), rstd, g_scale, mean_g_scale * gx, mean_g_scale * g,
                                    constants);
        at.store(sums + unit, g);
        at.store(sums + units + unit, gx);
    };
    const WideBackward<T> wide{a, out_of_range, sums};
    const UnitGradientSums<T> statistic{{dy, y}, x, a.mean, a.rstd};
    const BackwardBody<T> body{{dy, y}, x, dx, dresidual, a.training};
    sum_then_apply<W, backward_constants>(l, statistic, 0.5 * double(size(l)), finish,
                                          RunBody<W, backward_constants>(body, exceeds), wide, dx);
    for_each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
        at.store(a.dbeta + c, at.load(a.dbeta + c) + at.load(sums + unit));
        at.store(a.dgamma + c, at.load(a.dgamma + c) + at.load(sums + units + unit));
    });
}

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

// ---- in two parts: sums of dy and of dy * x̂, then dx from means of h and of h * x̂ ----

template <class T>
void batch_norm_backward_sums(const BatchNormBackwardSums& a) {
    const UnitGradientSums<T> statistic{
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
        store_backward_constants<W>(at, mean, rstd, g_scale, -rstd * hx, -rstd * h, constants.from(unit));
        const auto in_range = unit_gradient_in_range<W>(mean, rstd, g_scale, h, hx);
        at.store(out_of_range + unit, in_range ? Doubles{} : broadcast(1.0));
    });
    const WideUnits<WideBackwardApply<T>> wide(l, {a, out_of_range});
    const BackwardBody<T> body{
        {static_cast<const T*>(a.dy), nullptr}, static_cast<const T*>(a.x), static_cast<T*>(a.dx), nullptr, true};
    const bool exceeds = exceeds_caches<T>(a.x, a.dx, array_size(l));
    apply_to_units<backward_constants>(l, constants, 0.25 * double(size(l)),
                                       RunBody<W, backward_constants>(body, exceeds, prefetch_distance(l)));
    wide.copy_to(static_cast<T*>(a.dx));
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

// ---- shared by all ----

// From dx = g_scale * g + slope * x̂ + offset.
template <class W, class At>
TRIMTAB_INLINE void store_backward_constants(At at, Doubles mean, Doubles rstd, Doubles g_scale, Doubles slope,
                                             Doubles offset, const Constants<W>& constants) {
    at.store(constants.of(backward_high), mean);
    at.store(constants.of(backward_scale), rstd);
    at.store(constants.of(backward_g_scale), g_scale);
    at.store(constants.of(backward_slope), slope);
    at.store(constants.of(backward_offset), offset + slope * ((at.load(constants.of(backward_high)) - mean) * rstd));
}

// g: dy, or 0 where the ReLU returned 0. y: null if there was none.
template <class T>
struct MaskedDy {
    const T *dy, *y;
    template <class At>
    TRIMTAB_INLINE auto operator()(ptrdiff_t i, At at) const {
        auto g = at.input(dy + i);
        if (y) g = at.input(y + i) > 0 ? g : decltype(g){};
        return g;
    }
};

template <class T>
struct BackwardBody {
    using Result = T;
    using W = Work<T>;
    MaskedDy<T> masked_dy;
    const T* x;
    T *y, *dresidual;  // y: dx
    bool training;
    // Are dx and dresidual aligned alike, so that streaming stores fit both?
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

// x̂ = (x - high) * scale + rest, where high is the mean rounded to W
enum StandardConstant { standard_high, standard_scale, standard_rest, standard_constants };

template <class W, class At>
TRIMTAB_INLINE void store_standard_constants(At at, Doubles mean, Doubles rstd, const Constants<W>& constants) {
    at.store(constants.of(standard_high), mean);
    at.store(constants.of(standard_scale), rstd);
    at.store(constants.of(standard_rest), (at.load(constants.of(standard_high)) - mean) * rstd);
}

// A statistic of channel_sums.h: sum(g) and sum(g * x̂).
template <class T>
struct UnitGradientSums {
    using W = Work<T>;
    MaskedDy<T> masked_dy;
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
        store_standard_constants<W>(FirstLanes<double>{1}, broadcast(mean[unit]), broadcast(rstd[unit]), {standard, 1});
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
            store_standard_constants<W>(at, at.load(mean + tile.unit() + k), at.load(rstd + tile.unit() + k),
                                        constants.from(k));
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
}  // namespace
}  // namespace trimtab
