// Losses over rows or elements, and their gradients. Losses are summed in double, in an order that depends on the shape
// alone.
//   softmax_cross_entropy  logits (rows, classes), with p = softmax(row) and targets t (classes,):
//                          loss = -sum(t * log(p)), dlogits = sum(t) * p - t
//                          t = weight * ((1 - label_smoothing) * q + label_smoothing / classes), where q are the given
//                          probabilities, or 1 at the label and 0 at other classes
//   huber                  pred, target (count,), with d = pred - target:
//                          loss = d^2 / 2 for |d| <= delta, else delta * (|d| - delta / 2);  dpred = clip(d, -delta, delta)
//   mae                    loss = |d|, dpred = sign(d)
//   binary_cross_entropy   logits and targets (count,), see BinaryLoss
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
        const double smoothed = a.label_smoothing / double(a.classes), rest = 1 - a.label_smoothing;
        sweep<double>(a.classes, [&](ptrdiff_t i, auto at) {
            const Doubles weight = a.class_weight ? at.load(a.class_weight + i) : broadcast(1.0);
            at.store(base + i, weight * smoothed);
            at.store(slope + i, weight * rest);
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
        : a_(a), classes_(a.classes), weights_(a), divisor_(a.mean ? divisor() : 1) {}

    void run() const {
        const Scratch<double> exponentials(a_.rows), weight(a_.rows);
        parallel_for(a_.rows, double(a_.rows) * (60 + 1.5 * double(classes_)), [&](ptrdiff_t begin, ptrdiff_t end) {
            const Scratch<W> z(classes_);
            for (ptrdiff_t row = begin; row < end; ++row) {
                const double factor = a_.scale * sample_weight(row);
                const RowSums sums = differentiate(row, factor, z);
                exponentials[row] = sums.exponentials;
                weight[row] = sums.weight * factor;
                a_.losses[row] = -sums.product * factor;
            }
        });
        add_logarithms(exponentials, weight, a_.rows, a_.losses);
        *a_.loss = divisor_ == 0 ? __builtin_nan("") : mean(a_.losses, a_.rows, divisor_);
    }

private:
    double sample_weight(ptrdiff_t row) const {
        return a_.sample_weight ? a_.sample_weight[row / a_.rows_per_sample] : 1;
    }
    double class_weight(ptrdiff_t label) const { return a_.class_weight ? a_.class_weight[label] : 1; }

    // The sums of a row, and its gradient, which is multiplied by row_factor / divisor. z: a buffer for the row.
    TRIMTAB_INLINE RowSums differentiate(ptrdiff_t row, double row_factor, W* z) const {
        T* const gradient = static_cast<T*>(a_.dlogits) + row * classes_;
        if (row_factor == 0 || divisor_ == 0 || (a_.labels && a_.labels[row] == a_.ignored)) {
            __builtin_memset(gradient, 0, size_t(classes_) * sizeof(T));
            return {1, 0, 0};
        }
        const double scale = row_factor / divisor_;
        const T* const logits = static_cast<const T*>(a_.logits) + row * classes_;
        const W maximum = copy_and_find_max(logits, classes_, z);
        if (!a_.labels) {
            const SoftTargets<W> t{weights_.base, weights_.slope,
                                   static_cast<const W*>(a_.probabilities) + row * classes_};
            const RowSums sums = sum_row(logits, z, maximum, t);
            write_gradient(z, classes_, W(scale * sums.weight / sums.exponentials), W(scale), t, gradient);
            return sums;
        }
        const BaseTargets<W> t{weights_.base};
        const ptrdiff_t label = a_.labels[row];
        // In double: the weight of the label may be far below the largest one.
        const double d = double(z[label]) - maximum, more = class_weight(label) * (1 - a_.label_smoothing);
        RowSums sums = sum_row(logits, z, maximum, t);
        sums.weight += more;
        sums.product += more == 0 ? 0 : more * d;
        const double factor = scale * sums.weight / sums.exponentials;
        // Without smoothing t is 0 but at the label, and the scale of a rare class may exceed W.
        write_gradient(z, classes_, W(factor), W(a_.label_smoothing == 0 ? 0 : scale), t, gradient);
        const double at_label = z[label] * factor - (weights_.base[label] + more) * scale;
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
        return largest_lane<W>(maxima);
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
        if (!a_.labels && !a_.sample_weight) return double(a_.rows);
        double sum = 0;
        for (ptrdiff_t row = 0; row < a_.rows; ++row)
            if (!a_.labels)
                sum += sample_weight(row);
            else if (a_.labels[row] != a_.ignored)
                sum += class_weight(a_.labels[row]) * sample_weight(row);
        return sum;
    }

    const SoftmaxCrossEntropy& a_;
    const ptrdiff_t classes_;
    const TargetWeights<W> weights_;
    const double divisor_;
};

template <class T>
void softmax_cross_entropy(const SoftmaxCrossEntropy& a) {
    CrossEntropy<T>(a).run();
}

// ---- losses of elements ----

template <class V>
TRIMTAB_INLINE V clip(V x, V limit) {
    const V above = x < -limit ? -limit : x;
    return above > limit ? limit : above;
}

// The factor of gradients. Where nothing counts they are 0.
TRIMTAB_INLINE double gradient_scale(const ElementwiseLoss& a) { return a.divisor == 0 ? 0 : a.scale / a.divisor; }

// The losses of elements as functions of pred x and target t, in double: f(x, t, i, at) is the loss of element i of a
// task, which begins at f.from(first), and its gradient, which is multiplied by f.factor. Where f.down is F::small and
// not 1 the loss has another unit, in which sums of it do not overflow, and f.up(sum) undoes that.
struct LossAndGradient {
    Doubles loss, gradient;
};

struct HuberLoss {
    double delta, factor, down = 1;
    static constexpr double small = 0x1p-600;
    static double up(double sum) { return sum / small / small; }
    TRIMTAB_INLINE HuberLoss from(ptrdiff_t) const { return *this; }
    TRIMTAB_INLINE LossAndGradient operator()(Doubles x, Doubles t, ptrdiff_t, auto) const {
        const Doubles d = x * down - t * down, size = magnitude<double>(d), limit = broadcast(delta * down);
        const Doubles half = 0.5 * x - 0.5 * t;  // does not overflow
        const auto overflows = magnitude<double>(half) > broadcast(0.5 * Format<double>::largest);
        const Doubles slope = overflows ? clip(half, broadcast(0.5 * delta)) : clip(x - t, broadcast(delta));
        return {size <= limit ? 0.5 * d * d : limit * (size - 0.5 * limit),
                slope * (overflows ? broadcast(2 * factor) : broadcast(factor))};
    }
};

struct AbsoluteLoss {
    double factor, down = 1;
    static constexpr double small = 0x1p-64;
    static double up(double sum) { return sum / small; }
    TRIMTAB_INLINE AbsoluteLoss from(ptrdiff_t) const { return *this; }
    TRIMTAB_INLINE LossAndGradient operator()(Doubles x, Doubles t, ptrdiff_t, auto) const {
        const Doubles d = x - t, sign = d > 0 ? broadcast(1.0) : d < 0 ? broadcast(-1.0) : d;
        return {magnitude<double>(x * down - t * down), sign * factor};
    }
};

// log(1 + e) and 1 / (1 + e) for 0 <= e <= 1, within 3 ulp, with a single division.
struct OnePlus {
    Doubles log, reciprocal;
    TRIMTAB_INLINE explicit OnePlus(Doubles e) {
        constexpr double root_of_2_minus_1 = 0.41421356237309503;
        const auto doubled = e > root_of_2_minus_1;  // 1 + e = 2^n (1 + f)
        const Doubles n = doubled ? broadcast(1.0) : Doubles{}, f = doubled ? 0.5 * e - 0.5 : e;
        const Doubles sum = e + 1, divisor = f + 2, quotient = 1 / (sum * divisor);
        log = log_of(n, f, f * (quotient * sum));
        reciprocal = quotient * divisor;
    }
};

// With p = sigmoid(x), y = rest * t + smoothed:
//   loss = -pos_weight * y * log(p) - (1 - y) * log(1 - p),   gradient = (1 - y) * p - pos_weight * y * (1 - p)
struct BinaryLoss {
    const double* pos_weight;  // (columns + task_size,), periodic; or null
    ptrdiff_t columns;
    double rest, smoothed, factor, down = 1;
    static constexpr double small = 0x1p-64;
    static double up(double sum) { return sum / small; }
    TRIMTAB_INLINE BinaryLoss from(ptrdiff_t first) const {
        BinaryLoss f = *this;
        if (pos_weight) f.pos_weight += first % columns;
        return f;
    }
    TRIMTAB_INLINE LossAndGradient operator()(Doubles x, Doubles t, ptrdiff_t i, auto at) const {
        const Doubles one = broadcast(1.0), y = fma(t, broadcast(rest), broadcast(smoothed)), negative = one - y;
        const Doubles positive = pos_weight ? at.load(pos_weight + i) * y : y;
        const Doubles e = exp_below_1<double>(minus_magnitude<double>(x));
        const OnePlus one_plus_e(e);
        const Doubles near = one_plus_e.log, large = one_plus_e.reciprocal, little = e * large;
        const Doubles p = x < 0 ? little : large, rest_of_p = x < 0 ? large : little;
        const Doubles up_to = (x < 0 ? -x : Doubles{}) + near, down_from = (x > 0 ? x : Doubles{}) + near;
        // A product with 0 is 0, even where the logarithm is infinite.
        const Doubles loss = (positive == 0 ? Doubles{} : positive * (up_to * down)) +
                             (negative == 0 ? Doubles{} : negative * (down_from * down));
        return {x == x ? loss : x, (negative * p - positive * rest_of_p) * factor};
    }
};

// The weights of elements first..first + count, of which each sample has `inner`.
TRIMTAB_LOOP void repeat_weights(const double* sample_weight, ptrdiff_t inner, ptrdiff_t first, ptrdiff_t count,
                                 double* weights) {
    for (ptrdiff_t i = 0; i < count;) {
        const ptrdiff_t sample = (first + i) / inner, end = min(count, (sample + 1) * inner - first);
        for (; i < end; ++i) weights[i] = sample_weight[sample];
    }
}

// The losses of `count` elements from `first` on, and their gradients unless dpred is null; returns the sum of the losses.
template <class T, class F>
TRIMTAB_LOOP double differentiate(const ElementwiseLoss& a, const F& f, ptrdiff_t first, ptrdiff_t count,
                                  double* buffer) {
    const T* const pred = static_cast<const T*>(a.pred) + first;
    const Work<T>* const target = static_cast<const Work<T>*>(a.target) + first;
    T* const dpred = static_cast<T*>(a.dpred) + (a.dpred ? first : 0);
    double* const losses = a.losses ? a.losses + first : buffer;
    double* const weights = buffer + task_size;
    if (a.sample_weight) repeat_weights(a.sample_weight, a.inner, first, count, weights);
    sweep<double>(count, [&](ptrdiff_t i, auto at) {
        LossAndGradient of = f(at.load(pred + i), at.load(target + i), i, at);
        of.loss *= a.scale;
        if (a.sample_weight) {
            const Doubles weight = at.load(weights + i);
            of.loss = weight == 0 ? Doubles{} : of.loss * weight;
            of.gradient = weight == 0 ? Doubles{} : of.gradient * weight;
        }
        at.store(losses + i, of.loss);
        if (dpred) at.store(dpred + i, of.gradient);
    });
    return total(losses, count);
}

template <class T, class F>
double sum_of_losses(const ElementwiseLoss& a, double cost, const F& f) {
    const ptrdiff_t tasks = ceil_div(a.count, task_size);
    const Scratch<double> sums(tasks);
    for_tasks(a.count, cost, [&](ptrdiff_t first, ptrdiff_t count) {
        const Scratch<double> buffer(2 * task_size);
        sums[first / task_size] = differentiate<T>(a, f.from(first), first, count, buffer);
    });
    return total(sums, tasks);
}
// The mean of losses whose sum overflows.
template <class T, class F>
double mean_in_other_unit(const ElementwiseLoss& a, double cost, F f) {
    ElementwiseLoss losses = a;
    losses.dpred = nullptr;
    f.down = F::small;
    return F::up(sum_of_losses<T>(losses, cost, f) / a.divisor);
}
template <class T, class F>
void elementwise_loss(const ElementwiseLoss& a, double cost, const F& f) {
    const double sum = sum_of_losses<T>(a, cost, f);
    *a.loss = is_finite(sum) || a.losses ? sum / a.divisor : mean_in_other_unit<T>(a, cost, f);
}

template <class T>
void mae(const ElementwiseLoss& a) {
    elementwise_loss<T>(a, 0.7, AbsoluteLoss{gradient_scale(a)});
}

template <class T>
void binary_cross_entropy(const BinaryCrossEntropy& a) {
    const Scratch<double> pos_weight(a.pos_weight ? a.columns + task_size : 0);
    if (a.pos_weight)
        for (ptrdiff_t i = 0; i < a.columns + task_size; ++i) pos_weight[i] = a.pos_weight[i % a.columns];
    elementwise_loss<T>(
        a.loss, 3,
        BinaryLoss{pos_weight, a.columns, 1 - a.label_smoothing, 0.5 * a.label_smoothing, gradient_scale(a.loss)});
}

// Computes the gradient again, in double, where pred - target overflowed. The gradient itself may be in range.
template <class T>
TRIMTAB_LOOP void correct_gradient(const T* pred, const Work<T>* target, ptrdiff_t count, double delta, double factor,
                                   T* dpred) {
    const Doubles limit = broadcast(0.5 * delta);
    sweep<double>(count, [&](ptrdiff_t i, auto at) {
        const Doubles p = at.load(pred + i), t = at.load(target + i);
        const Doubles half = 0.5 * p - 0.5 * t, largest = broadcast(0.5 * double(Format<Work<T>>::largest));
        const auto overflows = (magnitude<double>(half) > largest) & (magnitude<double>(p) <= 2 * largest) &
                               (magnitude<double>(t) <= 2 * largest);
        at.store(dpred + i, overflows ? clip(half, limit) * (2 * factor) : at.load(dpred + i));
    });
}

template <class T>
void huber(const Huber& huber) {
    using W = Work<T>;
    const ElementwiseLoss& a = huber.loss;
    const double factor = gradient_scale(a);
    const HuberLoss in_double{huber.delta, factor};
    if (a.sample_weight) return elementwise_loss<T>(a, 1, in_double);
    const Doubles delta = Doubles{} + huber.delta;
    const Vector<W> limit = Vector<W>{} + W(huber.delta), scale = Vector<W>{} + W(factor);
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
        if (!(sum[0] < overflow)) correct_gradient(pred, target, count, huber.delta, factor, dpred);
    });
    const double sum = total(sums, tasks);
    *a.loss = is_finite(sum) || a.losses ? sum / a.divisor : mean_in_other_unit<T>(a, 1, in_double);
}
}  // namespace

TRIMTAB_EXPORT(LossesKernels, losses) = {
    .softmax_cross_entropy = TRIMTAB_EACH_DTYPE(softmax_cross_entropy),
    .huber = TRIMTAB_EACH_DTYPE(huber),
    .mae = TRIMTAB_EACH_DTYPE(mae),
    .binary_cross_entropy = TRIMTAB_EACH_DTYPE(binary_cross_entropy),
};
}  // namespace trimtab
