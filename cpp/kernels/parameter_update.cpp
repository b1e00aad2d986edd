// The update of parameters by an optimizer, in one pass over memory. Also: sums of |w| and w^2, the norm of all gradients,
// and their multiplication by a factor. Each element is updated by itself, so its bits depend on nothing else.
#include "concatenated_arrays.h"
#include "norms.h"
#include "optimizers.h"
#include "specialize.h"

namespace trimtab {
namespace {

constexpr int weight_sums = 2;  // of |w|, of w^2
struct WeightSums {
    double of[weight_sums] = {};
    void add(const WeightSums& other) {
        for (int q = 0; q < weight_sums; ++q) of[q] += other.of[q];
    }
};
template <class T>
TRIMTAB_LOOP void sum_weights(const T* w, ptrdiff_t n, double power_of_two, double (&sums)[weight_sums]) {
    reduce<double>(n, sums, [&](ptrdiff_t i, auto at, auto& acc) {
        const Doubles v = at.load(w + i) * power_of_two;
        acc[0] += v > -v ? v : -v;
        acc[1] = fma(v, v, acc[1]);
    });
}

// ---- update ----

// update_span(array, span, penalty) for each span of an array in each task. `cost` in ns an element.
template <class T, class M, class UpdateSpan>
void update_parameters(const ParameterUpdate& a, double cost, const UpdateSpan& update_span) {
    const int penalty = penalty_of(a);
    void* const* const masters = a.masters ? a.masters : a.weights.data;
    const ConcatenatedArrays arrays(a.weights);
    const TaskSums<WeightSums> of_weights(a.sums ? arrays.tasks() : 0);
    const TaskSums<SquareSum> of_gradients(a.sums ? arrays.tasks() : 0);
    arrays.for_spans(cost + (a.sums ? 0.25 : 0), [&](ptrdiff_t task, ptrdiff_t array, ptrdiff_t offset, ptrdiff_t n) {
        const Span<T, M> span{.w = static_cast<T*>(a.weights.data[array]) + offset,
                              .g = static_cast<T*>(a.gradients[array]) + offset,
                              .master = static_cast<M*>(masters[array]) + offset,
                              .array = array,
                              .offset = offset,
                              .n = n};
        if (a.sums) {
            WeightSums terms;
            sum_weights(span.master, n, 1, terms.of);
            of_weights.add(task, terms);
            of_gradients.add(task, sum_of_squares(span.g, n));
        }
        update_span(span, !a.decays || a.decays[array] ? penalty : no_penalty);
        if (a.zero_grad) __builtin_memset(span.g, 0, std::size_t(n) * sizeof(T));
    });
    if (!a.sums) return;
    const WeightSums total = of_weights.total();
    for (int q = 0; q < weight_sums; ++q) a.sums[q] = total.of[q];
    a.sums[weight_sums] = of_gradients.total().norm();
}

template <class T, class M>
void sgd(const SgdUpdate& a) {
    const int momentum = momentum_form(a);
    update_parameters<T, M>(a.update, 0.15, [&](const Span<T, M>& span, int penalty) {
        specialize<momentum_forms, penalties>([&](auto form, auto penalty_form) {
            update_span<form.value, penalty_form.value>(a, span);
        }, momentum, penalty);
    });
}

template <class T, class M>
void adam(const AdamUpdate& a) {
    update_parameters<T, M>(a.update, 0.4, [&](const Span<T, M>& span, int penalty) { update_span(a, span, penalty); });
}

template <class T>
void sgd_update(const SgdUpdate& a) {
    if constexpr (sizeof(T) == 2)
        if (a.update.masters) return sgd<T, float>(a);
    sgd<T, T>(a);
}

template <class T>
void adam_update(const AdamUpdate& a) {
    if constexpr (sizeof(T) == 2)
        if (a.update.masters) return adam<T, float>(a);
    adam<T, T>(a);
}

// ---- sums and scaling ----

template <class T>
void weight_norms(const SumOver& a) {
    const ConcatenatedArrays arrays(a.arrays);
    const TaskSums<WeightSums> sums(arrays.tasks());
    arrays.for_spans(0.2, [&](ptrdiff_t task, ptrdiff_t array, ptrdiff_t offset, ptrdiff_t n) {
        WeightSums terms;
        sum_weights(static_cast<const T*>(a.arrays.data[array]) + offset, n, a.power_of_two, terms.of);
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
    const SquareSum total = sums.total();
    a.sums[0] = __builtin_sqrt(total.sum);
    a.sums[1] = power_of_two(total.exponent);
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

TRIMTAB_EXPORT(ParameterUpdateKernels, parameter_update) = {
    .sgd = TRIMTAB_EACH_DTYPE(sgd_update),
    .adam = TRIMTAB_EACH_DTYPE(adam_update),
    .weight_norms = TRIMTAB_EACH_DTYPE(weight_norms),
    .norm = TRIMTAB_EACH_DTYPE(norm),
    .scale = TRIMTAB_EACH_DTYPE(scale),
};
}  // namespace trimtab
