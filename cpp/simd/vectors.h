// Types of vectors that fill a register of the target. Arithmetic and comparisons are operators of the compiler's
// vector extensions. The header of each instruction set has what these lack or compile badly:
//   lower_half, upper_half            halves of a vector
//   widen_float, narrow_double        float <-> double, of half a vector of floats
//   widen_half, narrow_half           float16 <-> float
//   fma(a, b, c)                      a * b + c, rounded once
//   sqrt(v)
//   max(x, y)                         x where x is NaN; y is a number other than 0, or -0
//   mul_even(a, b)                    products of the even 32-bit lanes, in 64 bits
//   interleave_even, interleave_odd   (a, b): pairs of the even, the odd 64-bit lanes of a and b
//   bits_from_mask(mask)              bit i is set where byte i of the mask is
//   stream(p, v)                      streaming (non-temporal) store: leaves nothing in the caches; p is aligned
//   load_n(to, from, n)               the first n of the `size` elements that fill a register, or part of one, from memory
//   store_n(to, from, n)              the same to memory
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "../kernels.h"

#define TRIMTAB_INLINE inline __attribute__((always_inline))
// The same for a lambda: after its parameters.
#define TRIMTAB_INLINE_LAMBDA __attribute__((always_inline))
// A loop that is compiled once: everything it calls is inlined into it, and it is inlined into none of its callers.
#define TRIMTAB_LOOP __attribute__((noinline, noclone, flatten))
// Too long to be inlined into every loop.
#define TRIMTAB_OUTLINE inline __attribute__((noinline))
// Rarely called, so compiled for size.
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
// As many as Doubles has lanes:
using HalfFloats = VectorOf<float, lanes<double>>::type;
using QuarterBits = VectorOf<uint16_t, lanes<double>>::type;

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

// The first lanes of a vector, or all of them and further ones that are undefined. They stay in registers: by way of
// memory, a load would wait for a shorter store.
template <class To, class From>
TRIMTAB_INLINE To resize(From v) {
    constexpr int to = sizeof(To) / sizeof(v[0]), from = sizeof(From) / sizeof(v[0]);
    return [&]<int... lane>(std::integer_sequence<int, lane...>) TRIMTAB_INLINE_LAMBDA {
        return __builtin_shufflevector(v, v, (lane < from ? lane : -1)...);
    }(std::make_integer_sequence<int, to>{});
}

// ---- loops unrolled by the compiler ----

template <int n>
struct Constant {
    static constexpr int value = n;
    constexpr operator int() const { return n; }
};
template <int begin, int end, class F>
TRIMTAB_INLINE void unroll(F&& f) {
#ifdef __OPTIMIZE_SIZE__
    for (int i = begin; i < end; ++i) f(i);
#else
    if constexpr (begin < end) {
        f(begin);
        unroll<begin + 1, end>(f);
    }
#endif
}

// f(Constant<size>{}), f(Constant<size / 2>{}) ... down to 2.
template <int size, class F>
TRIMTAB_INLINE void unroll_halves(F&& f) {
    if constexpr (size > 1) {
        f(Constant<size>{});
        unroll_halves<size / 2>(f);
    }
}

// Copies count < size elements where there are no masked loads and stores: size / 2 of them, size / 4, and so on. A
// load of a register stalls where its bytes were just stored one element at a time.
template <class T, int size>
TRIMTAB_INLINE void copy_halves(T* to, const T* from, ptrdiff_t count) {
    unroll_halves<size>([&](auto whole) TRIMTAB_INLINE_LAMBDA {
        constexpr int half = decltype(whole)::value / 2;
        if (count & half) {
            __builtin_memcpy(to, from, half * sizeof(T));
            to += half, from += half;
        }
    });
}
}  // namespace
}  // namespace trimtab
