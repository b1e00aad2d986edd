// Activations y = f(x) of x (count,), and dx = dy * f'(x):
//   relu        y = max(x, 0)                       dx = dy * (y > 0)
//   leaky_relu  y = x, or slope * x for x <= 0      dx = dy, or slope * dy for y <= 0
//   sigmoid     y = 1 / (1 + exp(-x))               dx = dy * y * (1 - y)
//   tanh        y = tanh(x)                         dx = dy * (1 - y^2)
//   silu        y = x * p, p = 1 / (1 + exp(-x))    dx = dy * (p + x * p * (1 - p))
//   gelu        y = x * P(x), P the normal          dx = dy * (P(x) + x * P'(x))
//               distribution; approximate:
//               P(x) = 1 / (1 + exp(-u)), u = 2 sqrt(2 / pi) (x + 0.044715 x^3)
// Comparisons with NaN are false. They are written so that NaN is kept.
#include "elementary.h"
#include "elementwise.h"

namespace trimtab {
namespace {

// y = f(x). `cost` in ns an element.
template <class T, class F>
TRIMTAB_INLINE void map(const Activation& a, double cost, const F& f) {
    for_tasks(a.count, cost, [&](ptrdiff_t first, ptrdiff_t n) {
        const T* x = static_cast<const T*>(a.x) + first;
        T* y = static_cast<T*>(a.y) + first;
        sweep<Work<T>>(n, [&](ptrdiff_t i, auto at) { at.store(y + i, f(at.load(x + i))); });
    });
}

// dx = f(dy, y)
template <class T, class F>
TRIMTAB_INLINE void map_backward(const ActivationBackward& a, const F& f, double cost = 0.25) {
    for_tasks(a.count, cost, [&](ptrdiff_t first, ptrdiff_t n) {
        const T *dy = static_cast<const T*>(a.dy) + first, *y = static_cast<const T*>(a.y) + first;
        T* dx = static_cast<T*>(a.dx) + first;
        sweep<Work<T>>(n, [&](ptrdiff_t i, auto at) { at.store(dx + i, f(at.load(dy + i), at.load(y + i))); });
    });
}

template <class T>
void relu_forward(const Activation& a) {
    using V = Vector<Work<T>>;
    map<T>(a, 0.15, [](V x) { return x <= 0 ? V{} : x; });
}
template <class T>
void relu_backward(const ActivationBackward& a) {
    using V = Vector<Work<T>>;
    map_backward<T>(a, [](V dy, V y) { return y > 0 ? dy : V{}; });
}

template <class T>
void leaky_relu_forward(const Activation& a) {
    using V = Vector<Work<T>>;
    const V slope = V{} + Work<T>(a.slope);
    map<T>(a, 0.15, [=](V x) { return x > 0 ? x : x * slope; });
}
template <class T>
void leaky_relu_backward(const ActivationBackward& a) {
    using V = Vector<Work<T>>;
    const V slope = V{} + Work<T>(a.slope);
    map_backward<T>(a, [=](V dy, V y) { return y > 0 ? dy : dy * slope; });
}

template <class T>
void sigmoid_forward(const Activation& a) {
    using W = Work<T>;
    map<T>(a, 0.6, [](Vector<W> x) { return sigmoid<W>(x); });
}
template <class T>
void sigmoid_backward(const ActivationBackward& a) {
    using V = Vector<Work<T>>;
    map_backward<T>(a, [](V dy, V y) { return dy * (y * (1 - y)); });
}

template <class T>
void tanh_forward(const Activation& a) {
    using W = Work<T>;
    map<T>(a, 0.6, [](Vector<W> x) { return tanh<W>(x); });
}
template <class T>
void tanh_backward(const ActivationBackward& a) {
    using V = Vector<Work<T>>;
    map_backward<T>(a, [](V dy, V y) { return dy * fma(-y, y, V{} + 1); });
}

// Beyond +-far the distributions are 0 and 1, and infinity times 0 must not be NaN.
template <class W>
constexpr W far = is_same<W, float> ? 200 : 1600;
template <class W>
TRIMTAB_INLINE Vector<W> within(Vector<W> x, W limit) {
    const Vector<W> low = max(x, broadcast(-limit));
    return low > limit ? broadcast(limit) : low;
}

// A distribution P and x * P'(x).
template <class W>
struct Distribution {
    Vector<W> p, slope_times_x;
};
template <class W>
struct LogisticDistribution {
    TRIMTAB_INLINE Distribution<W> operator()(Vector<W> x) const {
        const Logistic<W> logistic(x);
        return {logistic.p, within<W>(x, far<W>) * logistic.slope};
    }
};
template <class W>
struct ApproximateNormal {
    TRIMTAB_INLINE Distribution<W> operator()(Vector<W> x) const {
        constexpr W linear = W(1.59576912160573071176), cubic = W(0.0713548162726002487763);
        const Vector<W> near = within<W>(x, Format<W>::tail_end), square = near * near;
        const Logistic<W> logistic(near * fma(square, broadcast(cubic), broadcast(linear)));
        const Vector<W> slope = fma(square, broadcast(3 * cubic), broadcast(linear));
        return {logistic.p, near * slope * logistic.slope};
    }
};

// y = x * P(x)
template <class T, template <class> class P>
TRIMTAB_INLINE void gate(const Activation& a, double cost) {
    using W = Work<T>;
    map<T>(a, cost, [](Vector<W> x) { return max(x, broadcast(-far<W>)) * P<W>()(x).p; });
}
// dx = dy * (P(x) + x * P'(x))
template <class T, template <class> class P>
TRIMTAB_INLINE void gate_backward(const ActivationBackward& a, double cost) {
    using W = Work<T>;
    map_backward<T>(a, [](Vector<W> dy, Vector<W> x) {
        const Distribution<W> at_x = P<W>()(x);
        return dy * (at_x.p + at_x.slope_times_x);
    }, cost);
}

template <class T>
void silu_forward(const Activation& a) {
    gate<T, LogisticDistribution>(a, 0.6);
}
template <class T>
void silu_backward(const ActivationBackward& a) {
    gate_backward<T, LogisticDistribution>(a, 0.7);
}

// -|x|, or the end of the tail of the normal distribution.
template <class W>
TRIMTAB_INLINE Vector<W> in_tail(Vector<W> x) {
    return max(minus_magnitude<W>(x), broadcast(-Format<W>::tail_end));
}
template <class T>
void gelu_forward(const Activation& a) {
    using W = Work<T>;
    if (a.approximate) return gate<T, ApproximateNormal>(a, 0.7);
    // max(x, 0) - |x| P(-|x|)
    map<T>(a, 0.6, [](Vector<W> x) {
        const Vector<W> z = in_tail<W>(x);
        const NormalTail<W> tail(z);
        return fma(tail.exponential, z * tail.quotient, max(x, broadcast(W(-0.0))));
    });
}
template <class T>
void gelu_backward(const ActivationBackward& a) {
    using W = Work<T>;
    if (a.approximate) return gate_backward<T, ApproximateNormal>(a, 0.8);
    // The slope at x, and 1 less that at -x, are equal.
    map_backward<T>(a, [](Vector<W> dy, Vector<W> x) {
        constexpr W height = W(0.39894228040143267794);  // 1 / sqrt(2 pi)
        const Vector<W> z = in_tail<W>(x);
        const NormalTail<W> tail(z);
        const Vector<W> slope = tail.exponential * fma(z, broadcast(height * Format<W>::unlift), tail.quotient);
        return dy * (x > 0 ? 1 - slope : slope);
    }, 0.7);
}
}  // namespace

TRIMTAB_EXPORT(ActivationKernels, activation) = {
    .relu = TRIMTAB_EACH_DTYPE(relu_forward),
    .leaky_relu = TRIMTAB_EACH_DTYPE(leaky_relu_forward),
    .sigmoid = TRIMTAB_EACH_DTYPE(sigmoid_forward),
    .tanh = TRIMTAB_EACH_DTYPE(tanh_forward),
    .silu = TRIMTAB_EACH_DTYPE(silu_forward),
    .gelu = TRIMTAB_EACH_DTYPE(gelu_forward),
    .relu_backward = TRIMTAB_EACH_DTYPE(relu_backward),
    .leaky_relu_backward = TRIMTAB_EACH_DTYPE(leaky_relu_backward),
    .sigmoid_backward = TRIMTAB_EACH_DTYPE(sigmoid_backward),
    .tanh_backward = TRIMTAB_EACH_DTYPE(tanh_backward),
    .silu_backward = TRIMTAB_EACH_DTYPE(silu_backward),
    .gelu_backward = TRIMTAB_EACH_DTYPE(gelu_backward),
};
}  // namespace trimtab
