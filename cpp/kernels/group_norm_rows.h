// Group normalization row by row (group_norm.cpp): x (samples, 1, groups, channels, inner) is a row of memory for each
// group of a sample, as in layer norm, but with a parameter for each channel.
#pragma once
#include "channel_apply.h"
#include "row_statistics.h"

namespace trimtab {
namespace {

ptrdiff_t width(const GroupLayout& l) { return l.channels * l.inner; }
ptrdiff_t rows(const GroupLayout& l) { return l.samples * l.groups; }
double values(const GroupLayout& l) { return double(rows(l) * width(l)); }
UnitLayout unit_layout(const GroupLayout& l, ptrdiff_t row) { return {row * width(l), 1, width(l), width(l), l.inner}; }

// Long channels, and a single one, are visited one by one, with a parameter in a register. Short ones are visited as a
// row, with the parameters expanded to the width of the row. Short rows of a single channel are visited several at a
// time.
bool has_long_channels(const GroupLayout& l) { return l.channels == 1 || l.inner >= 128; }
bool has_short_rows(const GroupLayout& l) { return l.channels == 1 && l.inner < 128; }
// Do loads of expanded parameters take more time than the overlap of the last two vectors of each channel?
bool has_medium_channels(const GroupLayout& l) { return l.channels > 1 && l.inner >= 32 && l.inner < 128; }

// gamma or beta.
template <class W>
class RowParameter {
public:
    RowParameter(const GroupLayout& l, const void* parameter, bool expands)
        : l_(l), values_(static_cast<const W*>(parameter)), expanded_(expands ? l.groups * width(l) : 0) {
        if (!expands) return;
        parallel_for(l.groups * l.channels, double(l.groups * width(l)), [this](ptrdiff_t begin, ptrdiff_t end) {
            for (ptrdiff_t c = begin; c < end; ++c)
                sweep<W>(l_.inner,
                         [&](ptrdiff_t i, auto at) { at.store(expanded_ + c * l_.inner + i, broadcast(values_[c])); });
        });
    }
    const W* begin() const { return values_; }  // (groups, channels)
    const W* of_group(ptrdiff_t row) const { return values_ + row % l_.groups * l_.channels; }
    W of(ptrdiff_t group, ptrdiff_t channel) const { return values_[group * l_.channels + channel]; }
    const W* expanded(ptrdiff_t group) const { return expanded_ + group * width(l_); }

private:
    const GroupLayout& l_;
    const W* values_;
    Scratch<W> expanded_;  // (groups, channels, inner)
};

// Calls body over a row, with its parameters. A task has computed the statistics of `rows_per_task` rows before.
template <int count, class W, class F>
TRIMTAB_INLINE void apply_to_row(const GroupLayout& l, ptrdiff_t row, const RowParameter<W>* const (&parameters)[count],
                                 const F& body, bool exceeds, ptrdiff_t rows_per_task = 1) {
    const ptrdiff_t start = row * width(l), group = row % l.groups;
    const RunBody<W, count> run_body(body, exceeds, prefetch_distance(rows_per_task * width(l)));
    if (!has_long_channels(l)) {
        Varying<W> varying[count];
        for (int j = 0; j < count; ++j) varying[j] = {parameters[j]->expanded(group)};
        return run_body(start, width(l), varying);
    }
    for (ptrdiff_t channel = 0; channel < l.channels; ++channel) {
        Uniform<W> uniform[count];
        for (int j = 0; j < count; ++j) uniform[j] = {broadcast(parameters[j]->of(group, channel))};
        run_body(start + channel * l.inner, l.inner, uniform);
    }
}

// Calls body over a short channel that starts at x[start], with its parameters: too short for a call of its own.
template <int count, class W, class Body>
TRIMTAB_INLINE void apply_to_short_channel(ptrdiff_t inner, ptrdiff_t start, ptrdiff_t channel,
                                           const W* const (&parameters)[count], const Body& body) {
    Vector<W> k[count];
    for (int j = 0; j < count; ++j) k[j] = broadcast(parameters[j][channel]);
    const auto to = body.y + start;
    sweep_overlapping<W, typename Body::Result>(inner, [&](ptrdiff_t i, auto at) { body(k, start + i, to + i, at); });
}

// Calls body_of(r) over row first + r for some short rows.
template <int count, class W, class F>
TRIMTAB_INLINE void apply_to_short_rows(const GroupLayout& l, ptrdiff_t first, ptrdiff_t rows,
                                        const W* const (&parameters)[count], F&& body_of) {
    ptrdiff_t group = first % l.groups, start = first * l.inner;
    for (ptrdiff_t r = 0; r < rows; ++r, start += l.inner) {
        apply_to_short_channel(l.inner, start, group, parameters, body_of(r));
        if (++group == l.groups) group = 0;
    }
}

// ---- forward ----

template <class T>
class GroupNormRows {
    using W = Work<T>;

public:
    explicit GroupNormRows(const GroupNormForward& a)
        : a_(a),
          l_(a.layout),
          x_(static_cast<const T*>(a.x)),
          y_(static_cast<T*>(a.y)),
          gamma_(l_, a.gamma, !has_long_channels(l_) && !by_channel_),
          beta_(l_, a.beta, !has_long_channels(l_) && !by_channel_) {}

    void run() const {
        const double cost = 10 * double(rows(l_)) + 0.15 * values(l_);
        parallel_for(ceil_div(rows(l_), rows_per_task_), cost, [this](ptrdiff_t begin, ptrdiff_t end) {
            const ptrdiff_t stop = min(end * rows_per_task_, rows(l_));
            for (ptrdiff_t first = begin * rows_per_task_; first < stop; first += rows_per_task_)
                normalize(first, min(rows_per_task_, stop - first));
        });
    }

private:
    // y = x̂ * gamma + beta
    struct Body {
        using Result = T;
        const T* x;
        T* y;
        Standardize<W> standardize;
        template <class At>
        TRIMTAB_INLINE void operator()(const Vector<W>* k, ptrdiff_t j, T* to, At at) const {
            at.output(to, fma(standardize(at.input(x + j)), k[0], k[1]));
        }
    };

    TRIMTAB_INLINE void normalize(ptrdiff_t first, ptrdiff_t count) const {
        RowStatistics<W> statistics;
        statistics.template measure<true>(x_ + first * width(l_), count, width(l_), a_.eps);
        const auto body_of = [&](ptrdiff_t r) { return Body{x_, y_, statistics.standardize(r)}; };
        if (has_short_rows(l_) && !statistics.wide_rows)
            apply_to_short_rows<2, W>(l_, first, count, {gamma_.begin(), beta_.begin()}, body_of);
        else
            for (ptrdiff_t r = 0; r < count; ++r)
                if (statistics.is_wide(r))
                    WideNormal{x_, unit_layout(l_, first + r), statistics.wide[r], gamma_.of_group(first + r),
                               beta_.of_group(first + r)}
                        .write(y_, unit_layout(l_, first + r));
                else if (by_channel_)
                    apply_by_channel(first + r, body_of(r));
                else
                    apply_to_row<2, W>(l_, first + r, {&gamma_, &beta_}, body_of(r), exceeds_, rows_per_task_);
        for (ptrdiff_t r = 0; a_.mean && r < count; ++r)
            a_.mean[first + r] = statistics.mean[r], a_.rstd[first + r] = statistics.rstd[r];
    }

    TRIMTAB_LOOP void apply_by_channel(ptrdiff_t row, const Body& of_row) const {
        const Body body = of_row;  // of a reference, each store would make members be loaded again
        const ptrdiff_t channels = l_.channels, inner = l_.inner;
        const W* const parameters[] = {gamma_.of_group(row), beta_.of_group(row)};
        ptrdiff_t start = row * width(l_);
        for (ptrdiff_t channel = 0; channel < channels; ++channel, start += inner)
            apply_to_short_channel(inner, start, channel, parameters, body);
    }

    const GroupNormForward& a_;
    const GroupLayout& l_;
    const T* x_;
    T* y_;
    const bool exceeds_ = exceeds_caches<T>(x_, y_, rows(l_) * width(l_));
    const bool by_channel_ = has_medium_channels(l_) && !exceeds_;
    RowParameter<W> gamma_, beta_;
    const ptrdiff_t rows_per_task_ = rows_per_task(width(l_));
};

// ---- backward ----

// Sums over a row, or over a channel of it, with g = dy or g = h = dy * gamma.
struct GradientSums {
    double g, gx;  // of g and of g * x̂
};

// The terms of these sums. g(i, at) loads g.
template <class T, class G>
struct GradientTerms {
    using W = Work<T>;
    G g;
    const T* x;
    QuickStandardize<W> standardize;
    template <class At>
    TRIMTAB_INLINE void operator()(ptrdiff_t i, At at, Vector<W> (&acc)[2]) const {
        const Vector<W> v = g(i, at);
        acc[0] += v;
        acc[1] = fma(v, at.keep(standardize(at.load(x + i))), acc[1]);
    }
};
template <class T, class G>
TRIMTAB_INLINE GradientSums sum_gradient(ptrdiff_t n, const GradientTerms<T, G>& terms) {
    double sums[2];
    reduce<Work<T>>(n, sums, terms);
    return {sums[0], sums[1]};
}
template <class T>
TRIMTAB_INLINE auto loads_from(const T* p) {
    return [p](ptrdiff_t i, auto at) { return at.load(p + i); };
}

template <class T>
class GroupNormRowsGradient {
    using W = Work<T>;

public:
    explicit GroupNormRowsGradient(const GroupNormBackward& a)
        : a_(a),
          l_(a.layout),
          dy_(static_cast<const T*>(a.dy)),
          x_(static_cast<const T*>(a.x)),
          dx_(static_cast<T*>(a.dx)),
          gamma_(l_, a.gamma, !has_long_channels(l_)),
          channels_(l_.groups * l_.channels),
          samples_per_panel_(
              has_long_channels(l_) ? 1 : ceil_div(l_.samples, max(ceil_div(l_.samples, 16), ceil_div(64, l_.groups)))),
          panels_(ceil_div(l_.samples, samples_per_panel_)),
          partial_(panels_ * 2 * channels_) {}

    void run() const {
        const double cost = 30 * double(rows(l_)) + 0.5 * values(l_);
        if (has_short_rows(l_))
            parallel_for(ceil_div(rows(l_), max_rows_per_task), cost, [&](ptrdiff_t begin, ptrdiff_t end) {
                for (ptrdiff_t task = begin; task < end; ++task) short_rows(task * max_rows_per_task);
            });
        else
            parallel_for(panels_ * l_.groups, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
                const Scratch<W> sums(has_long_channels(l_) ? 0 : 2 * width(l_));
                for (ptrdiff_t task = begin; task < end; ++task)
                    has_long_channels(l_) ? long_channels(task) : panel(task / l_.groups, task % l_.groups, sums);
            });
        parallel_for(channels_, double(panels_ * channels_), [&](ptrdiff_t begin, ptrdiff_t end) {
            combine_panels(partial_, a_.dbeta, begin, end);
            combine_panels(partial_ + channels_, a_.dgamma, begin, end);
        });
    }

private:
    // A row of long channels: sums of each channel, then dx of each.
    TRIMTAB_LOOP void long_channels(ptrdiff_t row) const {
        const ptrdiff_t group = row % l_.groups, start = row * width(l_);
        double* const sums = partial_ + row / l_.groups * 2 * channels_ + group * l_.channels;
        const QuickStandardize<W> standardize(a_.mean[row], a_.rstd[row]);
        GradientSums h = {};
        for (ptrdiff_t channel = 0; channel < l_.channels; ++channel) {
            const T *const dy = dy_ + start + channel * l_.inner, *const x = x_ + start + channel * l_.inner;
            const GradientSums sum = sum_gradient(l_.inner, GradientTerms{loads_from(dy), x, standardize});
            const double weight = gamma_.of(group, channel);
            sums[channel] = sum.g;
            sums[channels_ + channel] = sum.gx;
            h = {h.g + weight * sum.g, h.gx + weight * sum.gx};
        }
        if (!in_range(row, h)) return wide_row(row, sums);
        const auto [scale, slope, offset] = constants(row, h);
        const Body body{dy_, x_, dx_, standardize, scale, slope, offset};
        apply_to_row<1, W>(l_, row, {&gamma_}, body, exceeds_);
    }

    // Short rows, from `first` on.
    TRIMTAB_LOOP void short_rows(ptrdiff_t first) const {
        const ptrdiff_t count = min(max_rows_per_task, rows(l_) - first), n = l_.inner;
        PerRow<W> high, scale, rest, slope, offset;
        const auto standardize = [&](ptrdiff_t r) { return QuickStandardize<W>{high[r], scale[r], rest[r]}; };
        sweep<double>(count, [&](ptrdiff_t r, auto at) {
            const Doubles mean = at.load(a_.mean + first + r), rstd = at.load(a_.rstd + first + r);
            at.store(high + r, mean);
            at.store(scale + r, n == 1 ? Doubles{} : rstd);  // the gradient of one value is 0
            at.store(rest + r, (at.load(high + r) - mean) * rstd);
        });
        PerRow<W> sums[2];
        sum_short_rows<W>(count, n, sums, [&](ptrdiff_t r) {
            const ptrdiff_t start = (first + r) * n;
            return GradientTerms{loads_from(dy_ + start), x_ + start, standardize(r)};
        });
        for (ptrdiff_t r = 0, group = first % l_.groups, panel = first / l_.groups; r < count; ++r) {
            double* const to = partial_ + panel * 2 * channels_ + group;
            to[0] = sums[0][r];
            to[channels_] = sums[1][r];
            slope[r] = gamma_.of(group, 0);
            if (++group == l_.groups) group = 0, ++panel;
        }
        Longs all_in_range = ~Longs{};
        sweep_rows(count, [&](ptrdiff_t r, auto at) {
            const Doubles rstd = at.load(scale + r), weight = at.load(slope + r), factor = rstd * weight / double(-n);
            const Doubles g = at.load(sums[0] + r), gx = at.load(sums[1] + r);
            all_in_range &= gradient_in_range<W>(at.load(high + r), rstd, weight * g, weight * gx);
            at.store(slope + r, factor * gx);
            at.store(offset + r, factor * g);
        });
        uint32_t wide_rows = 0;
        for (ptrdiff_t r = 0; any(~all_in_range) && n > 1 && r < count; ++r) {
            const double weight = *gamma_.of_group(first + r);
            if (!in_range(first + r, {weight * sums[0][r], weight * sums[1][r]})) wide_rows |= uint32_t(1) << r;
        }
        const auto body_of = [&](ptrdiff_t r) {
            return Body{dy_, x_, dx_, standardize(r), scale[r], slope[r], offset[r]};
        };
        if (!wide_rows) return apply_to_short_rows<1, W>(l_, first, count, {gamma_.begin()}, body_of);
        for (ptrdiff_t r = 0; r < count; ++r)
            if (wide_rows >> r & 1)
                wide_row(first + r, partial_ + (first + r) / l_.groups * 2 * channels_ + (first + r) % l_.groups);
            else
                apply_to_row<1, W>(l_, first + r, {&gamma_}, body_of(r), exceeds_);
    }

    // A group of some samples, with short channels. dbeta and dgamma are summed in W for each place of the row, then in
    // double. sums: room for (2, width).
    TRIMTAB_LOOP void panel(ptrdiff_t panel, ptrdiff_t group, W* sums) const {
        const ptrdiff_t n = width(l_);
        const W* const gamma = gamma_.expanded(group);
        double* const to = partial_ + panel * 2 * channels_ + group * l_.channels;
        clear(sums, 2 * n);
        for (int q = 0; q < 2; ++q) clear(to + q * channels_, l_.channels);
        for (ptrdiff_t sample = panel * samples_per_panel_, end = min(sample + samples_per_panel_, l_.samples);
             sample < end; ++sample) {
            const ptrdiff_t row = sample * l_.groups + group;
            const T *const dy = dy_ + row * n, *const x = x_ + row * n;
            T* const dx = dx_ + row * n;
            const QuickStandardize<W> standardize(a_.mean[row], a_.rstd[row]);
            const auto gradient = [dy, gamma](ptrdiff_t i, auto at) { return at.load(dy + i) * at.load(gamma + i); };
            const GradientSums h = sum_gradient(n, GradientTerms{gradient, x, standardize});
            if (!in_range(row, h)) {
                wide_row(row, to, false);
                continue;
            }
            const auto [scale, slope, offset] = constants(row, h);
            sweep<W>(n, [&](ptrdiff_t i, auto at) {
                const Vector<W> g = at.load(dy + i), x_hat = standardize(at.load(x + i));
                at.store(sums + i, at.load(sums + i) + g);
                at.store(sums + n + i, fma(g, x_hat, at.load(sums + n + i)));
                const Vector<W> h_term = fma(g * at.load(gamma + i), broadcast(scale), broadcast(offset));
                at.store(dx + i, fma(x_hat, broadcast(slope), h_term));
            });
        }
        for (int q = 0; q < 2; ++q)
            for (ptrdiff_t channel = 0; channel < l_.channels; ++channel) {
                const W* const of_channel = sums + q * n + channel * l_.inner;
                double sum[1];
                reduce<W>(l_.inner, sum, [&](ptrdiff_t i, auto at, auto& acc) { acc[0] += at.load(of_channel + i); });
                to[q * channels_ + channel] += sum[0];
            }
    }

    // Does W hold dx of the row? Not if sums of 0 have underflowed.
    bool in_range(ptrdiff_t row, const GradientSums& h) const {
        return gradient_in_range<W>(a_.mean[row], a_.rstd[row], h.g, h.gx) || width(l_) == 1 ||
               (h.g == 0 && h.gx == 0 &&
                (all_zero(dy_ + row * width(l_), width(l_)) || all_zero(gamma_.of_group(row), l_.channels)));
    }
    // dx of a wide row. Its terms of dbeta and dgamma are added to `sums`, which are cleared before if `clears`.
    TRIMTAB_COLD void wide_row(ptrdiff_t row, double* sums, bool clears = true) const {
        const UnitLayout layout = unit_layout(l_, row);
        const WideGradient gradient{.dy = dy_,
                                    .x = x_,
                                    .y = nullptr,
                                    .gamma = gamma_.of_group(row),
                                    .mean = a_.mean[row],
                                    .rstd = a_.rstd[row],
                                    .layout = layout};
        for (int q = 0; clears && q < 2; ++q) clear(sums + q * channels_, l_.channels);
        gradient.write(gradient.sum(sums + channels_, sums), dx_, layout);
    }

    // dx = scale * h + slope * x̂ + offset
    struct RowConstants {
        W scale, slope, offset;
    };
    RowConstants constants(ptrdiff_t row, const GradientSums& h) const {
        const double rstd = a_.rstd[row], factor = -rstd / double(width(l_));
        return {W(rstd), W(factor * h.gx), W(factor * h.g)};
    }
    struct Body {
        using Result = T;
        const T *dy, *x;
        T* y;
        QuickStandardize<W> standardize;
        W scale, slope, offset;
        template <class At>
        TRIMTAB_INLINE void operator()(const Vector<W>* k, ptrdiff_t j, T* to, At at) const {
            const Vector<W> h_term = fma(at.input(dy + j) * k[0], broadcast(scale), broadcast(offset));
            at.output(to, fma(standardize(at.input(x + j)), broadcast(slope), h_term));
        }
    };

    // Adds up the panels of channels begin..end.
    void combine_panels(const double* from, double* to, ptrdiff_t begin, ptrdiff_t end) const {
        sweep<double>(end - begin, [&](ptrdiff_t i, auto at) {
            Doubles sum = {};
            for (ptrdiff_t panel = 0; panel < panels_; ++panel)
                sum += at.load(from + panel * 2 * channels_ + begin + i);
            at.store(to + begin + i, sum);
        });
    }

    const GroupNormBackward& a_;
    const GroupLayout& l_;
    const T *dy_, *x_;
    T* dx_;
    bool exceeds_ = exceeds_caches<T>(x_, dx_, rows(l_) * width(l_));
    RowParameter<W> gamma_;
    ptrdiff_t channels_, samples_per_panel_, panels_;  // channels: of all groups
    Scratch<double> partial_;                          // (panels, 2, channels): sums of dy and of dy * x̂
};
}  // namespace
}  // namespace trimtab
