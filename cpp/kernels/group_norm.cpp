// Group normalisation of x (samples, groups, channels, inner): a row of memory for each sample and group, with parameters
// that change from channel to channel.
#include "channels.h"
#include "row_statistics.h"

namespace trimtab {
namespace {

ptrdiff_t width(const GroupLayout& l) { return l.channels * l.inner; }
ptrdiff_t rows(const GroupLayout& l) { return l.samples * l.groups; }
UnitLayout unit_layout(const GroupLayout& l, ptrdiff_t row) { return {row * width(l), 1, width(l), width(l), l.inner}; }
double values(const GroupLayout& l) { return double(rows(l) * width(l)); }
// Are channels long enough to be visited one by one? Else the parameters are spread to lie beside the values of a row.
bool one_by_one(const GroupLayout& l) { return l.channels == 1 || l.inner >= 128; }

template <class W>
class RowParameter {
public:
    RowParameter(const GroupLayout& l, const void* parameter)
        : l_(l), values_(static_cast<const W*>(parameter)), spread_(one_by_one(l) ? 0 : l.groups * width(l)) {
        if (one_by_one(l)) return;
        parallel_for(l.groups * l.channels, double(l.groups * width(l)), [this](ptrdiff_t begin, ptrdiff_t end) {
            for (ptrdiff_t c = begin; c < end; ++c)
                sweep<W>(l_.inner,
                         [&](ptrdiff_t i, auto at) { at.store(spread_ + c * l_.inner + i, broadcast(values_[c])); });
        });
    }
    const W* begin() const { return values_; }
    const W* of_group(ptrdiff_t row) const { return values_ + row % l_.groups * l_.channels; }
    W of(ptrdiff_t group, ptrdiff_t channel) const { return values_[group * l_.channels + channel]; }
    const W* beside(ptrdiff_t group) const { return spread_ + group * width(l_); }

private:
    const GroupLayout& l_;
    const W* values_;
    Scratch<W> spread_;  // (groups, channels, inner)
};

// body over one row of `together` whose statistics come first, with the parameters there.
template <int count, class W, class F>
TRIMTAB_INLINE void visit(const GroupLayout& l, ptrdiff_t row, const RowParameter<W>* const (&parameters)[count],
                          const F& body, bool past, ptrdiff_t together = 1) {
    const ptrdiff_t start = row * width(l), group = row % l.groups;
    const RunBody<W, count> runs(body, past, prefetch_distance(together * width(l)));
    if (!one_by_one(l)) {
        Stream<W> stream[count];
        for (int j = 0; j < count; ++j) stream[j] = {parameters[j]->beside(group)};
        return runs(start, width(l), stream);
    }
    for (ptrdiff_t channel = 0; channel < l.channels; ++channel) {
        Uniform<W> uniform[count];
        for (int j = 0; j < count; ++j) uniform[j] = {broadcast(parameters[j]->of(group, channel))};
        runs(start + channel * l.inner, l.inner, uniform);
    }
}

// Rows of one channel, too short for a call each.
bool are_short_channels(const GroupLayout& l) { return l.channels == 1 && l.inner < 128; }
template <class Body, int count, class W, class F>
TRIMTAB_INLINE void visit_short(const GroupLayout& l, ptrdiff_t first, ptrdiff_t rows,
                                const RowParameter<W>* const (&parameters)[count], F&& body_of) {
    const ptrdiff_t inner = l.inner, groups = l.groups;
    const W* from[count];
    for (int j = 0; j < count; ++j) from[j] = parameters[j]->begin();
    ptrdiff_t group = first % groups, start = first * inner;
    for (ptrdiff_t r = 0; r < rows; ++r, start += inner) {
        Vector<W> k[count];
        for (int j = 0; j < count; ++j) k[j] = broadcast(from[j][group]);
        const Body body = body_of(r);
        const auto to = body.y + start;
        sweep_overlapping<W, typename Body::Result>(inner,
                                                    [&](ptrdiff_t i, auto at) { body(k, start + i, to + i, at); });
        if (++group == groups) group = 0;
    }
}

template <class T>
struct GroupForward {
    using Result = T;
    using W = Work<T>;
    const T* x;
    T* y;
    Standardize<W> standardize;
    template <class At>
    TRIMTAB_INLINE void operator()(const Vector<W>* k, ptrdiff_t j, T* to, At at) const {
        at.output(to, fma(standardize(at.input(x + j)), k[0], k[1]));
    }
};

template <class T>
void group_norm_forward(const GroupNormForward& a) {
    using W = Work<T>;
    const GroupLayout& l = a.layout;
    const RowParameter<W> gamma(l, a.gamma), beta(l, a.beta);
    const auto x = static_cast<const T*>(a.x);
    const auto y = static_cast<T*>(a.y);
    const bool past = exceeds_caches<T>(x, y, rows(l) * width(l));
    const ptrdiff_t together = rows_per_task(width(l));
    parallel_for(ceil_div(rows(l), together), 10 * double(rows(l)) + 0.15 * values(l),
                 [&](ptrdiff_t begin, ptrdiff_t end) {
        for (ptrdiff_t first = begin * together, stop = min(end * together, rows(l)); first < stop; first += together) {
            const ptrdiff_t count = min(together, stop - first);
            RowStatistics<W> statistics;
            statistics.template measure<true>(x + first * width(l), count, width(l), a.eps);
            const auto body_of = [&](ptrdiff_t r) { return GroupForward<T>{x, y, statistics.standardize(r)}; };
            if (are_short_channels(l) && !statistics.wide_rows)
                visit_short<GroupForward<T>, 2, W>(l, first, count, {&gamma, &beta}, body_of);
            else
                for (ptrdiff_t r = 0; r < count; ++r)
                    if (statistics.is_wide(r))
                        WideNormal{x, unit_layout(l, first + r), statistics.wide[r], gamma.of_group(first + r),
                                   beta.of_group(first + r)}
                            .write(y, unit_layout(l, first + r));
                    else
                        visit<2, W>(l, first + r, {&gamma, &beta}, body_of(r), past, together);
            for (ptrdiff_t r = 0; a.mean && r < count; ++r)
                a.mean[first + r] = statistics.mean[r], a.rstd[first + r] = statistics.rstd[r];
        }
    });
}

// ---- backward: dx = rstd * (h - mean(h) - x̂ * mean(h * x̂)) with h = dy * gamma ----

// What is summed over a row, or over a channel of it: g and g * x̂, of g = dy or of g = h.
struct Pair {
    double g, gx;
};

template <class T, class G>
struct Products {
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
TRIMTAB_INLINE Pair sum_products(ptrdiff_t n, const Products<T, G>& products) {
    double sums[2];
    reduce<Work<T>>(n, sums, products);
    return {sums[0], sums[1]};
}
template <class T>
TRIMTAB_INLINE auto values_from(const T* p) {
    return [p](ptrdiff_t i, auto at) { return at.load(p + i); };
}

// dx = scale * h + slope * x̂ + offset
template <class T>
struct GroupBackward {
    using Result = T;
    using W = Work<T>;
    const T *dy, *x;
    T* y;
    QuickStandardize<W> standardize;
    W scale, slope, offset;
    template <class At>
    TRIMTAB_INLINE void operator()(const Vector<W>* k, ptrdiff_t j, T* to, At at) const {
        const Vector<W> through = fma(at.input(dy + j) * k[0], broadcast(scale), broadcast(offset));
        at.output(to, fma(standardize(at.input(x + j)), broadcast(slope), through));
    }
};

template <class T>
class GroupGradient {
    using W = Work<T>;

public:
    explicit GroupGradient(const GroupNormBackward& a)
        : a_(a),
          l_(a.layout),
          dy_(static_cast<const T*>(a.dy)),
          x_(static_cast<const T*>(a.x)),
          dx_(static_cast<T*>(a.dx)),
          gamma_(l_, a.gamma),
          channels_(l_.groups * l_.channels),
          panel_(one_by_one(l_) ? 1 : ceil_div(l_.samples, max(ceil_div(l_.samples, 16), ceil_div(64, l_.groups)))),
          panels_(ceil_div(l_.samples, panel_)),
          partial_(panels_ * 2 * channels_) {}

    void run() const {
        const double cost = 30 * double(rows(l_)) + 0.5 * values(l_);
        if (are_short_channels(l_))
            parallel_for(ceil_div(rows(l_), max_rows_per_task), cost, [&](ptrdiff_t begin, ptrdiff_t end) {
                for (ptrdiff_t task = begin; task < end; ++task) short_rows(task * max_rows_per_task);
            });
        else
            parallel_for(panels_ * l_.groups, cost, [&](ptrdiff_t begin, ptrdiff_t end) {
                const Scratch<W> sums(one_by_one(l_) ? 0 : 2 * width(l_));
                for (ptrdiff_t task = begin; task < end; ++task)
                    one_by_one(l_) ? row(task) : panel(task / l_.groups, task % l_.groups, sums);
            });
        parallel_for(channels_, double(panels_ * channels_), [&](ptrdiff_t begin, ptrdiff_t end) {
            total(partial_, a_.dbeta, begin, end);
            total(partial_ + channels_, a_.dgamma, begin, end);
        });
    }

private:
    // Channels one by one: sums of each, then dx of each.
    TRIMTAB_LOOP void row(ptrdiff_t row) const {
        const ptrdiff_t group = row % l_.groups, start = row * width(l_);
        double* const sums = partial_ + row / l_.groups * 2 * channels_ + group * l_.channels;
        const QuickStandardize<W> standardize(a_.mean[row], a_.rstd[row]);
        Pair h = {};
        for (ptrdiff_t channel = 0; channel < l_.channels; ++channel) {
            const T *const dy = dy_ + start + channel * l_.inner, *const x = x_ + start + channel * l_.inner;
            const Pair sum = sum_products(l_.inner, Products{values_from(dy), x, standardize});
            const double weight = gamma_.of(group, channel);
            sums[channel] = sum.g;
            sums[channels_ + channel] = sum.gx;
            h = {h.g + weight * sum.g, h.gx + weight * sum.gx};
        }
        if (!holds(row, h)) return wide_row(row, sums);
        const auto [scale, slope, offset] = constants(row, h);
        const GroupBackward<T> body{dy_, x_, dx_, standardize, scale, slope, offset};
        visit<1, W>(l_, row, {&gamma_}, body, past_);
    }

    // The rows from `first` that are taken together.
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
            return Products{values_from(dy_ + start), x_ + start, standardize(r)};
        });
        for (ptrdiff_t r = 0, group = first % l_.groups, panel = first / l_.groups; r < count; ++r) {
            double* const to = partial_ + panel * 2 * channels_ + group;
            to[0] = sums[0][r];
            to[channels_] = sums[1][r];
            slope[r] = gamma_.of(group, 0);
            if (++group == l_.groups) group = 0, ++panel;
        }
        Longs all_hold = ~Longs{};
        sweep_rows(count, [&](ptrdiff_t r, auto at) {
            const Doubles rstd = at.load(scale + r), weight = at.load(slope + r), share = rstd * weight / double(-n);
            const Doubles g = at.load(sums[0] + r), gx = at.load(sums[1] + r);
            all_hold &= gradient_in_range<W>(at.load(high + r), rstd, weight * g, weight * gx);
            at.store(slope + r, share * gx);
            at.store(offset + r, share * g);
        });
        uint32_t wide_rows = 0;
        for (ptrdiff_t r = 0; any(~all_hold) && n > 1 && r < count; ++r) {
            const double weight = *gamma_.of_group(first + r);
            if (!holds(first + r, {weight * sums[0][r], weight * sums[1][r]})) wide_rows |= uint32_t(1) << r;
        }
        const auto body_of = [&](ptrdiff_t r) {
            return GroupBackward<T>{dy_, x_, dx_, standardize(r), scale[r], slope[r], offset[r]};
        };
        if (!wide_rows) return visit_short<GroupBackward<T>, 1, W>(l_, first, count, {&gamma_}, body_of);
        for (ptrdiff_t r = 0; r < count; ++r)
            if (wide_rows >> r & 1)
                wide_row(first + r, partial_ + (first + r) / l_.groups * 2 * channels_ + (first + r) % l_.groups);
            else
                visit<1, W>(l_, first + r, {&gamma_}, body_of(r), past_);
    }

    // A few samples of a group, with the gradients of the parameters summed in W beside the values.
    TRIMTAB_LOOP void panel(ptrdiff_t panel, ptrdiff_t group, W* sums) const {
        const ptrdiff_t n = width(l_);
        const W* const gamma = gamma_.beside(group);
        double* const to = partial_ + panel * 2 * channels_ + group * l_.channels;
        clear(sums, 2 * n);
        for (int q = 0; q < 2; ++q) clear(to + q * channels_, l_.channels);
        for (ptrdiff_t sample = panel * panel_, end = min(sample + panel_, l_.samples); sample < end; ++sample) {
            const ptrdiff_t row = sample * l_.groups + group;
            const T *const dy = dy_ + row * n, *const x = x_ + row * n;
            T* const dx = dx_ + row * n;
            const QuickStandardize<W> standardize(a_.mean[row], a_.rstd[row]);
            const auto gradient = [dy, gamma](ptrdiff_t i, auto at) { return at.load(dy + i) * at.load(gamma + i); };
            const Pair h = sum_products(n, Products{gradient, x, standardize});
            if (!holds(row, h)) {
                wide_row(row, to, false);
                continue;
            }
            const auto [scale, slope, offset] = constants(row, h);
            sweep<W>(n, [&](ptrdiff_t i, auto at) {
                const Vector<W> g = at.load(dy + i), normal = standardize(at.load(x + i));
                at.store(sums + i, at.load(sums + i) + g);
                at.store(sums + n + i, fma(g, normal, at.load(sums + n + i)));
                const Vector<W> through = fma(g * at.load(gamma + i), broadcast(scale), broadcast(offset));
                at.store(dx + i, fma(normal, broadcast(slope), through));
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

    // Sums of zero may have vanished.
    bool holds(ptrdiff_t row, const Pair& h) const {
        return gradient_in_range<W>(a_.mean[row], a_.rstd[row], h.g, h.gx) || width(l_) == 1 ||
               (h.g == 0 && h.gx == 0 &&
                (all_zero(dy_ + row * width(l_), width(l_)) || all_zero(gamma_.of_group(row), l_.channels)));
    }
    // dx, and what the row adds to dbeta and dgamma of its channels.
    TRIMTAB_COLD void wide_row(ptrdiff_t row, double* sums, bool first = true) const {
        const UnitLayout at = unit_layout(l_, row);
        const WideGradient gradient{.dy = dy_,
                                    .x = x_,
                                    .y = nullptr,
                                    .gamma = gamma_.of_group(row),
                                    .mean = a_.mean[row],
                                    .rstd = a_.rstd[row],
                                    .layout = at};
        for (int q = 0; first && q < 2; ++q) clear(sums + q * channels_, l_.channels);
        gradient.write(gradient.sum(sums + channels_, sums), dx_, at);
    }

    // dx = scale * h + slope * x̂ + offset
    struct RowConstants {
        W scale, slope, offset;
    };
    RowConstants constants(ptrdiff_t row, const Pair& h) const {
        const double rstd = a_.rstd[row], share = -rstd / double(width(l_));
        return {W(rstd), W(share * h.gx), W(share * h.g)};
    }

    void total(const double* from, double* to, ptrdiff_t begin, ptrdiff_t end) const {
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
    bool past_ = exceeds_caches<T>(x_, dx_, rows(l_) * width(l_));
    RowParameter<W> gamma_;
    ptrdiff_t channels_, panel_, panels_;  // channels in all, samples of a panel, panels
    Scratch<double> partial_;              // (panels, 2, channels): sums of dy and of dy * x̂
};

template <class T>
void group_norm_backward(const GroupNormBackward& a) {
    GroupGradient<T>(a).run();
}

// ---- one group ----

UnitLayout unit_layout(const OneGroup& g) { return {0, g.outer, g.channels * g.inner, g.stride, g.inner}; }
UnitLayout in_order(const UnitLayout& p) { return {0, 1, p.count(), p.count(), p.count()}; }

template <class T>
void one_forward(const OneGroupForward& a) {
    using W = Work<T>;
    const auto x = static_cast<const T*>(a.x);
    const UnitLayout from = unit_layout(a.group);
    const WideStatistics s = measure_wide<true>(x, from, a.eps);
    *a.mean = s.mean();
    *a.rstd = s.rstd();
    WideNormal{x, from, s, static_cast<const W*>(a.gamma), static_cast<const W*>(a.beta)}.write(static_cast<T*>(a.y),
                                                                                                in_order(from));
}

template <class T>
void one_backward(const OneGroupBackward& a) {
    const UnitLayout from = unit_layout(a.group);
    const WideGradient gradient{.dy = static_cast<const T*>(a.dy),
                                .x = static_cast<const T*>(a.x),
                                .y = nullptr,
                                .gamma = a.gamma,
                                .mean = *a.mean,
                                .rstd = *a.rstd,
                                .layout = from};
    gradient.write(gradient.sum(a.dgamma, a.dbeta), static_cast<T*>(a.dx), in_order(from));
}
}  // namespace

TRIMTAB_EXPORT(GroupNormKernels, group_norm) = {
    .forward = TRIMTAB_EACH_DTYPE(group_norm_forward),
    .backward = TRIMTAB_EACH_DTYPE(group_norm_backward),
    .one_forward = TRIMTAB_EACH_DTYPE(one_forward),
    .one_backward = TRIMTAB_EACH_DTYPE(one_backward),
};
}  // namespace trimtab
