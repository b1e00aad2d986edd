// Activations y = f(x) of x (count,), and dx = dy * f'(x):
//   relu        y = max(x, 0)                       dx = dy * (y > 0)
//   leaky_relu  y = x, or slope * x for x <= 0      dx = dy, or slope * dy for y <= 0
//   sigmoid     y = 1 / (1 + exp(-x))               dx = dy * y * (1 - y)
//   tanh        y = tanh(x)                         dx = dy * (1 - y^2)
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
TRIMTAB_INLINE void map_backward(const ActivationBackward& a, const F& f) {
    for_tasks(a.count, 0.25, [&](ptrdiff_t first, ptrdiff_t n) {
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
}  // namespace

TRIMTAB_EXPORT(ActivationKernels, activation) = {
    .relu = TRIMTAB_EACH_DTYPE(relu_forward),
    .leaky_relu = TRIMTAB_EACH_DTYPE(leaky_relu_forward),
    .sigmoid = TRIMTAB_EACH_DTYPE(sigmoid_forward),
    .tanh = TRIMTAB_EACH_DTYPE(tanh_forward),
    .relu_backward = TRIMTAB_EACH_DTYPE(relu_backward),
    .leaky_relu_backward = TRIMTAB_EACH_DTYPE(leaky_relu_backward),
    .sigmoid_backward = TRIMTAB_EACH_DTYPE(sigmoid_backward),
    .tanh_backward = TRIMTAB_EACH_DTYPE(tanh_backward),
};
}  // namespace trimtab
