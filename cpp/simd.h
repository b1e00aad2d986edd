// Vectors of any instruction set. Vector types and intrinsics are defined only in simd/, as are the
// TRIMTAB_ macros for inlining.
//
// A kernel is written once for all instruction sets and storage types, as lambdas over vectors of a working type W,
// float or double:
//   sweep<W>(n, f)         calls f(i, at) for each vector of elements i.. of 0..n; `at` loads and stores it (Access)
//   sweep<W>(n, f, cache)  the same with a cache policy: are the arrays in the caches (Cached) or not (Uncached)?
//   broadcast<W>(value)    a vector with the value in all lanes
// Results do not depend on the instruction set: each multiply-add that is written as fma is rounded once, nothing is
// approximated, and sums have a fixed order (kernels/sums.h).
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
    return __builtin_convertvector(v == v ? rounded : bits >> 16 | 0x40, HalfBits);
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
        return widen_float(lower_half(widen16<T>(resize<HalfBits>(load_unaligned<QuarterBits>(p)))));
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
        const QuarterBits bits = resize<QuarterBits>(narrow16<T>(resize<Floats>(narrow_double(v))));
        __builtin_memcpy(p, &bits, sizeof bits);
    }
}

// The value in all lanes. Subtracting zero changes no value, so the compiler drops it; adding zero would change -0.
template <class W>
TRIMTAB_INLINE Vector<W> broadcast(W value) {
    return value - Vector<W>{};
}

// How a lambda reads and writes one vector of elements, of any storage type.
template <class At, class W>
concept PassAccess = requires(const At& at, const W* from, W* to, Vector<W> v) {
    v = at.input(from);  // input, output: data that a pass reads and writes once, and that may exceed the caches
    at.output(to, v);
};
template <class At, class W>
concept Access = PassAccess<At, W> && requires(const At& at, const W* from, W* to, double* sums, Vector<W> v) {
    v = at.load(from);  // load, store: data that stays in the caches, such as constants and partial sums
    at.store(to, v);
    v = at.keep(v, v);  // the first vector in the lanes that the access covers, the second one in the others
    at.add(sums, v);    // sums[i] += v[i], in double
};

// All lanes.
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
// The first `count` lanes: the tail of an array.
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
        load_n<T, lanes<W>>(whole, p, count);
        return trimtab::load<W>(whole);
    }
    template <class T>
    TRIMTAB_INLINE void store(T* p, Vector<W> v) const {
        T whole[lanes<W>];
        trimtab::store<W>(whole, v);
        store_n<T, lanes<W>>(p, whole, count);
    }
    TRIMTAB_INLINE void add(double* p, Vector<W> v) const {
        for (ptrdiff_t i = 0; i < count; ++i) p[i] += double(v[i]);
    }
    TRIMTAB_INLINE Vector<W> keep(Vector<W> v, Vector<W> others = Vector<W>{}) const {
        using Lanes = decltype(v == v);
        Lanes lane;
        unroll<0, lanes<W>>([&](int i) TRIMTAB_INLINE_LAMBDA { lane[i] = i; });
        return lane < Lanes{} + int(count) ? v : others;
    }
};

// All lanes, of arrays that the caches do not hold. An input prefetches the line `prefetch_bytes` further on into the
// L2 cache. An output is a streaming store if `streams`: its address is then a multiple of the register size.
template <class W, bool streams>
struct UncachedVector : WholeVector<W> {
    ptrdiff_t prefetch_bytes;
    template <class T>
    TRIMTAB_INLINE Vector<W> input(const T* p) const {
        __builtin_prefetch(reinterpret_cast<const char*>(p) + prefetch_bytes, 0, 2);
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

// Cache policies of a sweep: the access to its whole vectors.
struct Cached {
    template <class W>
    TRIMTAB_INLINE WholeVector<W> at() const {
        return {};
    }
};
template <bool streams>
struct Uncached {
    ptrdiff_t prefetch_bytes = 0;
    template <class W>
    TRIMTAB_INLINE UncachedVector<W, streams> at() const {
        return {{}, prefetch_bytes};
    }
};
template <class Cache, class W>
concept CachePolicy = requires(const Cache& cache) {
    { cache.template at<W>() } -> Access<W>;
};

template <class W, class F, CachePolicy<W> Cache = Cached>
TRIMTAB_INLINE void sweep(ptrdiff_t n, F&& f, Cache cache = {}) {
    static_assert(Access<FirstLanes<W>, W>);
    ptrdiff_t i = 0;
    for (; i + lanes<W> <= n; i += lanes<W>) f(i, cache.template at<W>());
    if (i < n) f(i, FirstLanes<W>{n - i});
}

// A sweep without FirstLanes, whose store costs as much as several whole ones: the last vector overlaps the one before
// it. It is computed first and stored last, so the sweep may work in place. f has one output, and neither loads nor
// stores.
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
    static_assert(PassAccess<DeferredStore<W, W>, W>);
    T* to;
    Vector<W> result;
    f(n - lanes<W>, DeferredStore<W, T>{to, result});
    for (ptrdiff_t i = 0; i < whole; i += lanes<W>) f(i, WholeVector<W>{});
    store<W>(to, result);
}

TRIMTAB_INLINE bool any(Longs mask) { return bits_from_mask(bit_cast<Bytes>(mask)) != 0; }

TRIMTAB_INLINE Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }

// Lane i of `yes` where bit i is set, else of `no`.
template <class W>
TRIMTAB_INLINE Vector<W> if_then_else(uint32_t bits, Vector<W> yes, Vector<W> no) {
    using Lanes = decltype(yes == no);
    Lanes weights;
    unroll<0, lanes<W>>([&](int i) TRIMTAB_INLINE_LAMBDA { weights[i] = 1 << i; });
    return ((Lanes{} + int(bits)) & weights) != 0 ? yes : no;
}

// A copy by streaming stores. Other threads see it after this thread's next atomic read-modify-write, such as the one
// that takes a task or leaves the job.
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
