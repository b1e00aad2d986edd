// AVX2 and FMA (x86-64-v3).
#pragma once
#include <immintrin.h>

#include "vectors.h"

namespace trimtab {
namespace {  // internal linkage: code of one instruction set must never be merged with another's

TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return _mm256_castps256_ps128(v); }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return _mm256_extractf128_ps(v, 1); }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return _mm256_cvtps_pd(v); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return _mm256_cvtpd_ps(v); }
TRIMTAB_INLINE Floats sqrt(Floats v) { return _mm256_sqrt_ps(v); }
TRIMTAB_INLINE Doubles sqrt(Doubles v) { return _mm256_sqrt_pd(v); }
TRIMTAB_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
TRIMTAB_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm256_fmadd_pd(a, b, c); }
TRIMTAB_INLINE Floats max(Floats x, Floats y) { return _mm256_max_ps(y, x); }
TRIMTAB_INLINE Doubles max(Doubles x, Doubles y) { return _mm256_max_pd(y, x); }
TRIMTAB_INLINE Floats widen_half(HalfBits h) { return _mm256_cvtph_ps(__m128i(h)); }
TRIMTAB_INLINE HalfBits narrow_half(Floats v) { return HalfBits(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
TRIMTAB_INLINE Words mul_even(Words a, Words b) { return Words(_mm256_mul_epu32(__m256i(a), __m256i(b))); }
TRIMTAB_INLINE Words interleave_even(Words a, Words b) { return Words(_mm256_unpacklo_epi64(__m256i(a), __m256i(b))); }
TRIMTAB_INLINE Words interleave_odd(Words a, Words b) { return Words(_mm256_unpackhi_epi64(__m256i(a), __m256i(b))); }
TRIMTAB_INLINE void stream(char* p, Bytes v) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), __m256i(v)); }
TRIMTAB_INLINE uint64_t bits_from_mask(Bytes mask) { return uint32_t(_mm256_movemask_epi8(__m256i(mask))); }

template <class T, int size>
TRIMTAB_INLINE void load_n(T* to, const T* from, ptrdiff_t count) {
    if constexpr (sizeof(T) >= 4) {
        constexpr int words = size * int(sizeof(T)) / 4;
        typename VectorOf<int32_t, words>::type word;
        unroll<0, words>([&](int i) TRIMTAB_INLINE_LAMBDA { word[i] = i; });
        const auto wanted = word < int(count) * int(sizeof(T) / 4);
        if constexpr (words == 8)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                                _mm256_maskload_epi32(reinterpret_cast<const int*>(from), __m256i(wanted)));
        else
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                             _mm_maskload_epi32(reinterpret_cast<const int*>(from), __m128i(wanted)));
        return;
    }
    copy_halves<T, size>(to, from, count);
}
template <class T, int size>
TRIMTAB_INLINE void store_n(T* to, const T* from, ptrdiff_t count) {
    copy_halves<T, size>(to, from, count);
}
}  // namespace
}  // namespace trimtab
