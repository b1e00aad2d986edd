// Vectors of the target's native width. The only file with vector types or intrinsics.
//
// A kernel is written once, for every instruction set and storage type, as lambdas over vectors of a working type W
// (float or double):
//   sweep<W>(n, f)   f(i, at) at every vector of 0..n; `at` loads and stores: whole vectors, or the tail
// The bits do not depend on the instruction set: multiply-adds are fused everywhere, nothing is approximated, and sums have
// one order (kernels/sums.h).
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define TRIMTAB_INLINE inline __attribute__((always_inline))
// A loop of its own: everything it calls is inlined into it, and it is not inlined into its many callers.
#define TRIMTAB_LOOP __attribute__((noinline, noclone, flatten))

// Too long to stand in every loop.
#define TRIMTAB_OUTLINE inline __attribute__((noinline))

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

TRIMTAB_INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
TRIMTAB_INLINE ptrdiff_t most(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
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

// ---- what has no spelling in vector extensions, or none that compiles well ----
// larger(x, y) is x where that is NaN; y is a number other than 0.

#if defined(__AVX512F__)
TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return _mm512_castps512_ps256(v); }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return _mm512_extractf32x8_ps(v, 1); }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return _mm512_cvtps_pd(v); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return _mm512_cvtpd_ps(v); }
TRIMTAB_INLINE Doubles sqrt(Doubles v) { return _mm512_sqrt_pd(v); }
TRIMTAB_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
TRIMTAB_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm512_fmadd_pd(a, b, c); }
TRIMTAB_INLINE Floats larger(Floats x, Floats y) { return _mm512_max_ps(y, x); }
TRIMTAB_INLINE Doubles larger(Doubles x, Doubles y) { return _mm512_max_pd(y, x); }
TRIMTAB_INLINE Floats widen_half(HalfBits h) { return _mm512_cvtph_ps(__m256i(h)); }
TRIMTAB_INLINE HalfBits narrow_half(Floats v) { return HalfBits(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
TRIMTAB_INLINE Words multiply_halves(Words a, Words b) { return Words(_mm512_mul_epu32(__m512i(a), __m512i(b))); }
TRIMTAB_INLINE Words even_pairs(Words a, Words b) { return Words(_mm512_unpacklo_epi64(__m512i(a), __m512i(b))); }
TRIMTAB_INLINE Words odd_pairs(Words a, Words b) { return Words(_mm512_unpackhi_epi64(__m512i(a), __m512i(b))); }
TRIMTAB_INLINE void stream(char* p, Bytes v) { _mm512_stream_si512(reinterpret_cast<__m512i*>(p), __m512i(v)); }
TRIMTAB_INLINE uint64_t gather_bits(Bytes condition) { return _mm512_movepi8_mask(__m512i(condition)); }
#elif defined(__AVX2__)
TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return _mm256_castps256_ps128(v); }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return _mm256_extractf128_ps(v, 1); }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return _mm256_cvtps_pd(v); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return _mm256_cvtpd_ps(v); }
TRIMTAB_INLINE Doubles sqrt(Doubles v) { return _mm256_sqrt_pd(v); }
TRIMTAB_INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
TRIMTAB_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm256_fmadd_pd(a, b, c); }
TRIMTAB_INLINE Floats larger(Floats x, Floats y) { return _mm256_max_ps(y, x); }
TRIMTAB_INLINE Doubles larger(Doubles x, Doubles y) { return _mm256_max_pd(y, x); }
TRIMTAB_INLINE Floats widen_half(HalfBits h) { return _mm256_cvtph_ps(__m128i(h)); }
TRIMTAB_INLINE HalfBits narrow_half(Floats v) { return HalfBits(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
TRIMTAB_INLINE Words multiply_halves(Words a, Words b) { return Words(_mm256_mul_epu32(__m256i(a), __m256i(b))); }
TRIMTAB_INLINE Words even_pairs(Words a, Words b) { return Words(_mm256_unpacklo_epi64(__m256i(a), __m256i(b))); }
TRIMTAB_INLINE Words odd_pairs(Words a, Words b) { return Words(_mm256_unpackhi_epi64(__m256i(a), __m256i(b))); }
TRIMTAB_INLINE void stream(char* p, Bytes v) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), __m256i(v)); }
TRIMTAB_INLINE uint64_t gather_bits(Bytes condition) { return uint32_t(_mm256_movemask_epi8(__m256i(condition))); }
#elif defined(__aarch64__)
TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return HalfFloats(vget_low_f32(v)); }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return HalfFloats(vget_high_f32(v)); }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return Doubles(vcvt_f64_f32(v)); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return HalfFloats(vcvt_f32_f64(v)); }
TRIMTAB_INLINE Doubles sqrt(Doubles v) { return Doubles(vsqrtq_f64(v)); }
TRIMTAB_INLINE Floats fma(Floats a, Floats b, Floats c) { return Floats(vfmaq_f32(c, a, b)); }
TRIMTAB_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) { return Doubles(vfmaq_f64(c, a, b)); }
TRIMTAB_INLINE Floats larger(Floats x, Floats y) { return Floats(vmaxq_f32(x, y)); }
TRIMTAB_INLINE Doubles larger(Doubles x, Doubles y) { return Doubles(vmaxq_f64(x, y)); }
TRIMTAB_INLINE Floats widen_half(HalfBits h) { return Floats(vcvt_f32_f16(float16x4_t(h))); }
TRIMTAB_INLINE HalfBits narrow_half(Floats v) { return HalfBits(vcvt_f16_f32(v)); }
TRIMTAB_INLINE Words multiply_halves(Words a, Words b) {
    return Words(vmull_u32(vmovn_u64(uint64x2_t(a)), vmovn_u64(uint64x2_t(b))));
}
TRIMTAB_INLINE Words even_pairs(Words a, Words b) { return Words(vzip1q_u64(uint64x2_t(a), uint64x2_t(b))); }
TRIMTAB_INLINE Words odd_pairs(Words a, Words b) { return Words(vzip2q_u64(uint64x2_t(a), uint64x2_t(b))); }
TRIMTAB_INLINE void stream(char* p, Bytes v) { vst1q_u8(reinterpret_cast<uint8_t*>(p), uint8x16_t(v)); }
TRIMTAB_INLINE uint64_t gather_bits(Bytes condition) {
    const Bytes weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = uint8x16_t(condition & weights);
    return uint64_t(vaddv_u8(vget_low_u8(bits))) | uint64_t(vaddv_u8(vget_high_u8(bits))) << 8;
}
#else
TRIMTAB_INLINE HalfFloats lower_half(Floats v) { return HalfFloats{v[0], v[1]}; }
TRIMTAB_INLINE HalfFloats upper_half(Floats v) { return HalfFloats{v[2], v[3]}; }
TRIMTAB_INLINE Doubles widen_float(HalfFloats v) { return __builtin_convertvector(v, Doubles); }
TRIMTAB_INLINE HalfFloats narrow_double(Doubles v) { return __builtin_convertvector(v, HalfFloats); }
TRIMTAB_INLINE Doubles sqrt(Doubles v) {
    for (int i = 0; i < lanes<double>; ++i) v[i] = __builtin_sqrt(v[i]);
    return v;
}
TRIMTAB_INLINE Floats larger(Floats x, Floats y) { return y > x ? y : x; }
TRIMTAB_INLINE Doubles larger(Doubles x, Doubles y) { return y > x ? y : x; }
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
TRIMTAB_INLINE Words multiply_halves(Words a, Words b) { return (a & 0xffffffff) * (b & 0xffffffff); }
TRIMTAB_INLINE Words even_pairs(Words a, Words b) { return Words{a[0], b[0]}; }
TRIMTAB_INLINE Words odd_pairs(Words a, Words b) { return Words{a[1], b[1]}; }
TRIMTAB_INLINE void stream(char* p, Bytes v) {
#if defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), __m128i(v));
#else
    __builtin_memcpy(p, &v, sizeof v);
#endif
}
TRIMTAB_INLINE uint64_t gather_bits(Bytes condition) {
    const Words eights = bit_cast<Words>(condition) & 0x8040201008040201;  // byte i of eight: bit i
    return (eights[0] * 0x0101010101010101 >> 56) | (eights[1] * 0x0101010101010101 >> 56) << 8;
}
#endif

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

// ---- storage type T <-> vectors of the working type W ----

template <class T>
TRIMTAB_INLINE Floats widen16(HalfBits h) {
    if constexpr (is_same<T, half>) return widen_half(h);
    return bit_cast<Floats>(__builtin_convertvector(h, Bits) << 16);
}
template <class T>
TRIMTAB_INLINE HalfBits narrow16(Floats v) {
    if constexpr (is_same<T, half>) return narrow_half(v);
    const Bits bits = bit_cast<Bits>(v), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return __builtin_convertvector((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded, HalfBits);
}

template <class W, class T>
TRIMTAB_INLINE Vector<W> load(const T* p) {
    if constexpr (is_same<W, T>) {
        return load_unaligned<Vector<W>>(p);
    } else if constexpr (is_same<W, float>) {
        return widen16<T>(load_unaligned<HalfBits>(p));
    } else if constexpr (is_same<T, float>) {
        return widen_float(load_unaligned<HalfFloats>(p));
    } else {
        HalfBits bits = {};
        __builtin_memcpy(&bits, p, sizeof(T) * lanes<double>);
        return widen_float(lower_half(widen16<T>(bits)));
    }
}
template <class W, class T>
TRIMTAB_INLINE void store(T* p, Vector<W> v) {
    if constexpr (is_same<W, T>) {
        __builtin_memcpy(p, &v, sizeof v);
    } else if constexpr (is_same<W, float>) {
        const HalfBits bits = narrow16<T>(v);
        __builtin_memcpy(p, &bits, sizeof bits);
    } else if constexpr (is_same<T, float>) {
        const HalfFloats floats = narrow_double(v);
        __builtin_memcpy(p, &floats, sizeof floats);
    } else {
        Floats floats = {};
        store<double>(reinterpret_cast<float*>(&floats), v);
        const HalfBits bits = narrow16<T>(floats);
        __builtin_memcpy(p, &bits, sizeof(T) * lanes<double>);
    }
}

// In every lane. Minus zero, which leaves every value as it is and so costs nothing; plus zero would be an addition.
template <class W>
TRIMTAB_INLINE Vector<W> broadcast(W value) {
    return value - Vector<W>{};
}

// The first `count` of the elements that fill a register, or a part of one: in halves, or with a masked access in one
// step. A register loaded just after it was stored in pieces waits for them.
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
#if defined(__AVX512F__)
template <class T, int size>
TRIMTAB_INLINE void copy_in(T* to, const T* from, ptrdiff_t count) {
    const uint64_t bytes = (uint64_t(1) << count * int(sizeof(T))) - 1;
    if constexpr (size * sizeof(T) == 64)
        _mm512_storeu_si512(to, _mm512_maskz_loadu_epi8(bytes, from));
    else if constexpr (size * sizeof(T) == 32)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_loadu_epi8(__mmask32(bytes), from));
    else
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_maskz_loadu_epi8(__mmask16(bytes), from));
}
template <class T, int size>
TRIMTAB_INLINE void copy_out(T* to, const T* from, ptrdiff_t count) {
    const uint64_t bytes = (uint64_t(1) << count * int(sizeof(T))) - 1;
    if constexpr (size * sizeof(T) == 64)
        _mm512_mask_storeu_epi8(to, bytes, _mm512_loadu_si512(from));
    else if constexpr (size * sizeof(T) == 32)
        _mm256_mask_storeu_epi8(to, __mmask32(bytes), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    else
        _mm_mask_storeu_epi8(to, __mmask16(bytes), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
#else
template <class T, int size>
TRIMTAB_INLINE void copy_in(T* to, const T* from, ptrdiff_t count) {
#if defined(__AVX2__)
    if constexpr (sizeof(T) >= 4) {
        constexpr int words = size * int(sizeof(T)) / 4;
        typename VectorOf<int32_t, words>::type word;
        unroll<0, words>([&](int i) __attribute__((always_inline)) { word[i] = i; });
        const auto wanted = word < int(count) * int(sizeof(T) / 4);
        if constexpr (words == 8)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                                _mm256_maskload_epi32(reinterpret_cast<const int*>(from), __m256i(wanted)));
        else
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                             _mm_maskload_epi32(reinterpret_cast<const int*>(from), __m128i(wanted)));
        return;
    }
#endif
    copy_halves<T, size>(to, from, count);
}
template <class T, int size>
TRIMTAB_INLINE void copy_out(T* to, const T* from, ptrdiff_t count) {
    copy_halves<T, size>(to, from, count);
}
#endif

// Access to all lanes of a vector, and to the first `count` of them.
template <class W>
struct Whole {
    template <class T>
    TRIMTAB_INLINE Vector<W> load(const T* p) const {
        return trimtab::load<W>(p);
    }
    template <class T>
    TRIMTAB_INLINE void store(T* p, Vector<W> v) const {
        trimtab::store<W>(p, v);
    }
    TRIMTAB_INLINE Vector<W> keep(Vector<W> v, Vector<W> = Vector<W>{}) const { return v; }
    // p[i] += v[i], in double.
    TRIMTAB_INLINE void add(double* p, Vector<W> v) const {
        if constexpr (is_same<W, double>) {
            trimtab::store<double>(p, trimtab::load<double>(p) + v);
        } else {
            trimtab::store<double>(p, trimtab::load<double>(p) + widen_float(lower_half(v)));
            p += lanes<double>;
            trimtab::store<double>(p, trimtab::load<double>(p) + widen_float(upper_half(v)));
        }
    }
};
template <class W>
struct First {
    ptrdiff_t count;
    template <class T>
    TRIMTAB_INLINE Vector<W> load(const T* p) const {
        T whole[lanes<W>] = {};
        copy_in<T, lanes<W>>(whole, p, count);
        return trimtab::load<W>(whole);
    }
    template <class T>
    TRIMTAB_INLINE void store(T* p, Vector<W> v) const {
        T whole[lanes<W>];
        trimtab::store<W>(whole, v);
        copy_out<T, lanes<W>>(p, whole, count);
    }
    TRIMTAB_INLINE void add(double* p, Vector<W> v) const {
        for (ptrdiff_t i = 0; i < count; ++i) p[i] += double(v[i]);
    }
    // v, with the lanes beyond the first `count` from `others`.
    TRIMTAB_INLINE Vector<W> keep(Vector<W> v, Vector<W> others = Vector<W>{}) const {
        using Lanes = decltype(v == v);
        Lanes lane;
        unroll<0, lanes<W>>([&](int i) __attribute__((always_inline)) { lane[i] = i; });
        return lane < Lanes{} + int(count) ? v : others;
    }
};

template <class W, class F>
TRIMTAB_INLINE void sweep(ptrdiff_t n, F&& f) {
    ptrdiff_t i = 0;
    for (; i + lanes<W> <= n; i += lanes<W>) f(i, Whole<W>{});
    if (i < n) f(i, First<W>{n - i});
}

// The same without a partial access, whose store costs as much as several whole ones: the last vector overlaps the one
// before it. It is taken first and stored last, so that results may replace what they are made of. f stores once, to T.
template <class W, class T>
struct Ahead {
    T*& to;
    Vector<W>& result;
    template <class E>
    TRIMTAB_INLINE Vector<W> load(const E* p) const {
        return trimtab::load<W>(p);
    }
    TRIMTAB_INLINE void store(T* p, Vector<W> v) const {
        to = p;
        result = v;
    }
};
template <class W, class T, class F>
TRIMTAB_INLINE void sweep_overlapping(ptrdiff_t n, F&& f) {
    const ptrdiff_t whole = n - n % lanes<W>;
    if (whole == n || whole == 0) return sweep<W>(n, f);
    T* to;
    Vector<W> result;
    f(n - lanes<W>, Ahead<W, T>{to, result});
    for (ptrdiff_t i = 0; i < whole; i += lanes<W>) f(i, Whole<W>{});
    store<W>(to, result);
}

TRIMTAB_INLINE bool any(Longs condition) { return gather_bits(bit_cast<Bytes>(condition)) != 0; }

TRIMTAB_INLINE Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }

// Lane i of `yes` where bit i is set, of `no` elsewhere.
template <class W>
TRIMTAB_INLINE Vector<W> choose(uint32_t bits, Vector<W> yes, Vector<W> no) {
    using Lanes = decltype(yes == no);
    Lanes weights;
    unroll<0, lanes<W>>([&](int i) __attribute__((always_inline)) { weights[i] = 1 << i; });
    return ((Lanes{} + int(bits)) & weights) != 0 ? yes : no;
}

// A copy of which no cache keeps anything. A thread's copies are complete for others after its next atomic operation, as
// the one that takes or ends a task.
TRIMTAB_INLINE void copy_past_caches(void* to, const void* from, ptrdiff_t bytes) {
    constexpr ptrdiff_t line = 64;
    char* const target = static_cast<char*>(to);
    const char* const source = static_cast<const char*>(from);
    const ptrdiff_t head = least(bytes, ptrdiff_t(-reinterpret_cast<uintptr_t>(target) & (line - 1)));
    const ptrdiff_t whole = head + (bytes - head) / line * line;
    if (head > 0) __builtin_memcpy(target, source, size_t(head));
    for (ptrdiff_t i = head; i < whole; i += register_bytes) stream(target + i, load_unaligned<Bytes>(source + i));
    if (whole < bytes) __builtin_memcpy(target + whole, source + whole, size_t(bytes - whole));
}
}  // namespace
}  // namespace trimtab
