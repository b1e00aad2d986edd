// Batch normalisation of x (blocks, outer, channels, inner): statistics of each block and channel, or given ones.
#include "channels.h"
#include "lift.h"

namespace trimtab {
namespace {

// ---- statistics: first is the mean of a unit, second its m2 ----

template <class W, class T>
struct UnitMoments {
    const T* x;
    double eps;
    bool good(const Sums& m) const { return trusted<W>(m.second / m.count, eps); }
    UnitMoments<double, T> wide() const { return {x, eps}; }
    template <class V>
    TRIMTAB_INLINE static void combine(V& mean, V& m2, double count, V mean_b, V m2_b, double count_b) {
        const auto both = trimtab::combine<V>({mean, m2}, count, {mean_b, m2_b}, count_b);
        mean = both.mean;
        m2 = both.m2;
    }
    Sums in_runs(const Planes& planes, ptrdiff_t unit, ptrdiff_t begin, ptrdiff_t end) const {
        const Moments m = moments_in<W>(x + planes.start(unit), planes.runs(), begin, end);
        return {m.count, m.mean, m.m2};
    }
    TRIMTAB_LOOP void in_columns(const Tile& tile, ptrdiff_t begin, ptrdiff_t end, double* mean, double* m2) const {
        const ptrdiff_t columns = tile.columns(), channels = tile.channels;
        const Scratch<W> centre(channels), spread(columns);
        const Scratch<double> of_columns(2 * columns), sum(channels), square(channels);
        const W* const shift = tile.c.plain() ? centre : spread;
        const bool past = past_caches<T>(1, size_with_rest(tile.c.l));
        const auto sum_about_centre = [&](ptrdiff_t row, ptrdiff_t stop) TRIMTAB_LOOP {
            if (!tile.c.plain()) tile.expand<W>(centre, spread);
            sum_rows<W, 2, 1>(tile, row, stop, past, of_columns, {sum, square},
                              [x = x, shift](ptrdiff_t j, auto at, auto& acc, ptrdiff_t i) {
                const Vector<W> d = at.load(x + j) - at.load(shift + i);
                acc[0] += d;
                acc[1] = fma(d, d, acc[1]);
            });
        };
        // A sample for a shift to begin with.
        const ptrdiff_t sampled = least(begin + sample_size, end);
        sum_rows<W, 1, 1>(tile, begin, sampled, false, of_columns, {sum},
                          [x = x](ptrdiff_t j, auto at, auto& acc, ptrdiff_t) { acc[0] += at.load(x + j); });
        const double sample_count = tile.c.count(begin, sampled);
        sweep<double>(channels, [&](ptrdiff_t k, auto at) { at.store(centre + k, at.load(sum + k) / sample_count); });

        for (ptrdiff_t row = begin; row < end; row += rows_per_block) {
            const ptrdiff_t stop = least(row + rows_per_block, end);
            const double count_before = tile.c.count(begin, row), count = tile.c.count(row, stop);
            sum_about_centre(row, stop);
            if (row == begin) {
                Longs off = {};
                sweep<double>(channels, [&](ptrdiff_t k, auto at) {
                    off |= off_centre(count, at.load(sum + k), at.load(square + k));
                });
                if (any(off)) {
                    for (ptrdiff_t k = 0; k < channels; ++k)
                        if (off_centre(count, sum[k], square[k])) centre[k] = W(double(centre[k]) + sum[k] / count);
                    sum_about_centre(row, stop);
                }
            }
            sweep<double>(channels, [&](ptrdiff_t k, auto at) {
                auto m = about<Doubles>(at.load(centre + k), count, at.load(sum + k), at.load(square + k));
                if (row > begin)
                    m = trimtab::combine<Doubles>({at.load(mean + k), at.load(m2 + k)}, count_before, m, count);
                at.store(mean + k, m.mean);
                at.store(m2 + k, m.m2);
                at.store(centre + k, m.mean);
            });
        }
    }
};

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
    const bool past = past_caches<T>(x, y, size_with_rest(a.layout));
    lift<2>([&](auto with_relu) {
        const ForwardBody<T, with_relu.value> body{x, residual, y};
        f(RunBody<double, forward_constants>(body, past));
    }, a.relu);
}

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
    with_forward_body<T>(a, [&](const auto& body) {
        each_run<forward_constants>(a.layout, constants, 0.15 * double(size(a.layout)),
                                    body.fetching(fetched_ahead(a.layout)));
    });
}

TRIMTAB_INLINE Doubles clip(Doubles v, double low, double high) {
    const Doubles above = v < low ? broadcast(low) : v;  // NaN stays
    return above > high ? broadcast(high) : above;
}
template <class W, class At>
TRIMTAB_INLINE void renormalise(At at, const Renormalise& to, ptrdiff_t unit, ptrdiff_t c, Doubles mean, Doubles std,
                                const W* gamma, const Constants<double>& constants) {
    const Doubles r = clip(std / at.load(to.std + c), 1 / to.r_max, to.r_max);
    const Doubles d = clip((mean - at.load(to.mean + c)) / at.load(to.std + c), -to.d_max, to.d_max);
    at.store(to.r + unit, r);
    at.store(to.d + unit, d);
    at.store(constants.of(forward_scale), at.load(constants.of(forward_scale)) * r);
    at.store(constants.of(forward_beta), fma(d, at.load(gamma), at.load(constants.of(forward_beta))));
}

template <class T>
void batch_norm_forward(const BatchNormForward& a) {
    using W = Work<T>;
    const auto gamma = static_cast<const W*>(a.gamma), beta = static_cast<const W*>(a.beta);
    const double count = double(a.layout.outer * a.layout.inner);
    const UnitMoments<W, T> statistic{static_cast<const T*>(a.x), a.eps};
    const auto finish = [&](auto at, ptrdiff_t unit, ptrdiff_t c, Doubles mean, Doubles m2,
                            const Constants<double>& constants) {
        const Doubles var = m2 / count, rstd = reciprocal_root(var + a.eps);
        at.store(a.mean + unit, mean);
        at.store(a.var + unit, var);
        at.store(a.rstd + unit, rstd);
        set_forward(at, mean, rstd, gamma + c, beta + c, constants);
        if (a.renormalise) renormalise(at, *a.renormalise, unit, c, mean, sqrt(var + a.eps), gamma + c, constants);
    };
    with_forward_body<T>(a, [&](const auto& body) {
        sum_then_visit<double, forward_constants>(a.layout, statistic, 0.3 * double(size(a.layout)), finish, body);
    });
}

template <class T>
void batch_moments(const BatchMoments& a) {
    const ChannelLayout& l = a.layout;
    const double count = double(l.outer * l.inner);
    unit_sums(UnitMoments<Work<T>, T>{static_cast<const T*>(a.x), 0}, l, 0.15 * double(size(l)), a.mean, a.var);
    each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t) { at.store(a.var + unit, at.load(a.var + unit) / count); });
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
        set_standard<W>(First<double>{1}, broadcast(mean[unit]), broadcast(rstd[unit]), {standard, 1});
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
        const bool past = past_caches<T>(2, size_with_rest(tile.c.l));
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

template <class T>
void batch_norm_backward(const BatchNormBackward& a) {
    using W = Work<T>;
    const ChannelLayout& l = a.layout;
    const auto x = static_cast<const T*>(a.x), dy = static_cast<const T*>(a.dy), y = static_cast<const T*>(a.y);
    const auto dx = static_cast<T*>(a.dx), dresidual = static_cast<T*>(a.dresidual);
    const auto gamma = static_cast<const W*>(a.gamma);
    const double count = double(l.outer * l.inner);
    const ptrdiff_t units = l.blocks * l.channels;
    const bool past = past_caches<T>(x, dx, size_with_rest(l));
    const Scratch<double> sums(2 * units);
    const auto finish = [&](auto at, ptrdiff_t unit, ptrdiff_t c, Doubles g, Doubles gx,
                            const Constants<W>& constants) {
        const Doubles rstd = at.load(a.rstd + unit), through = rstd * at.load(gamma + c);
        const Doubles mean_through = through * (a.training ? -1 / count : 0);
        set_backward<W>(at, at.load(a.mean + unit), rstd, through, mean_through * gx, mean_through * g, constants);
        at.store(sums + unit, g);
        at.store(sums + units + unit, gx);
    };
    lift<2>([&](auto relu) {
        const UnitGradientSums<T, relu.value> statistic{{dy, y}, x, a.mean, a.rstd};
        const BackwardBody<T, relu.value> body{{dy, y}, x, dx, dresidual, a.training};
        sum_then_visit<W, backward_constants>(l, statistic, 0.5 * double(size(l)), finish,
                                              RunBody<W, backward_constants>(body, past));
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
}

template <class T>
void batch_norm_backward_apply(const BatchNormBackwardApply& a) {
    using W = Work<T>;
    const ChannelLayout& l = a.layout;
    const ptrdiff_t units = l.blocks * l.channels;
    const Scratch<W> table(backward_constants * apart<W>(units));
    const Constants<W> constants{table, apart<W>(units)};
    each_unit(l, [&](auto at, ptrdiff_t unit, ptrdiff_t) {
        const Doubles minus_rstd = -at.load(a.rstd + unit);
        set_backward<W>(at, at.load(a.mean + unit), -minus_rstd, at.load(a.scale + unit),
                        minus_rstd * at.load(a.mean_hx + unit), minus_rstd * at.load(a.mean_h + unit),
                        constants.from(unit));
    });
    const BackwardBody<T, false> body{
        {static_cast<const T*>(a.dy), nullptr}, static_cast<const T*>(a.x), static_cast<T*>(a.dx), nullptr, true};
    const bool past = past_caches<T>(a.x, a.dx, size_with_rest(l));
    each_run<backward_constants>(l, constants, 0.25 * double(size(l)),
                                 RunBody<W, backward_constants>(body, past, fetched_ahead(l)));
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
