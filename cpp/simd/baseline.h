// No more than the compiler takes for granted: SSE2 on x86-64.
#pragma once
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "vectors.h"

namespace trimtab {
namespace {  // internal linkage: code of one instruction set must never be merged with another's

TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return HalfFloats{v[0], v[1]}; }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return HalfFloats{v[2], v[3]}; }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return __builtin_convertvector(v, Doubles); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return __builtin_convertvector(v, HalfFloats); }
TRIMTAB_INLINE Floats sqrt(Floats v) {
    for (int i = 0; i < lanes<float>; ++i) v[i] = __builtin_sqrtf(v[i]);
    return v;
}
TRIMTAB_INLINE Doubles sqrt(Doubles v) {
    for (int i = 0; i < lanes<double>; ++i) v[i] = __builtin_sqrt(v[i]);
    return v;
}
TRIMTAB_INLINE Floats max(Floats x, Floats y) { return y > x ? y : x; }
TRIMTAB_INLINE Doubles max(Doubles x, Doubles y) { return y > x ? y : x; }
// Without the instruction: the product of two floats is exact in double, and the sum there is rounded to odd (the last
// bit set if anything was lost), so that the rounding to float is the only one that counts.
TRIMTAB_OUTLINE Floats fma(Floats a, Floats b, Floats c) {
    using Wide = VectorOf<double, lanes<float>>::type;
    using WideBits = VectorOf<int64_t, lanes<float>>::type;
    const Wide product = __builtin_convertvector(a, Wide) * __builtin_convertvector(b, Wide);
    const Wide addend = __builtin_convertvector(c, Wide);
    const Wide sum = product + addend, part = sum - product;
    const Wide lost = (product - (sum - part)) + (addend - part);  // exact: the two-sum of Knuth
    const WideBits bits = bit_cast<WideBits>(sum);
    const WideBits inexact = ((lost < 0) | (lost > 0)) & ((bits & 1) == 0);
    const WideBits odd = ((lost > 0) == (sum > 0)) ? bits + 1 : bits - 1;
    return __builtin_convertvector(bit_cast<Wide>(inexact ? odd : bits), Floats);
}
TRIMTAB_OUTLINE Doubles fma(Doubles a, Doubles b, Doubles c) {
    for (int i = 0; i < lanes<double>; ++i) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
}
TRIMTAB_OUTLINE Floats widen_half(HalfBits h) {
    const Bits bits = __builtin_convertvector(h, Bits), magnitude = (bits & 0x7fff) << 13;
    const Bits finite = bit_cast<Bits>(bit_cast<Floats>(magnitude) * 0x1p112f);
    const Bits quiet = (magnitude > 0x0f800000) & 0x400000;
    const Bits wide = magnitude >= 0x0f800000 ? magnitude | 0x7f800000 | quiet : finite;
    return bit_cast<Floats>(wide | (bits & 0x8000) << 16);
}
TRIMTAB_OUTLINE HalfBits narrow_half(Floats v) {
    const Bits bits = bit_cast<Bits>(v), magnitude = bits & 0x7fffffff;
    const Bits normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    const Bits subnormal = bit_cast<Bits>(bit_cast<Floats>(magnitude) + 0.5f) - 0x3f000000;
    const Bits finite = magnitude < 0x38800000 ? subnormal : normal;
    const Bits bounded = magnitude >= 0x477ff000 ? Bits{} + 0x7c00 : finite;
    const Bits nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
    return __builtin_convertvector((magnitude > 0x7f800000 ? nan : bounded) | (bits >> 16 & 0x8000), HalfBits);
}
TRIMTAB_INLINE Words mul_even(Words a, Words b) { return (a & 0xffffffff) * (b & 0xffffffff); }
TRIMTAB_INLINE Words interleave_even(Words a, Words b) { return Words{a[0], b[0]}; }
TRIMTAB_INLINE Words interleave_odd(Words a, Words b) { return Words{a[1], b[1]}; }
TRIMTAB_INLINE void stream(char* p, Bytes v) {
#if defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), __m128i(v));
#else
    __builtin_memcpy(p, &v, sizeof v);
#endif
}
TRIMTAB_INLINE uint64_t bits_from_mask(Bytes mask) {
    const Words eights = bit_cast<Words>(mask) & 0x8040201008040201;  // byte i of eight: bit i
    return (eights[0] * 0x0101010101010101 >> 56) | (eights[1] * 0x0101010101010101 >> 56) << 8;
}

template <class T, int size>
TRIMTAB_INLINE void load_n(T* to, const T* from, ptrdiff_t count) {
    copy_halves<T, size>(to, from, count);
}
template <class T, int size>
TRIMTAB_INLINE void store_n(T* to, const T* from, ptrdiff_t count) {
    copy_halves<T, size>(to, from, count);
}
}  // namespace
}  // namespace trimtab
