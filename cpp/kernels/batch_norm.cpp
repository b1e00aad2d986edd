// Batch normalisation of x (blocks, outer, channels, inner): statistics of each block and channel, or given ones.
#include "channel_moments.h"
#include "specialize.h"

namespace trimtab {
namespace {

// ---- forward ----

// y = (x - mean) * scale + beta with scale = rstd * gamma, in double: as quick as float arithmetic of the same accuracy,
// which must recover what each operation loses.
enum ForwardConstant { forward_mean, forward_scale, forward_beta, forward_constants };

template <class W, class At>
TRIMTAB_INLINE void set_forward(At at, Doubles mean, Doubles rstd, const W* gamma, const W* beta,
                                const Constants<double>& constants) {
    at.store(constants.of(forward_mean), mean);
    at.store(constants.of(forward_scale), rstd * at.load(gamma));
    at.store(constants.of(forward_beta), at.load(beta));
}

// Rare choices are made for each register: predicted well, they cost less than a loop for each combination.
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
    const bool past = exceeds_caches<T>(x, y, size_with_rest(a.layout));
    specialize<2>([&](auto with_relu) {
        const ForwardBody<T, with_relu.value> body{x, residual, y};
        f(RunBody<double, forward_constants>(body, past));
    }, a.relu);
}

// Units of double: those of other types hold in double, but for an infinite rstd.
template <class T>
TRIMTAB_INLINE bool applies(double mean, double scale) {
    const double size = scale < 0 ? -scale : scale;
    if constexpr (!is_same<T, double>) return size < __builtin_inf();
    return (size == 0 || (size > 1e-280 && size < 1e280)) && mean > -1e280 && mean < 1e280;
}
template <class T>
struct WideApply {
    using Result = T;
    const BatchNormApply& a;
    const Constants<double>& constants;
    bool needed(ptrdiff_t unit) const {
        return !applies<T>(constants.of(forward_mean)[unit], constants.of(forward_scale)[unit]);
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
    const ptrdiff_t units = a.layout.blocks * a.layout.channels;
    const Scratch<double> table(forward_constants * apart<double>(units));
    const Constants<double> constants{table, apart<double>(units)};
    each_unit(a.layout, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
        set_forward(at, at.load(a.mean + unit), at.load(a.rstd + unit), gamma + c, beta + c, constants.from(unit));
    });
    const WideUnits<WideApply<T>> wide(a.layout, {a, constants});
    with_forward_body<T>(a, [&](const auto& body) {
        each_run<forward_constants>(a.layout, constants, 0.15 * double(size(a.layout)),
                                    body.fetching(prefetch_distance(a.layout)));
    });
    wide.put_in_place(static_cast<T*>(a.y));
}

TRIMTAB_INLINE Doubles clip(Doubles v, double low, double high) {
    const Doubles above = v < low ? broadcast(low) : v;  // NaN stays
    return above > high ? broadcast(high) : above;
}
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

// Where variances of doubles are out of range. Those of other types are not, and double holds their results.
template <class T>
struct WideForward {
    using Result = T;
    const BatchNormForward& a;
    bool needed(ptrdiff_t unit) const { return is_same<T, double> && !sums_in_range<double>(a.var[unit] + a.eps); }
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
        set_forward(at, mean, rstd, gamma + c, beta + c, constants);
        if (a.renorm) renorm(at, *a.renorm, unit, c, mean, sqrt(var + a.eps), gamma + c, constants);
    };
    with_forward_body<T>(a, [&](const auto& body) {
        sum_then_visit<double, forward_constants>(a.layout, statistic, 0.3 * double(size(a.layout)), finish, body,
                                                  WideForward<T>{a}, static_cast<T*>(a.y));
    });
}

template <class T>
void batch_moments(const BatchMoments& a) {
    const ChannelLayout& l = a.layout;
    const double count = double(l.outer * l.inner);
    const auto x = static_cast<const T*>(a.x);
    unit_sums(UnitMoments<Work<T>, T>{x, a.eps}, l, 0.15 * double(size(l)), a.mean, a.var);
    each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t) { at.store(a.var + unit, at.load(a.var + unit) / count); });
    if constexpr (is_same<T, double>)
        for (ptrdiff_t unit = 0; unit < l.blocks * l.channels; ++unit) {
            if (sums_in_range<double>(a.var[unit] + a.eps)) continue;
            const WideStatistics s = measure_wide<true>(x, unit_layout(l, unit), a.eps);
            a.mean[unit] = s.mean();
            a.var[unit] = s.var();
        }
}

// ---- backward: first is the sum of g over a unit, second that of g * x̂ ----

// The gradient that reaches the normalisation: dy, zero where a ReLU cut it off.
template <class T, bool relu>
struct Incoming {
    const T *dy, *y;
    template <class At>
    TRIMTAB_INLINE auto operator()(ptrdiff_t i, At at) const {
        const auto g = at.input(dy + i);
        if constexpr (relu) return at.input(y + i) > 0 ? g : decltype(g){};
        return g;
    }
};

// x̂ = (x - high) * scale + rest
enum StandardConstant { standard_high, standard_scale, standard_rest, standard_constants };

template <class W, class At>
TRIMTAB_INLINE void set_standard(At at, Doubles mean, Doubles rstd, const Constants<W>& constants) {
    at.store(constants.of(standard_high), mean);
    at.store(constants.of(standard_scale), rstd);
    at.store(constants.of(standard_rest), (at.load(constants.of(standard_high)) - mean) * rstd);
}

template <class T, bool relu>
struct UnitGradientSums {
    using W = Work<T>;
    Incoming<T, relu> incoming;
    const T* x;
    const double *mean, *rstd;
    bool good(const Sums&) const { return true; }
    const UnitGradientSums& wide() const { return *this; }
    template <class V>
    TRIMTAB_INLINE static void combine(V& g, V& gx, double, V g_b, V gx_b, double) {
        g += g_b;
        gx += gx_b;
    }
    TRIMTAB_LOOP Sums in_runs(const Planes& planes, ptrdiff_t unit, ptrdiff_t begin, ptrdiff_t end) const {
        W standard[standard_constants];
        set_standard<W>(FirstLanes<double>{1}, broadcast(mean[unit]), broadcast(rstd[unit]), {standard, 1});
        Vector<W> k[standard_constants];
        for (int j = 0; j < standard_constants; ++j) k[j] = broadcast(standard[j]);
        Sums total = {};
        planes.runs().visit(begin, end, [&](ptrdiff_t offset, ptrdiff_t n) {
            const ptrdiff_t start = planes.start(unit) + offset;
            double sums[2];
            reduce<W>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
                const Vector<W> g = incoming(start + i, at);
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
        const Scratch<W> of_channels(standard_constants * apart<W>(channels));
        const Scratch<W> spread(standard_constants * apart<W>(columns));
        const Scratch<double> of_columns(2 * columns);
        const Constants<W> constants{of_channels, apart<W>(channels)};
        sweep<double>(channels, [&](ptrdiff_t k, auto at) {
            set_standard<W>(at, at.load(mean + tile.unit() + k), at.load(rstd + tile.unit() + k), constants.from(k));
        });
        const W* standard[standard_constants];
        for (int j = 0; j < standard_constants; ++j) {
            standard[j] = tile.c.plain() ? constants.of(j) : spread + j * apart<W>(columns);
            if (!tile.c.plain()) tile.expand<W>(constants.of(j), spread + j * apart<W>(columns));
        }
        const bool past = exceeds_caches<T>(2, size_with_rest(tile.c.l));
        sum_rows<W, 2, 2>(tile, begin, end, past, of_columns, {g, gx},
                          [incoming = incoming, x = x, high = standard[standard_high], scale = standard[standard_scale],
                           rest = standard[standard_rest]](ptrdiff_t j, auto at, auto& acc, ptrdiff_t i) {
            const Vector<W> v = incoming(j, at);
            const Vector<W> normal = fma(at.input(x + j) - at.load(high + i), at.load(scale + i), at.load(rest + i));
            acc[0] += v;
            acc[1] = fma(v, normal, acc[1]);
        });
    }
};

// Gradients of zero hold, and so do those that gamma is too small to let through.
template <class W>
TRIMTAB_INLINE Longs unit_gradient_holds(Doubles mean, Doubles rstd, Doubles through, Doubles g, Doubles gx) {
    constexpr double limit = is_same<W, float> ? 1e30 : 1e280;
    const Doubles size = through < 0 ? -through : through;
    const Longs passes = ((size > 1 / limit) & (size < limit)) | (through == 0);
    const Longs nothing = (g == 0) & (gx == 0) & (rstd < limit);
    return (gradient_in_range<W>(mean, rstd, g, gx) | nothing) & passes;
}

// dx = through * g + slope * ((x - high) * scale) + offset
enum BackwardConstant {
    backward_high,
    backward_scale,
    backward_through,
    backward_slope,
    backward_offset,
    backward_constants
};

// From dx = through * g + slope * x̂ + offset.
template <class W, class At>
TRIMTAB_INLINE void set_backward(At at, Doubles mean, Doubles rstd, Doubles through, Doubles slope, Doubles offset,
                                 const Constants<W>& constants) {
    at.store(constants.of(backward_high), mean);
    at.store(constants.of(backward_scale), rstd);
    at.store(constants.of(backward_through), through);
    at.store(constants.of(backward_slope), slope);
    at.store(constants.of(backward_offset), offset + slope * ((at.load(constants.of(backward_high)) - mean) * rstd));
}

template <class T, bool relu>
struct BackwardBody {
    using Result = T;
    using W = Work<T>;
    Incoming<T, relu> incoming;
    const T* x;
    T *y, *dresidual;
    bool training;
    // Do cache lines of both begin together?
    bool beside = (reinterpret_cast<uintptr_t>(dresidual) - reinterpret_cast<uintptr_t>(y)) % 64 == 0;
    template <class At>
    TRIMTAB_INLINE void operator()(const Vector<W>* k, ptrdiff_t j, T* to, At at) const {
        const Vector<W> g = incoming(j, at);
        if (dresidual) beside ? at.output(dresidual + j, g) : at.store(dresidual + j, g);
        if (training)
            at.output(to, fma(k[backward_slope], (at.input(x + j) - k[backward_high]) * k[backward_scale],
                              fma(k[backward_through], g, k[backward_offset])));
        else
            at.output(to, k[backward_through] * g);
    }
};

// Gradients of units that W does not hold.
template <class T>
struct WideBackward {
    using Result = T;
    const BatchNormBackward& a;
    const double* out_of_range;  // of each unit: 0, or not
    double* sums;                // (2, units)
    bool needed(ptrdiff_t unit) const { return out_of_range[unit] != 0; }
    void write(ptrdiff_t unit, T* dx, const UnitLayout& to) const {
        using W = Work<T>;
        const ptrdiff_t units = a.layout.blocks * a.layout.channels;
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
    const ptrdiff_t units = l.blocks * l.channels;
    const bool past = exceeds_caches<T>(x, dx, size_with_rest(l));
    const Scratch<double> sums(2 * units), out_of_range(units);
    const auto finish = [&](auto at, ptrdiff_t unit, ptrdiff_t c, Doubles g, Doubles gx,
                            const Constants<W>& constants) {
        const Doubles rstd = at.load(a.rstd + unit), through = rstd * at.load(gamma + c);
        const auto holds = unit_gradient_holds<W>(at.load(a.mean + unit), rstd, through, g, gx);
        at.store(out_of_range + unit, holds ? Doubles{} : broadcast(1.0));
        const Doubles mean_through = through * (a.training ? -1 / count : 0);
        set_backward<W>(at, at.load(a.mean + unit), rstd, through, mean_through * gx, mean_through * g, constants);
        at.store(sums + unit, g);
        at.store(sums + units + unit, gx);
    };
    const WideBackward<T> wide{a, out_of_range, sums};
    specialize<2>([&](auto relu) {
        const UnitGradientSums<T, relu.value> statistic{{dy, y}, x, a.mean, a.rstd};
        const BackwardBody<T, relu.value> body{{dy, y}, x, dx, dresidual, a.training};
        sum_then_visit<W, backward_constants>(l, statistic, 0.5 * double(size(l)), finish,
                                              RunBody<W, backward_constants>(body, past), wide, dx);
    }, a.y != nullptr);
    each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
        at.store(a.dbeta + c, at.load(a.dbeta + c) + at.load(sums + unit));
        at.store(a.dgamma + c, at.load(a.dgamma + c) + at.load(sums + units + unit));
    });
}

template <class T>
void batch_norm_backward_sums(const BatchNormBackwardSums& a) {
    const UnitGradientSums<T, false> statistic{
        {static_cast<const T*>(a.dy), nullptr}, static_cast<const T*>(a.x), a.mean, a.rstd};
    unit_sums(statistic, a.layout, 0.25 * double(size(a.layout)), a.sum_dy, a.sum_dy_xhat);
    const Work<T> one = 1;
    for (ptrdiff_t unit = 0; unit < a.layout.blocks * a.layout.channels; ++unit) {
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
    bool needed(ptrdiff_t unit) const { return out_of_range[unit] != 0; }
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
    const ptrdiff_t units = l.blocks * l.channels;
    const Scratch<W> table(backward_constants * apart<W>(units));
    const Scratch<double> out_of_range(units);
    const Constants<W> constants{table, apart<W>(units)};
    each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t) {
        const Doubles mean = at.load(a.mean + unit), rstd = at.load(a.rstd + unit);
        const Doubles through = at.load(a.gamma + unit) * rstd, h = at.load(a.mean_h + unit);
        const Doubles hx = at.load(a.mean_hx + unit);
        set_backward<W>(at, mean, rstd, through, -rstd * hx, -rstd * h, constants.from(unit));
        const auto holds = unit_gradient_holds<W>(mean, rstd, through, h, hx);
        at.store(out_of_range + unit, holds ? Doubles{} : broadcast(1.0));
    });
    const WideUnits<WideBackwardApply<T>> wide(l, {a, out_of_range});
    const BackwardBody<T, false> body{
        {static_cast<const T*>(a.dy), nullptr}, static_cast<const T*>(a.x), static_cast<T*>(a.dx), nullptr, true};
    const bool past = exceeds_caches<T>(a.x, a.dx, size_with_rest(l));
    each_run<backward_constants>(l, constants, 0.25 * double(size(l)),
                                 RunBody<W, backward_constants>(body, past, prefetch_distance(l)));
    wide.put_in_place(static_cast<T*>(a.dx));
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
