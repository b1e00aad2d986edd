// Stochastic gradient descent, of each parameter w with gradient g and velocity v:
//   step = grad_scale * g + coupled.l2 * w + coupled.l1 * sign(w)
//   v    = momentum * v + (1 - dampening) * step, or v = step at the first step
//   step = v, or momentum * v + step (Nesterov); without momentum there is no v
//   w    = w - lr * (step + decoupled.l2 * w + decoupled.l1 * sign(w))
//   w    = sign(w) * max(|w| - threshold, 0)
// Also: sums of |w| and w^2, the norm of all gradients, and their multiplication by a factor.
//
// Arrays are taken as if they were concatenated, and cut into tasks of equal size: many small arrays cost what a large one
// does. Each element is updated by itself, so its bits depend on nothing else.
#include "../memory.h"
#include "../parallel.h"
#include "norms.h"
#include "specialize.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t task_size = values_per_sum;  // elements. They stay in the L1 cache between the steps of a task
constexpr ptrdiff_t alignment = 64;  // elements: arrays begin at multiples, so that only their ends are partial

class ConcatenatedArrays {
public:
    explicit ConcatenatedArrays(const ArrayList& arrays) : arrays_(arrays), begin_(arrays.count + 1) {
        begin_[0] = 0;
        for (ptrdiff_t i = 0; i < arrays.count; ++i) begin_[i + 1] = begin_[i] + aligned(arrays.sizes[i]);
    }
    ptrdiff_t size() const { return begin_[arrays_.count]; }
    ptrdiff_t tasks() const { return ceil_div(size(), task_size); }

    // f(task, array, offset, n) for each span of one array in each task. `cost` in ns an element.
    template <class F>
    void for_spans(double cost, F&& f) const {
        parallel_for(tasks(), cost * double(size()), [&](ptrdiff_t first, ptrdiff_t last) {
            ptrdiff_t at = first * task_size, array = array_at(at);
            const ptrdiff_t end = min(last * task_size, size());
            while (at < end) {
                while (begin_[array + 1] <= at) ++array;
                const ptrdiff_t task = at / task_size, offset = at - begin_[array];
                const ptrdiff_t n = min(arrays_.sizes[array] - offset, (task + 1) * task_size - at);
                f(task, array, offset, n);
                at += aligned(n);
            }
        });
    }

private:
    static ptrdiff_t aligned(ptrdiff_t size) { return ceil_div(size, alignment) * alignment; }
    ptrdiff_t array_at(ptrdiff_t at) const {
        ptrdiff_t low = 0, high = arrays_.count;
        while (high - low > 1) {
            const ptrdiff_t middle = low + (high - low) / 2;
            (begin_[middle] <= at ? low : high) = middle;
        }
        return low;
    }
    const ArrayList& arrays_;
    Scratch<ptrdiff_t> begin_;
};

// Sums of tasks, which combine in the order of the tasks.
template <class Sum>
class TaskSums {
public:
    explicit TaskSums(ptrdiff_t tasks) : tasks_(tasks), sums_(tasks) {
        for (ptrdiff_t i = 0; i < tasks; ++i) sums_[i] = Sum();
    }
    void add(ptrdiff_t task, const Sum& terms) const { sums_[task].add(terms); }
    Sum total() const {
        Sum sum;
        for (ptrdiff_t i = 0; i < tasks_; ++i) sum.add(sums_[i]);
        return sum;
    }

private:
    ptrdiff_t tasks_;
    Scratch<Sum> sums_;
};

constexpr int weight_sums = 2;  // of |w|, of w^2
struct WeightSums {
    double of[weight_sums] = {};
    void add(const WeightSums& other) {
        for (int q = 0; q < weight_sums; ++q) of[q] += other.of[q];
    }
};
template <class T>
TRIMTAB_LOOP void sum_weights(const T* w, ptrdiff_t n, double (&sums)[weight_sums]) {
    reduce<double>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(w + i);
        acc[0] += v > -v ? v : -v;
        acc[1] = fma(v, v, acc[1]);
    });
}

// ---- update ----

enum { no_momentum, heavy_ball, nesterov, momentum_forms };
enum { no_penalty, l2_penalty, l1_penalty, penalties };  // l1_penalty: both

// A span of n elements. M stores the master weights: the parameters themselves, or copies of more precision.
template <class T, class M>
struct Span {
    T *w, *g;
    M *master, *v;
    ptrdiff_t n;
    bool first_step;
};
template <class T, class M>
using UpdateSpan = void (*)(const SgdUpdate&, const Span<T, M>&);
template <class T, class M>
UpdateSpan<T, M> update_for(int momentum, int penalty);
int momentum_form(const SgdUpdate& a);
int penalty_of(const SgdUpdate& a);

template <class T, class M>
void update(const SgdUpdate& a) {
    const int momentum = momentum_form(a);
    const UpdateSpan<T, M> with_decay = update_for<T, M>(momentum, penalty_of(a));
    const UpdateSpan<T, M> without_decay = update_for<T, M>(momentum, no_penalty);
    void* const* const masters = a.masters ? a.masters : a.weights.data;
    const ConcatenatedArrays arrays(a.weights);
    const TaskSums<WeightSums> of_weights(a.sums ? arrays.tasks() : 0);
    const TaskSums<SquareSum> of_gradients(a.sums ? arrays.tasks() : 0);
    arrays.for_spans(a.sums ? 0.4 : 0.15, [&](ptrdiff_t task, ptrdiff_t array, ptrdiff_t offset, ptrdiff_t n) {
        const Span<T, M> span{.w = static_cast<T*>(a.weights.data[array]) + offset,
                              .g = static_cast<T*>(a.gradients[array]) + offset,
                              .master = static_cast<M*>(masters[array]) + offset,
                              .v = a.velocities ? static_cast<M*>(a.velocities[array]) + offset : nullptr,
                              .n = n,
                              .first_step = a.first_step[array]};
        if (a.sums) {
            WeightSums terms;
            sum_weights(span.master, n, terms.of);
            of_weights.add(task, terms);
            of_gradients.add(task, sum_of_squares(span.g, n));
        }
        (!a.decays || a.decays[array] ? with_decay : without_decay)(a, span);
        if (a.zero_grad) __builtin_memset(span.g, 0, std::size_t(n) * sizeof(T));
    });
    if (!a.sums) return;
    const WeightSums total = of_weights.total();
    for (int q = 0; q < weight_sums; ++q) a.sums[q] = total.of[q];
    a.sums[weight_sums] = of_gradients.total().norm();
}

template <class T>
void sgd_update(const SgdUpdate& a) {
    if constexpr (sizeof(T) == 2)
        if (a.masters) return update<T, float>(a);
    update<T, T>(a);
}

template <class W>
TRIMTAB_INLINE Vector<W> all_lanes(double value) {
    return Vector<W>{} + W(value);
}

// Adds the gradient of a penalty to g.
template <int penalty, class W>
struct AddPenalty {
    Vector<W> l2, l1;
    explicit AddPenalty(const Decay& decay) : l2(all_lanes<W>(decay.l2)), l1(all_lanes<W>(decay.l1)) {}
    TRIMTAB_INLINE Vector<W> operator()(Vector<W> w, Vector<W> g) const {
        if constexpr (penalty >= l2_penalty) g = fma(l2, w, g);
        if constexpr (penalty == l1_penalty) {
            g += w > 0 ? l1 : Vector<W>{};
            g -= w < 0 ? l1 : Vector<W>{};
        }
        return g;
    }
};

template <class V>
TRIMTAB_INLINE V soft_threshold(V w, V threshold) {
    const V above = w < -threshold ? -threshold : w;
    return w - (above > threshold ? threshold : above);  // NaN stays
}

template <int momentum, int penalty, class T, class M>
TRIMTAB_LOOP void update_span(const SgdUpdate& a, const Span<T, M>& span) {
    using W = Work<T>;
    const auto [w, g, master, v, n, first_step] = span;
    const Vector<W> grad_scale = all_lanes<W>(a.grad_scale), minus_lr = all_lanes<W>(-a.lr);
    const Vector<W> kept = all_lanes<W>(a.momentum), added = all_lanes<W>(first_step ? 1 : 1 - a.dampening);
    const Vector<W> threshold = all_lanes<W>(a.threshold);
    const AddPenalty<penalty, W> coupled(a.coupled), decoupled(a.decoupled);
    if (momentum != no_momentum && first_step) sweep<W>(n, [&](ptrdiff_t i, auto at) { at.store(v + i, Vector<W>{}); });
    sweep<W>(n, [&](ptrdiff_t i, auto at) {
        Vector<W> weight = at.load(master + i);
        Vector<W> step = coupled(weight, grad_scale * at.load(g + i));
        if constexpr (momentum != no_momentum) {
            const Vector<W> velocity = fma(kept, at.load(v + i), added * step);
            at.store(v + i, velocity);
            step = momentum == nesterov ? fma(kept, velocity, step) : velocity;
        }
        weight = fma(minus_lr, decoupled(weight, step), weight);
        if constexpr (penalty == l1_penalty) weight = soft_threshold(weight, threshold);
        at.store(master + i, weight);
        if constexpr (!is_same<T, M>) at.store(w + i, weight);
    });
}

int momentum_form(const SgdUpdate& a) {
    if (!a.velocities) return no_momentum;
    return a.nesterov ? nesterov : heavy_ball;
}

int penalty_of(const SgdUpdate& a) {
    if (a.coupled.l1 != 0 || a.decoupled.l1 != 0 || a.threshold != 0) return l1_penalty;
    return a.coupled.l2 != 0 || a.decoupled.l2 != 0 ? l2_penalty : no_penalty;
}

template <class T, class M>
UpdateSpan<T, M> update_for(int momentum, int penalty) {
    UpdateSpan<T, M> update = nullptr;
    specialize<momentum_forms, penalties>([&](auto form, auto penalty_form) {
        update = update_span<form.value, penalty_form.value, T, M>;
    }, momentum, penalty);
    return update;
}

// ---- sums and scaling ----

template <class T>
void weight_norms(const SumOver& a) {
    const ConcatenatedArrays arrays(a.arrays);
    const TaskSums<WeightSums> sums(arrays.tasks());
    arrays.for_spans(0.2, [&](ptrdiff_t task, ptrdiff_t array, ptrdiff_t offset, ptrdiff_t n) {
        WeightSums terms;
        sum_weights(static_cast<const T*>(a.arrays.data[array]) + offset, n, terms.of);
        sums.add(task, terms);
    });
    const WeightSums total = sums.total();
    for (int q = 0; q < weight_sums; ++q) a.sums[q] = total.of[q];
}

template <class T>
void norm(const SumOver& a) {
    const ConcatenatedArrays arrays(a.arrays);
    const TaskSums<SquareSum> sums(arrays.tasks());
    arrays.for_spans(0.2, [&](ptrdiff_t task, ptrdiff_t array, ptrdiff_t offset, ptrdiff_t n) {
        sums.add(task, sum_of_squares(static_cast<const T*>(a.arrays.data[array]) + offset, n));
    });
    *a.sums = sums.total().norm();
}

template <class T>
TRIMTAB_LOOP void scale_span(T* x, ptrdiff_t n, Work<T> factor) {
    sweep<Work<T>>(n, [&](ptrdiff_t i, auto at) { at.store(x + i, at.load(x + i) * factor); });
}
template <class T>
TRIMTAB_LOOP void scale_span(T* x, ptrdiff_t n, double power_of_two, double factor) {
    sweep<double>(n, [&](ptrdiff_t i, auto at) { at.store(x + i, at.load(x + i) * power_of_two * factor); });
}
template <class T>
void scale(const Scale& a) {
    ConcatenatedArrays(a.arrays).for_spans(0.1, [&](ptrdiff_t, ptrdiff_t array, ptrdiff_t offset, ptrdiff_t n) {
        T* const x = static_cast<T*>(a.arrays.data[array]) + offset;
        a.power_of_two == 1 ? scale_span(x, n, Work<T>(a.factor)) : scale_span(x, n, a.power_of_two, a.factor);
    });
}
}  // namespace

TRIMTAB_EXPORT(SgdKernels, sgd) = {
    .update = TRIMTAB_EACH_DTYPE(sgd_update),
    .weight_norms = TRIMTAB_EACH_DTYPE(weight_norms),
    .norm = TRIMTAB_EACH_DTYPE(norm),
    .scale = TRIMTAB_EACH_DTYPE(scale),
};
}  // namespace trimtab
