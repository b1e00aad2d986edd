// Losses over rows or elements, and their gradients. Losses are summed in double, in an order that depends on the shape
// alone.
//   softmax_cross_entropy  logits (rows, classes), with p = softmax(row) and targets t (classes,):
//                          loss = -sum(t * log(p)), dlogits = sum(t) * p - t
//                          t = weight * ((1 - label_smoothing) * q + label_smoothing / classes), where q are the given
//                          probabilities, or 1 at the label and 0 at other classes
//   huber                  pred, target (count,), with d = pred - target:
//                          loss = d^2 / 2 for |d| <= delta, else delta * (|d| - delta / 2), times scale
//                          dpred = clip(d, -delta, delta) * gradient_scale
#include "../memory.h"
#include "elementary.h"
#include "elementwise.h"
#include "sums.h"

namespace trimtab {
namespace {

TRIMTAB_LOOP double total(const double* values, ptrdiff_t count, double scale = 1) {
    double sums[1];
    reduce<double>(count, sums, [&](ptrdiff_t i, auto at, auto& acc) { acc[0] += at.load(values + i) * scale; });
    return sums[0];
}
TRIMTAB_INLINE bool is_finite(double v) { return v - v == 0; }
// Their sum / divisor, which may be finite where the sum is not.
double mean(const double* values, ptrdiff_t count, double divisor) {
    const double sum = total(values, count);
    return is_finite(sum) ? sum / divisor : total(values, count, 0x1p-64) / divisor * 0x1p64;
}

// ---- softmax cross entropy ----

// What depends on the working type alone is compiled once for all its storage types.

// The targets are t = base + slope * q.
template <class W>
struct TargetWeights {
    Scratch<W> base, slope;  // (classes,)
    explicit TargetWeights(const SoftmaxCrossEntropy& a) : base(a.classes), slope(a.classes) {
        const W* const weight = static_cast<const W*>(a.class_weight);
        const W smoothed = W(a.label_smoothing / double(a.classes)), rest = W(1 - a.label_smoothing);
        sweep<W>(a.classes, [&](ptrdiff_t i, auto at) {
            at.store(base + i, at.load(weight + i) * smoothed);
            at.store(slope + i, at.load(weight + i) * rest);
        });
    }
};

// Sums over the classes, with d = logit - maximum: loss = weight * log(exponentials) - product.
struct RowSums {
    double exponentials, weight, product;  // of exp(d), of t, of t * d
};

// Targets of a row with a label, without slope * q at the label, which is added afterwards.
template <class W>
struct BaseTargets {
    const W* base;
    TRIMTAB_INLINE auto operator()(ptrdiff_t i, auto at) const { return at.load(base + i); }
};
// Targets of a row with probabilities.
template <class W>
struct SoftTargets {
    const W *base, *slope, *probabilities;
    TRIMTAB_INLINE auto operator()(ptrdiff_t i, auto at) const {
        return fma(at.load(slope + i), at.load(probabilities + i), at.load(base + i));
    }
};

// The sums of a row, of which z holds the logits. Also replaces the logits in z by exp(d).
template <class W, class Targets>
TRIMTAB_LOOP RowSums sum_in_w(W* z, ptrdiff_t classes, W maximum, Targets t) {
    double sums[3];
    reduce<W>(classes, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Vector<W> d = at.load(z + i) - maximum, target = t(i, at), e = at.keep(exp_below_1<W>(d));
        at.store(z + i, e);
        acc[0] += e;
        acc[1] += target;
        acc[2] += target == 0 ? Vector<W>{} : target * d;  // d may be -inf
    });
    return {sums[0], sums[1], sums[2]};
}

// losses += weight * log(exponentials), for all rows
TRIMTAB_LOOP void add_logarithms(const double* exponentials, const double* weight, ptrdiff_t rows, double* losses) {
    sweep<double>(rows, [&](ptrdiff_t i, auto at) {
        at.store(losses + i, fma(at.load(weight + i), log(at.load(exponentials + i)), at.load(losses + i)));
    });
}

template <class T>
class CrossEntropy {
    using W = Work<T>;

public:
    explicit CrossEntropy(const SoftmaxCrossEntropy& a)
        : a_(a), classes_(a.classes), weights_(a), divisor_(a.mean ? divisor() : 1), scale_(1 / divisor_) {}

    void run() const {
        const Scratch<double> exponentials(a_.rows), weight(a_.rows);
        parallel_for(a_.rows, double(a_.rows) * (60 + 1.5 * double(classes_)), [&](ptrdiff_t begin, ptrdiff_t end) {
            const Scratch<W> z(classes_);
            for (ptrdiff_t row = begin; row < end; ++row) {
                const RowSums sums = differentiate(row, z);
                exponentials[row] = sums.exponentials, weight[row] = sums.weight, a_.losses[row] = -sums.product;
            }
        });
        add_logarithms(exponentials, weight, a_.rows, a_.losses);
        *a_.loss = mean(a_.losses, a_.rows, divisor_);
    }

private:
    // The sums of a row, and its gradient. z: a buffer for the row.
    TRIMTAB_INLINE RowSums differentiate(ptrdiff_t row, W* z) const {
        T* const gradient = static_cast<T*>(a_.dlogits) + row * classes_;
        if (a_.labels && a_.labels[row] == a_.ignored) {
            __builtin_memset(gradient, 0, size_t(classes_) * sizeof(T));
            return {1, 0, 0};
        }
        const T* const logits = static_cast<const T*>(a_.logits) + row * classes_;
        const W maximum = copy_and_find_max(logits, classes_, z);
        if (!a_.labels) {
            const SoftTargets<W> t{weights_.base, weights_.slope,
                                   static_cast<const W*>(a_.probabilities) + row * classes_};
            const RowSums sums = sum_row(logits, z, maximum, t);
            write_gradient(z, classes_, W(scale_ * sums.weight / sums.exponentials), W(scale_), t, gradient);
            return sums;
        }
        const BaseTargets<W> t{weights_.base};
        const ptrdiff_t label = a_.labels[row];
        const double d = double(z[label]) - maximum, more = weights_.slope[label];
        RowSums sums = sum_row(logits, z, maximum, t);
        sums.weight += more;
        sums.product += more == 0 ? 0 : more * d;
        const double factor = scale_ * sums.weight / sums.exponentials;
        write_gradient(z, classes_, W(factor), W(scale_), t, gradient);
        const double at_label = z[label] * factor - (weights_.base[label] + more) * scale_;
        FirstLanes<W>{1}.store(gradient + label, Vector<W>{} + W(at_label));
        return sums;
    }

    // Copies a row to z and returns its maximum. NaN is ignored.
    TRIMTAB_LOOP static W copy_and_find_max(const T* x, ptrdiff_t n, W* z) {
        Vector<W> maxima = Vector<W>{} - W(__builtin_inf());
        sweep<W>(n, [&](ptrdiff_t i, auto at) {
            const Vector<W> v = at.keep(at.load(x + i), maxima);
            at.store(z + i, v);
            maxima = v > maxima ? v : maxima;
        });
        W maximum = maxima[0];
        for (int i = 1; i < lanes<W>; ++i) maximum = maxima[i] > maximum ? maxima[i] : maximum;
        return maximum;
    }

    template <class Targets>
    TRIMTAB_INLINE RowSums sum_row(const T* logits, W* z, W maximum, Targets t) const {
        RowSums sums = sum_in_w(z, classes_, maximum, t);
        if (!is_same<T, double> && !is_finite(sums.product))
            sums.product = product_in_double(logits, classes_, double(maximum), t);
        return sums;
    }
    // The sum of t * d for rows where a difference of logits overflows in W. Rare, so one class after the other.
    template <class Targets>
    TRIMTAB_LOOP static double product_in_double(const T* logits, ptrdiff_t classes, double maximum, Targets t) {
        double sum = 0;
        for (ptrdiff_t i = 0; i < classes; ++i) {
            const FirstLanes<double> one{1};
            const double target = t(i, one)[0], d = one.load(logits + i)[0] - maximum;
            sum += target == 0 ? 0 : target * d;
        }
        return sum;
    }

    // gradient = factor * exp(d) - scale * t
    template <class Targets>
    TRIMTAB_LOOP static void write_gradient(const W* exponentials, ptrdiff_t classes, W factor, W scale, Targets t,
                                            T* gradient) {
        sweep<W>(classes, [&](ptrdiff_t i, auto at) {
            at.store(gradient + i, fma(at.load(exponentials + i), Vector<W>{} + factor, t(i, at) * -scale));
        });
    }

    // The mean of the losses is their sum / divisor().
    double divisor() const {
        if (!a_.labels) return double(a_.rows);
        const W* const weight = static_cast<const W*>(a_.class_weight);
        double sum = 0;
        for (ptrdiff_t row = 0; row < a_.rows; ++row)
            if (a_.labels[row] != a_.ignored) sum += weight[a_.labels[row]];
        return sum;
    }

    const SoftmaxCrossEntropy& a_;
    const ptrdiff_t classes_;
    const TargetWeights<W> weights_;
    const double divisor_, scale_;
};

template <class T>
void softmax_cross_entropy(const SoftmaxCrossEntropy& a) {
    CrossEntropy<T>(a).run();
}

// ---- Huber ----

template <class V>
TRIMTAB_INLINE V clip(V x, V limit) {
    const V above = x < -limit ? -limit : x;
    return above > limit ? limit : above;
}

// The sum of the losses times scale^2, for a scale at which it does not overflow.
template <class T>
TRIMTAB_LOOP double scaled_total(const Huber& a, double scale) {
    const T* const pred = static_cast<const T*>(a.pred);
    const Work<T>* const target = static_cast<const Work<T>*>(a.target);
    const double delta = a.delta * scale;
    double sum = 0;
    for (ptrdiff_t i = 0; i < a.count; ++i) {
        const FirstLanes<double> one{1};
        const double d = one.load(pred + i)[0] * scale - one.load(target + i)[0] * scale, size = d < 0 ? -d : d;
        sum += (size <= delta ? 0.5 * d * d : delta * (size - 0.5 * delta)) * a.scale;
    }
    return sum;
}
// Computes the gradient again, in double, where pred - target overflowed. The gradient itself may be in range.
template <class T>
TRIMTAB_LOOP void correct_gradient(const T* pred, const Work<T>* target, ptrdiff_t count, const Huber& a, T* dpred) {
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
    // The sum of losses is larger if a difference overflows.
    constexpr double overflow = is_same<W, float> ? 1e76 : 1.7e308;
    const ptrdiff_t tasks = ceil_div(a.count, task_size);
    const Scratch<double> sums(tasks);
    for_tasks(a.count, 0.7, [&](ptrdiff_t first, ptrdiff_t count) {
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
        sums[first / task_size] = sum[0];
        sweep<W>(count, [&](ptrdiff_t i, auto at) {
            at.store(dpred + i, clip(at.load(pred + i) - at.load(target + i), limit) * scale);
        });
        if (!(sum[0] < overflow)) correct_gradient(pred, target, count, a, dpred);
    });
    const double sum = total(sums, tasks);
    constexpr double small = 0x1p-600;
    *a.loss = is_finite(sum) ? sum / a.divisor : scaled_total<T>(a, small) / a.divisor / small / small;
}
}  // namespace

TRIMTAB_EXPORT(LossesKernels, losses) = {
    .softmax_cross_entropy = TRIMTAB_EACH_DTYPE(softmax_cross_entropy),
    .huber = TRIMTAB_EACH_DTYPE(huber),
};
}  // namespace trimtab
