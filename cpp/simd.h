// Vectors, whatever the instruction set: simd/ alone has vector types and intrinsics.
//
// A kernel is written once, for every instruction set and storage type, as lambdas over vectors of a working type W
// (float or double):
//   sweep<W>(n, f)   f(i, at) at every vector of 0..n; `at` loads and stores: whole vectors, or the tail
//   sweep<W>(n, f, where)  the same for arrays, at.input() and at.output(), that the caches do not hold
// The bits do not depend on the instruction set: multiply-adds are fused everywhere, nothing is approximated, and sums have
// one order (kernels/sums.h).
#pragma once
#if defined(__AVX512F__)
#include "simd/avx512.h"
#elif defined(__AVX2__)
#include "simd/avx2.h"
#elif defined(__aarch64__)
#include "simd/neon.h"
#else
#include "simd/baseline.h"
#endif

namespace trimtab {
namespace {

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

// Access to all lanes of a vector, and to the first `count` of them. input() and output() belong to what a pass over
// arrays reads and writes once.
template <class W>
struct WholeVector {
    template <class T>
    TRIMTAB_INLINE Vector<W> input(const T* p) const {
        return trimtab::load<W>(p);
    }
    template <class T>
    TRIMTAB_INLINE void output(T* p, Vector<W> v) const {
        trimtab::store<W>(p, v);
    }
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
struct FirstLanes {
    ptrdiff_t count;
    template <class T>
    TRIMTAB_INLINE Vector<W> input(const T* p) const {
        return load(p);
    }
    template <class T>
    TRIMTAB_INLINE void output(T* p, Vector<W> v) const {
        store(p, v);
    }
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

// Whole vectors of arrays that the caches do not hold. As one is read, what lies `ahead` bytes further on is fetched into
// the second cache; what is written stays in none, if `streams`: its address is then a multiple of a register.
template <class W, bool streams>
struct UncachedVector : WholeVector<W> {
    ptrdiff_t ahead;
    template <class T>
    TRIMTAB_INLINE Vector<W> input(const T* p) const {
        __builtin_prefetch(reinterpret_cast<const char*>(p) + ahead, 0, 2);
        return trimtab::load<W>(p);
    }
    template <class T>
    TRIMTAB_INLINE void output(T* p, Vector<W> v) const {
        if constexpr (streams)
            stream(reinterpret_cast<char*>(p), bit_cast<Bytes>(v));
        else
            trimtab::store<W>(p, v);
    }
};

// Where a sweep meets its arrays.
struct Cached {
    template <class W>
    TRIMTAB_INLINE WholeVector<W> at() const {
        return {};
    }
};
template <bool streams>
struct Uncached {
    ptrdiff_t ahead = 0;
    template <class W>
    TRIMTAB_INLINE UncachedVector<W, streams> at() const {
        return {{}, ahead};
    }
};

template <class W, class F, class Where = Cached>
TRIMTAB_INLINE void sweep(ptrdiff_t n, F&& f, Where where = {}) {
    ptrdiff_t i = 0;
    for (; i + lanes<W> <= n; i += lanes<W>) f(i, where.template at<W>());
    if (i < n) f(i, FirstLanes<W>{n - i});
}

// The same without a partial access, whose store costs as much as several whole ones: the last vector overlaps the one
// before it. It is taken first and stored last, so that results may replace what they are made of. f has one output.
template <class W, class T>
struct DeferredStore {
    T*& to;
    Vector<W>& result;
    template <class E>
    TRIMTAB_INLINE Vector<W> input(const E* p) const {
        return trimtab::load<W>(p);
    }
    TRIMTAB_INLINE void output(T* p, Vector<W> v) const {
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
    f(n - lanes<W>, DeferredStore<W, T>{to, result});
    for (ptrdiff_t i = 0; i < whole; i += lanes<W>) f(i, WholeVector<W>{});
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
TRIMTAB_INLINE void copy_streaming(void* to, const void* from, ptrdiff_t bytes) {
    constexpr ptrdiff_t line = 64;
    char* const target = static_cast<char*>(to);
    const char* const source = static_cast<const char*>(from);
    const ptrdiff_t head = min(bytes, ptrdiff_t(-reinterpret_cast<uintptr_t>(target) & (line - 1)));
    const ptrdiff_t whole = head + (bytes - head) / line * line;
    if (head > 0) __builtin_memcpy(target, source, size_t(head));
    for (ptrdiff_t i = head; i < whole; i += register_bytes) stream(target + i, load_unaligned<Bytes>(source + i));
    if (whole < bytes) __builtin_memcpy(target + whole, source + whole, size_t(bytes - whole));
}
}  // namespace
}  // namespace trimtab
