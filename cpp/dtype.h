// The storage types of arrays, and the types that kernels compute in.
#pragma once
#include <cstddef>
#include <cstdint>

namespace trimtab {

using std::ptrdiff_t;

struct half {
    uint16_t bits;
};
struct bfloat16 {
    uint16_t bits;
};

enum class DType { float32, float64, float16, bfloat16 };
constexpr int dtype_count = 4;

template <class A, class B>
constexpr bool is_same = false;
template <class A>
constexpr bool is_same<A, A> = true;

template <class T>
struct WorkOf {
    using type = float;
};
template <>
struct WorkOf<double> {
    using type = double;
};
template <class T>
using Work = typename WorkOf<T>::type;
}  // namespace trimtab
