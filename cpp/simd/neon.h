// NEON (aarch64).
#pragma once
#include <arm_neon.h>

#include "vectors.h"

namespace trimtab {
namespace {  // internal linkage: code of one instruction set must never be merged with another's

TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return HalfFloats(vget_low_f32(v)); }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return HalfFloats(vget_high_f32(v)); }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return Doubles(vcvt_f64_f32(v)); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return HalfFloats(vcvt_f32_f64(v)); }
TRIMTAB_INLINE Floats sqrt(Floats v) { return Floats(vsqrtq_f32(v)); }
TRIMTAB_INLINE Doubles sqrt(Doubles v) { return Doubles(vsqrtq_f64(v)); }
TRIMTAB_INLINE Floats fma(Floats a, Floats b, Floats c) { return Floats(vfmaq_f32(c, a, b)); }
TRIMTAB_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) { return Doubles(vfmaq_f64(c, a, b)); }
TRIMTAB_INLINE Floats max(Floats x, Floats y) { return Floats(vmaxq_f32(x, y)); }
TRIMTAB_INLINE Doubles max(Doubles x, Doubles y) { return Doubles(vmaxq_f64(x, y)); }
TRIMTAB_INLINE Floats widen_half(HalfBits h) { return Floats(vcvt_f32_f16(float16x4_t(h))); }
TRIMTAB_INLINE HalfBits narrow_half(Floats v) { return HalfBits(vcvt_f16_f32(v)); }
TRIMTAB_INLINE Words mul_even(Words a, Words b) {
    return Words(vmull_u32(vmovn_u64(uint64x2_t(a)), vmovn_u64(uint64x2_t(b))));
}
TRIMTAB_INLINE Words interleave_even(Words a, Words b) { return Words(vzip1q_u64(uint64x2_t(a), uint64x2_t(b))); }
TRIMTAB_INLINE Words interleave_odd(Words a, Words b) { return Words(vzip2q_u64(uint64x2_t(a), uint64x2_t(b))); }
TRIMTAB_INLINE void stream(char* p, Bytes v) { vst1q_u8(reinterpret_cast<uint8_t*>(p), uint8x16_t(v)); }
TRIMTAB_INLINE uint64_t bits_from_mask(Bytes mask) {
    const Bytes weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = uint8x16_t(mask & weights);
    return uint64_t(vaddv_u8(vget_low_u8(bits))) | uint64_t(vaddv_u8(vget_high_u8(bits))) << 8;
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
