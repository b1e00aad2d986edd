// Forward kernels of batch norm (batch_norm.cpp): with statistics of the units, with given ones, and the statistics
// alone.
#pragma once
#include "channel_apply.h"
#include "channel_moments.h"

namespace trimtab {
namespace {

// y = (x - mean) * scale + beta with scale = rstd * gamma, in double: float arithmetic of the same accuracy must
// recover the rounding errors, and takes as long.
enum ForwardConstant { forward_mean, forward_scale, forward_beta, forward_constants };

template <class T>
struct WideForward;
template <class T>
struct WideApply;
template <class T>
struct ForwardBody;

// ---- with statistics of the units ----

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
        store_forward_constants(at, mean, rstd, gamma + c, beta + c, constants);
        if (a.renorm) renorm(at, *a.renorm, unit, c, mean, sqrt(var + a.eps), gamma + c, constants);
    };
    const ForwardBody<T> body(a);
    sum_then_apply<double, forward_constants>(a.layout, statistic, 0.3 * double(size(a.layout)), finish,
                                              run_body(body, a.layout), WideForward<T>{a}, body.y);
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

// ---- with given statistics ----

// 1 / sqrt(var + eps), also where the sum exceeds the largest double; infinite where it is 0.
void given_rstd(const double* var, double eps, double* rstd, ptrdiff_t n) {
    sweep<double>(n, [=](ptrdiff_t i, auto at) {
        const Doubles given = at.load(var + i);
        const Doubles root = given + eps < __builtin_inf() ? broadcast(1.0) : broadcast(0.5), factor = root * root;
        at.store(rstd + i, root / sqrt(given * factor + eps * factor));
    });
}

template <class T>
void batch_norm_apply(const BatchNormApply& a) {
    using W = Work<T>;
    const auto gamma = static_cast<const W*>(a.gamma), beta = static_cast<const W*>(a.beta);
    const ptrdiff_t units = trimtab::units(a.layout);
    const Scratch<double> table(forward_constants * padded_stride<double>(units));
    const Constants<double> constants{table, padded_stride<double>(units)};
    for_each_unit(a.layout, [&](auto at, ptrdiff_t unit, ptrdiff_t c) {
        store_forward_constants(at, at.load(a.mean + unit), at.load(a.rstd + unit), gamma + c, beta + c,
                                constants.from(unit));
    });
    const WideUnits<WideApply<T>> wide(a.layout, {a, constants});
    const ForwardBody<T> body(a);
    apply_to_units<forward_constants>(a.layout, constants, 0.15 * double(size(a.layout)),
                                      run_body(body, a.layout).with_prefetch(prefetch_distance(a.layout)));
    wide.copy_to(body.y);
}

// Units whose results double does not hold.
template <class T>
struct WideApply {
    using Result = T;
    const BatchNormApply& a;
    const Constants<double>& constants;
    // Double holds the results of narrower types, unless rstd is infinite.
    bool is_wide(ptrdiff_t unit) const {
        const double mean = constants.of(forward_mean)[unit], scale = constants.of(forward_scale)[unit];
        const double size = scale < 0 ? -scale : scale;
        if constexpr (!is_same<T, double>) return !(size < __builtin_inf());
        return !((size == 0 || (size > 1e-280 && size < 1e280)) && mean > -1e280 && mean < 1e280);
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

// ---- shared by both ----

template <class W, class At>
TRIMTAB_INLINE void store_forward_constants(At at, Doubles mean, Doubles rstd, const W* gamma, const W* beta,
                                            const Constants<double>& constants) {
    at.store(constants.of(forward_mean), mean);
    at.store(constants.of(forward_scale), rstd * at.load(gamma));
    at.store(constants.of(forward_beta), at.load(beta));
}

// Rare options are branches in the loop: predicted well, they cost less than a loop for each combination of options.
template <class T>
struct ForwardBody {
    using Result = T;
    const T *x, *added;
    T* y;
    bool relu, plain;  // plain: nothing is added, and no ReLU
    template <class Arguments>
    explicit ForwardBody(const Arguments& a)
        : x(static_cast<const T*>(a.x)),
          added(static_cast<const T*>(a.residual)),
          y(static_cast<T*>(a.y)),
          relu(a.relu),
          plain(!added && !relu) {}
    template <class At>
    TRIMTAB_INLINE void operator()(const Doubles* k, ptrdiff_t j, T* to, At at) const {
        Doubles v = fma(at.input(x + j) - k[forward_mean], k[forward_scale], k[forward_beta]);
        if (!plain) {
            if (added) v += at.input(added + j);
            if (relu) v = v < 0 ? Doubles{} : v;
        }
        at.output(to, v);
    }
};

template <class T>
RunBody<double, forward_constants> run_body(const ForwardBody<T>& body, const ChannelLayout& l) {
    return {body, exceeds_caches<T>(body.x, body.y, array_size(l))};
}

// ---- the statistics alone ----

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
}  // namespace
}  // namespace trimtab
