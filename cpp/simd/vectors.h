// Vectors of the target's native width, as types. What has no spelling in vector extensions, or none that compiles well, is
// in the header of each instruction set:
//   lower_half, upper_half, widen_float, narrow_double, widen_half, narrow_half
//   fma, sqrt, larger(x, y): x where that is NaN; y is a number other than 0
//   multiply_halves, even_pairs, odd_pairs, gather_bits
//   stream           a store that leaves nothing in the caches
//   copy_in/copy_out the first `count` of the elements that fill a register, or a part of one, into one and out of it
#pragma once
#include <cstddef>
#include <cstdint>

#include "../kernels.h"

#define TRIMTAB_INLINE inline __attribute__((always_inline))
// A loop of its own: everything it calls is inlined into it, and it is not inlined into its many callers.
#define TRIMTAB_LOOP __attribute__((noinline, noclone, flatten))

// Too long to stand in every loop.
#define TRIMTAB_OUTLINE inline __attribute__((noinline))
// What seldom happens, compiled for size.
#define TRIMTAB_COLD inline __attribute__((noinline, cold))

namespace trimtab {
namespace {  // internal linkage: code of one instruction set must never be merged with another's

#if defined(__AVX512F__)
constexpr int register_bytes = 64, register_count = 32;
#elif defined(__AVX2__)
constexpr int register_bytes = 32, register_count = 16;
#elif defined(__aarch64__)
constexpr int register_bytes = 16, register_count = 32;
#else
constexpr int register_bytes = 16, register_count = 16;
#endif

TRIMTAB_INLINE ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
TRIMTAB_INLINE ptrdiff_t max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
TRIMTAB_INLINE ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

template <class E, int count>
struct VectorOf {
    typedef E type __attribute__((vector_size(count * sizeof(E))));
};
template <class W>
constexpr int lanes = register_bytes / int(sizeof(W));
template <class W>
using Vector = typename VectorOf<W, lanes<W>>::type;
template <class V>
using Element = __typeof__(V{}[0]);

using Floats = Vector<float>;
using Doubles = Vector<double>;
using Bits = Vector<uint32_t>;
using Ints = Vector<int32_t>;
using Bytes = Vector<uint8_t>;
using Words = Vector<uint64_t>;
using Longs = Vector<int64_t>;
using HalfBits = VectorOf<uint16_t, lanes<float>>::type;
using HalfFloats = VectorOf<float, lanes<double>>::type;  // as many floats as Doubles has lanes

template <class To, class From>
TRIMTAB_INLINE To bit_cast(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

template <class V>
TRIMTAB_INLINE V load_unaligned(const void* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

// ---- loops unrolled by the compiler ----

template <int n>
struct Constant {
    static constexpr int value = n;
};
template <int begin, int end, class F>
TRIMTAB_INLINE void unroll(F&& f) {
    if constexpr (begin < end) {
        f(begin);
        unroll<begin + 1, end>(f);
    }
}

// f(Constant<size>{}), f(Constant<size / 2>{}) ... down to 2.
template <int size, class F>
TRIMTAB_INLINE void unroll_halves(F&& f) {
    if constexpr (size > 1) {
        f(Constant<size>{});
        unroll_halves<size / 2>(f);
    }
}

// A part of a register, where there are no masked accesses: in halves. A register loaded just after it was stored in many
// pieces waits for them.
template <class T, int size>
TRIMTAB_INLINE void copy_halves(T* to, const T* from, ptrdiff_t count) {
    unroll_halves<size>([&](auto part) __attribute__((always_inline)) {
        constexpr int half = decltype(part)::value / 2;
        if (count & half) {
            __builtin_memcpy(to, from, half * sizeof(T));
            to += half, from += half;
        }
    });
}
}  // namespace
}  // namespace trimtab
