// The update of a weight w from its gradient g, by stochastic gradient descent or Adam:
//   g = grad_scale * g + coupled.l2 * w + coupled.l1 * sign(w)
//   step made of g by the optimizer, which keeps state in buffers
//   w = w - rate * (step + decoupled.l2 * w + decoupled.l1 * sign(w))
//   w = sign(w) * max(|w| - threshold, 0)
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

// n elements of an array, from the element `offset` on. M stores the master weights: the parameters themselves, or
// copies of more precision. The buffers of an optimizer have the type M.
template <class T, class M>
struct Span {
    T *w, *g;
    M* master;
    ptrdiff_t array, offset, n;
    M* buffer(void* const* buffers) const { return buffers ? static_cast<M*>(buffers[array]) + offset : nullptr; }
};

template <class W>
TRIMTAB_INLINE Vector<W> all_lanes(double value) {
    return Vector<W>{} + W(value);
}

// ---- penalties ----

enum { no_penalty, l2_penalty, l1_penalty, penalties };  // l1_penalty: both

int penalty_of(const ParameterUpdate& a) {
    if (a.coupled.l1 != 0 || a.decoupled.l1 != 0 || a.threshold != 0) return l1_penalty;
    return a.coupled.l2 != 0 || a.decoupled.l2 != 0 ? l2_penalty : no_penalty;
}

// Adds the gradient of a penalty to g. Penalty: a Constant, or an int for one loop with a branch.
template <class Penalty, class W>
struct AddPenalty {
    Penalty penalty;
    Vector<W> l2, l1;
    AddPenalty(Penalty penalty, const Decay& decay)
        : penalty(penalty), l2(all_lanes<W>(decay.l2)), l1(all_lanes<W>(decay.l1)) {}
    TRIMTAB_INLINE Vector<W> operator()(Vector<W> w, Vector<W> g) const {
        if (penalty >= l2_penalty) g = fma(l2, w, g);
        if (penalty == l1_penalty) {
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

// ---- the loop of every optimizer ----

// make_step(i, at, g) is the step of elements i.. from their gradient.
template <class T, class M, class Penalty, class MakeStep>
TRIMTAB_INLINE void update_weights(const ParameterUpdate& a, const Span<T, M>& span, Penalty penalty,
                                   const MakeStep& make_step) {
    using W = Work<T>;
    const auto w = span.w, g = span.g;
    const auto master = span.master;
    const Vector<W> grad_scale = all_lanes<W>(a.grad_scale), minus_rate = all_lanes<W>(-a.rate);
    const Vector<W> threshold = all_lanes<W>(a.threshold);
    const AddPenalty<Penalty, W> coupled(penalty, a.coupled), decoupled(penalty, a.decoupled);
    sweep<W>(span.n, [&](ptrdiff_t i, auto at) {
        Vector<W> weight = at.load(master + i);
        const Vector<W> step = make_step(i, at, coupled(weight, grad_scale * at.load(g + i)));
        weight = fma(minus_rate, decoupled(weight, step), weight);
        if (penalty == l1_penalty) weight = soft_threshold(weight, threshold);
        at.store(master + i, weight);
        if constexpr (!is_same<T, M>) at.store(w + i, weight);
    });
}

// ---- stochastic gradient descent: the velocity v ----
//   v    = momentum * v + (1 - dampening) * g, or v = g at the first step
//   step = v, or momentum * v + g (Nesterov); without momentum there is no v, and step = g

enum { no_momentum, heavy_ball, nesterov, momentum_forms };

int momentum_form(const SgdUpdate& a) {
    if (!a.velocities) return no_momentum;
    return a.nesterov ? nesterov : heavy_ball;
}

template <int momentum, int penalty, class T, class M>
TRIMTAB_LOOP void update_span(const SgdUpdate& a, const Span<T, M>& span) {
    using W = Work<T>;
    const auto v = span.buffer(a.velocities);
    const bool first_step = a.first_step[span.array];
    const Vector<W> kept = all_lanes<W>(a.momentum), added = all_lanes<W>(first_step ? 1 : 1 - a.dampening);
    if (momentum != no_momentum && first_step)
        sweep<W>(span.n, [&](ptrdiff_t i, auto at) { at.store(v + i, Vector<W>{}); });
    update_weights(a.update, span, Constant<penalty>(), [&](ptrdiff_t i, auto at, Vector<W> g) {
        if constexpr (momentum == no_momentum) return g;
        const Vector<W> velocity = fma(kept, at.load(v + i), added * g);
        at.store(v + i, velocity);
        return momentum == nesterov ? fma(kept, velocity, g) : velocity;
    });
}

// ---- Adam: the averages m of g and v of g^2, and u, the largest v so far (amsgrad; else u = v) ----
//   m    = m + (1 - beta1) * (g - m)
//   v    = beta2 * v + (1 - beta2) * g^2
//   step = step_size * m / (sqrt(u) / root_correction + eps)

// Below it, the denominator is taken for it: the root of the smallest normal number. With eps = 0, steps from squares
// that underflow are then bounded, and those of weights that never had a gradient are 0 instead of 0 / 0.
template <class W>
constexpr double smallest_denominator = is_same<W, float> ? 0x1p-63 : 0x1p-511;

template <class T, class M>
TRIMTAB_LOOP void update_span(const AdamUpdate& a, const Span<T, M>& span, int penalty) {
    using W = Work<T>;
    const auto m = span.buffer(a.averages), v = span.buffer(a.squares), u = span.buffer(a.largest_squares);
    // From the nearer end, so that beta1 = 0 gives g itself. The difference of m and g could overflow, its half cannot.
    const double way = 1 - a.beta1;
    const bool from_average = way < 0.5;
    const Vector<W> half = all_lanes<W>(0.5), twice_way = all_lanes<W>(2 * (from_average ? way : way - 1));
    const Vector<W> kept = all_lanes<W>(a.beta2), added = all_lanes<W>(1 - a.beta2);
    const Vector<W> step_size = all_lanes<W>(a.step_size), root_correction = all_lanes<W>(a.root_correction);
    const Vector<W> eps = all_lanes<W>(a.eps), smallest = all_lanes<W>(smallest_denominator<W>);
    update_weights(a.update, span, penalty, [&](ptrdiff_t i, auto at, Vector<W> g) {
        Vector<W> average = at.load(m + i);
        average = fma(twice_way, half * g - half * average, from_average ? average : g);
        at.store(m + i, average);
        Vector<W> square = fma(added * g, g, kept * at.load(v + i));
        at.store(v + i, square);
        if (u) {
            const Vector<W> before = at.load(u + i);
            const Vector<W> larger = square > before ? square : before;
            square = square == square ? larger : square;  // NaN of either stays
            at.store(u + i, square);
        }
        return step_size * average / max(sqrt(square) / root_correction + eps, smallest);
    });
}
}  // namespace
}  // namespace trimtab
