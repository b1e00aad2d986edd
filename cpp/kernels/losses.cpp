// Losses and their gradients. Values are summed in double, in an order that depends on the shape alone.
#include "../memory.h"
#include "elementary.h"
#include "sums.h"
#include "tiles.h"

namespace trimtab {
namespace {

TRIMTAB_LOOP double total(const double* values, ptrdiff_t count, double unit = 1) {
    double sums[1];
    reduce<double>(count, sums, [&](ptrdiff_t i, auto at, auto& acc) { acc[0] += at.load(values + i) * unit; });
    return sums[0];
}
TRIMTAB_INLINE bool is_finite(double v) { return v - v == 0; }
// Their sum over the divisor, which may be finite where the sum is not.
double mean(const double* values, ptrdiff_t count, double divisor) {
    const double sum = total(values, count);
    return is_finite(sum) ? sum / divisor : total(values, count, 0x1p-64) / divisor * 0x1p64;
}

// ---- softmax cross entropy ----

// The target of a class is t = everywhere + extra * q, where q is its given probability, or 1 at the label.
template <class W>
struct Weights {
    Scratch<W> everywhere, extra;  // (classes,)
    explicit Weights(const SoftmaxCrossEntropy& a) : everywhere(a.classes), extra(a.classes) {
        const W* const weight = static_cast<const W*>(a.class_weight);
        const W share = W(a.label_smoothing / double(a.classes)), rest = W(1 - a.label_smoothing);
        sweep<W>(a.classes, [&](ptrdiff_t i, auto at) {
            at.store(everywhere + i, at.load(weight + i) * share);
            at.store(extra + i, at.load(weight + i) * rest);
        });
    }
};

// The targets of a row apart from its label, and those of a row of given probabilities.
template <class W>
struct EqualTargets {
    const W* everywhere;
    TRIMTAB_INLINE auto operator()(ptrdiff_t i, auto at) const { return at.load(everywhere + i); }
};
template <class W>
struct GivenTargets {
    const W *everywhere, *extra, *probabilities;
    TRIMTAB_INLINE auto operator()(ptrdiff_t i, auto at) const {
        return fma(at.load(extra + i), at.load(probabilities + i), at.load(everywhere + i));
    }
};

// What the mean divides by.
template <class W>
double divisor(const SoftmaxCrossEntropy& a) {
    if (!a.labels) return double(a.rows);
    const W* const weight = static_cast<const W*>(a.class_weight);
    double sum = 0;
    for (ptrdiff_t row = 0; row < a.rows; ++row)
        if (a.labels[row] != a.ignored) sum += weight[a.labels[row]];
    return sum;
}

// Copies a row to z and returns its largest value; NaN is not it.
template <class W, class T>
TRIMTAB_LOOP W copy_and_find_largest(const T* x, ptrdiff_t n, W* z) {
    Vector<W> top = Vector<W>{} - W(__builtin_inf());
    sweep<W>(n, [&](ptrdiff_t i, auto at) {
        const Vector<W> v = at.keep(at.load(x + i), top);
        at.store(z + i, v);
        top = v > top ? v : top;
    });
    W largest = top[0];
    for (int i = 1; i < lanes<W>; ++i) largest = top[i] > largest ? top[i] : largest;
    return largest;
}

// Sums over the classes, d the distance of a logit to the largest: the loss is weight * log(exponentials) - product.
struct RowSums {
    double exponentials, weight, product;  // of exp(d), t, t * d
};

// Replaces the logits in z by exp(d).
template <class W, class Targets>
TRIMTAB_LOOP RowSums sum_row(W* z, ptrdiff_t classes, W largest, Targets t) {
    double sums[3];
    reduce<W>(classes, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Vector<W> d = at.load(z + i) - largest, target = t(i, at), e = at.keep(exp_below_1<W>(d));
        at.store(z + i, e);
        acc[0] += e;
        acc[1] += target;
        acc[2] += target == 0 ? Vector<W>{} : target * d;  // d may be -inf
    });
    return {sums[0], sums[1], sums[2]};
}

// The sum of t * d, where differences of logits overflow: seldom enough for one class after the other.
template <class T, class Targets>
TRIMTAB_LOOP double product_in_double(const T* logits, ptrdiff_t classes, double largest, Targets t) {
    double sum = 0;
    for (ptrdiff_t i = 0; i < classes; ++i) {
        const FirstLanes<double> one{1};
        const double target = t(i, one)[0], d = one.load(logits + i)[0] - largest;
        sum += target == 0 ? 0 : target * d;
    }
    return sum;
}

template <class T, class Targets>
TRIMTAB_LOOP void write_gradient(const Work<T>* exponentials, ptrdiff_t classes, Work<T> factor, Work<T> scale,
                                 Targets t, T* gradient) {
    using W = Work<T>;
    sweep<W>(classes, [&](ptrdiff_t i, auto at) {
        at.store(gradient + i, fma(at.load(exponentials + i), Vector<W>{} + factor, t(i, at) * -scale));
    });
}

template <class T>
void softmax_cross_entropy(const SoftmaxCrossEntropy& a) {
    using W = Work<T>;
    const Weights<W> weights(a);
    const ptrdiff_t classes = a.classes;
    const double divided_by = a.mean ? divisor<W>(a) : 1, scale = 1 / divided_by;
    const Scratch<double> exponentials(a.rows), weight(a.rows);
    parallel_for(a.rows, double(a.rows) * (60 + 1.5 * double(classes)), [&](ptrdiff_t begin, ptrdiff_t end) {
        const Scratch<W> copy(classes);
        W* const z = copy;
        for (ptrdiff_t row = begin; row < end; ++row) {
            T* const gradient = static_cast<T*>(a.dlogits) + row * classes;
            const W* const everywhere = weights.everywhere;
            const W* const extra = weights.extra;
            RowSums sums{1, 0, 0};
            if (a.labels && a.labels[row] == a.ignored) {
                __builtin_memset(gradient, 0, size_t(classes) * sizeof(T));
            } else {
                const T* const logits = static_cast<const T*>(a.logits) + row * classes;
                const W largest = copy_and_find_largest(logits, classes, z);
                const auto sums_of = [&](auto t) {
                    RowSums row_sums = sum_row(z, classes, largest, t);
                    if (!is_same<T, double> && !is_finite(row_sums.product))
                        row_sums.product = product_in_double(logits, classes, double(largest), t);
                    return row_sums;
                };
                if (a.labels) {
                    const EqualTargets<W> t{everywhere};
                    const ptrdiff_t label = a.labels[row];
                    const double distance = double(z[label]) - largest, more = extra[label];
                    sums = sums_of(t);
                    sums.weight += more;
                    sums.product += more == 0 ? 0 : more * distance;
                    const double factor = scale * sums.weight / sums.exponentials;
                    write_gradient(z, classes, W(factor), W(scale), t, gradient);
                    const double at_label = z[label] * factor - (everywhere[label] + more) * scale;
                    FirstLanes<W>{1}.store(gradient + label, Vector<W>{} + W(at_label));
                } else {
                    const W* const q = static_cast<const W*>(a.probabilities) + row * classes;
                    const GivenTargets<W> t{everywhere, extra, q};
                    sums = sums_of(t);
                    write_gradient(z, classes, W(scale * sums.weight / sums.exponentials), W(scale), t, gradient);
                }
            }
            exponentials[row] = sums.exponentials, weight[row] = sums.weight, a.losses[row] = -sums.product;
        }
    });
    sweep<double>(a.rows, [&](ptrdiff_t i, auto at) {
        at.store(a.losses + i, fma(at.load(weight + i), log(at.load(exponentials + i)), at.load(a.losses + i)));
    });
    *a.loss = mean(a.losses, a.rows, divided_by);
}

// ---- regression ----

template <class V>
TRIMTAB_INLINE V clip(V x, V limit) {
    const V above = x < -limit ? -limit : x;
    return above > limit ? limit : above;
}

// The sum of the losses in units that it does not overflow in.
template <class T>
TRIMTAB_LOOP double total_in_units(const Huber& a, double unit) {
    const T* const pred = static_cast<const T*>(a.pred);
    const Work<T>* const target = static_cast<const Work<T>*>(a.target);
    const double delta = a.delta * unit;
    double sum = 0;
    for (ptrdiff_t i = 0; i < a.count; ++i) {
        const FirstLanes<double> one{1};
        const double d = one.load(pred + i)[0] * unit - one.load(target + i)[0] * unit, size = d < 0 ? -d : d;
        sum += (size <= delta ? 0.5 * d * d : delta * (size - 0.5 * delta)) * a.scale;
    }
    return sum;
}
// Where a difference overflows but its gradient may not.
template <class T>
TRIMTAB_LOOP void mend_gradient(const T* pred, const Work<T>* target, ptrdiff_t count, const Huber& a, T* dpred) {
    const Doubles limit = broadcast(0.5 * a.delta);
    sweep<double>(count, [&](ptrdiff_t i, auto at) {
        const Doubles p = at.load(pred + i), t = at.load(target + i);
        const Doubles half = 0.5 * p - 0.5 * t, largest = broadcast(0.5 * double(Format<Work<T>>::largest));
        const auto overflows = (magnitude<double>(half) > largest) & (magnitude<double>(p) <= 2 * largest) &
                               (magnitude<double>(t) <= 2 * largest);
        at.store(dpred + i, overflows ? clip(half, limit) * (2 * a.gradient_scale) : at.load(dpred + i));
    });
}

template <class T>
void huber(const Huber& a) {
    using W = Work<T>;
    const Doubles delta = Doubles{} + a.delta;
    const Vector<W> limit = Vector<W>{} + W(a.delta), scale = Vector<W>{} + W(a.gradient_scale);
    constexpr double overflow =
        is_same<W, float> ? 1e76 : 1.7e308;  // losses of differences that overflow add up to more
    const Scratch<double> sums(ceil_div(a.count, tile));
    for_tiles(a.count, 0.7, [&](ptrdiff_t first, ptrdiff_t count) {
        const T* pred = static_cast<const T*>(a.pred) + first;
        const W* target = static_cast<const W*>(a.target) + first;
        T* dpred = static_cast<T*>(a.dpred) + first;
        double* const losses = a.losses ? a.losses + first : nullptr;
        double sum[1];
        reduce<double>(count, sum, [&](ptrdiff_t i, auto at, auto& acc) {
            const Doubles d = at.load(pred + i) - at.load(target + i), size = magnitude<double>(d);
            const Doubles loss = (size <= delta ? 0.5 * d * d : delta * (size - 0.5 * delta)) * a.scale;
            if (losses) at.store(losses + i, loss);
            acc[0] += loss;
        });
        sums[first / tile] = sum[0];
        sweep<W>(count, [&](ptrdiff_t i, auto at) {
            at.store(dpred + i, clip(at.load(pred + i) - at.load(target + i), limit) * scale);
        });
        if (!(sum[0] < overflow)) mend_gradient(pred, target, count, a, dpred);
    });
    const double sum = total(sums, ceil_div(a.count, tile));
    constexpr double unit = 0x1p-600;
    *a.loss = is_finite(sum) ? sum / a.divisor : total_in_units<T>(a, unit) / a.divisor / unit / unit;
}
}  // namespace

TRIMTAB_EXPORT(LossesKernels, losses) = {
    .softmax_cross_entropy = TRIMTAB_EACH_DTYPE(softmax_cross_entropy),
    .huber = TRIMTAB_EACH_DTYPE(huber),
};
}  // namespace trimtab
