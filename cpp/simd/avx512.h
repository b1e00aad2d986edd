// AVX-512 (x86-64-v4).
#pragma once
#include <immintrin.h>

#include "vectors.h"

namespace trimtab {
namespace {  // internal linkage: code of one instruction set must never be merged with another's

TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return _mm512_castps512_ps256(v); }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return _mm512_extractf32x8_ps(v, 1); }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return _mm512_cvtps_pd(v); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return _mm512_cvtpd_ps(v); }
TRIMTAB_INLINE Floats sqrt(Floats v) { return _mm512_sqrt_ps(v); }
TRIMTAB_INLINE Doubles sqrt(Doubles v) { return _mm512_sqrt_pd(v); }
TRIMTAB_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
TRIMTAB_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm512_fmadd_pd(a, b, c); }
TRIMTAB_INLINE Floats max(Floats x, Floats y) { return _mm512_max_ps(y, x); }
TRIMTAB_INLINE Doubles max(Doubles x, Doubles y) { return _mm512_max_pd(y, x); }
TRIMTAB_INLINE Floats widen_half(HalfBits h) { return _mm512_cvtph_ps(__m256i(h)); }
TRIMTAB_INLINE HalfBits narrow_half(Floats v) { return HalfBits(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
TRIMTAB_INLINE Words mul_even(Words a, Words b) { return Words(_mm512_mul_epu32(__m512i(a), __m512i(b))); }
TRIMTAB_INLINE Words interleave_even(Words a, Words b) { return Words(_mm512_unpacklo_epi64(__m512i(a), __m512i(b))); }
TRIMTAB_INLINE Words interleave_odd(Words a, Words b) { return Words(_mm512_unpackhi_epi64(__m512i(a), __m512i(b))); }
TRIMTAB_INLINE void stream(char* p, Bytes v) { _mm512_stream_si512(reinterpret_cast<__m512i*>(p), __m512i(v)); }
TRIMTAB_INLINE uint64_t bits_from_mask(Bytes mask) { return _mm512_movepi8_mask(__m512i(mask)); }

template <class T, int size>
TRIMTAB_INLINE void load_n(T* to, const T* from, ptrdiff_t count) {
    const uint64_t bytes = (uint64_t(1) << count * int(sizeof(T))) - 1;
    if constexpr (size * sizeof(T) == 64)
        _mm512_storeu_si512(to, _mm512_maskz_loadu_epi8(bytes, from));
    else if constexpr (size * sizeof(T) == 32)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_loadu_epi8(__mmask32(bytes), from));
    else
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_maskz_loadu_epi8(__mmask16(bytes), from));
}
template <class T, int size>
TRIMTAB_INLINE void store_n(T* to, const T* from, ptrdiff_t count) {
    const uint64_t bytes = (uint64_t(1) << count * int(sizeof(T))) - 1;
    if constexpr (size * sizeof(T) == 64)
        _mm512_mask_storeu_epi8(to, bytes, _mm512_loadu_si512(from));
    else if constexpr (size * sizeof(T) == 32)
        _mm256_mask_storeu_epi8(to, __mmask32(bytes), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    else
        _mm_mask_storeu_epi8(to, __mmask16(bytes), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
}  // namespace
}  // namespace trimtab
