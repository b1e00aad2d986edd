// Conversions between storage types, n values each:
//   widen   a parameter, such as gamma, to the working type or to double
//   narrow  sums, such as the gradients of parameters, from double to a storage type
//   fill    a constant parameter
#include "../parallel.h"
#include "../simd.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t values_per_task = 4096;

template <class From, class To>
void widen_all(const void* from, void* to, ptrdiff_t n) {
    const auto in = static_cast<const From*>(from);
    const auto out = static_cast<To*>(to);
    if constexpr (is_same<From, double> && is_same<To, float>)  // a parameter of more precision than its x
        for (ptrdiff_t i = 0; i < n; ++i) out[i] = float(in[i]);
    else
        sweep<To>(n, [&](ptrdiff_t i, auto at) { at.store(out + i, at.load(in + i)); });
}

template <class To>
void narrow_all(const double* from, void* to, ptrdiff_t n) {
    const auto out = static_cast<To*>(to);
    parallel_for(ceil_div(n, values_per_task), 0.3 * double(n), [=](ptrdiff_t begin, ptrdiff_t end) {
        const ptrdiff_t first = begin * values_per_task, stop = min(end * values_per_task, n);
        sweep<double>(stop - first,
                      [&](ptrdiff_t i, auto at) { at.store(out + first + i, at.load(from + first + i)); });
    });
}

template <class To>
void fill_all(void* to, double value, ptrdiff_t n) {
    const auto out = static_cast<To*>(to);
    for (ptrdiff_t i = 0; i < n; ++i) out[i] = To(value);
}
}  // namespace

TRIMTAB_EXPORT(ConvertKernels, convert) = {
    .widen = {{widen_all<float, float>, widen_all<float, double>},
              {widen_all<double, float>, widen_all<double, double>},
              {widen_all<half, float>, widen_all<half, double>},
              {widen_all<bfloat16, float>, widen_all<bfloat16, double>}},
    .narrow = TRIMTAB_EACH_DTYPE(narrow_all),
    .fill = {fill_all<float>, fill_all<double>},
};
}  // namespace trimtab
