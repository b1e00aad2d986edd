// Sums, whose bits do not depend on the instruction set: they run over virtual lanes by element index (256 bytes of them:
// 64 floats or 32 doubles) and meet in one fixed tree.
//   reduce<W>(n, sums, f)  f(i, at, acc) adds into the accumulators acc[q]; sums[q] are their totals
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

// Element i of the first half plus element i of the second, until `count` are left.
template <int size, int count, class V>
TRIMTAB_INLINE void fold(V* v) {
    if constexpr (size > count) {
        unroll<0, size / 2>([&](int i) TRIMTAB_INLINE_LAMBDA { v[i] += v[i + size / 2]; });
        fold<size / 2, count>(v);
    }
}
// In one vector of doubles; floats meet there when 16 partial sums are left.
template <int registers>
TRIMTAB_INLINE Doubles meet(Doubles* v) {
    fold<registers, 1>(v);
    return v[0];
}
template <int registers>
TRIMTAB_INLINE Doubles meet(Floats* v) {
    constexpr int left = 16 / lanes<float>;
    fold<registers, left>(v);
    Doubles wide[2 * left];
    unroll<0, left>([&](int i) TRIMTAB_INLINE_LAMBDA {
        wide[2 * i] = widen_float(lower_half(v[i]));
        wide[2 * i + 1] = widen_float(upper_half(v[i]));
    });
    return meet<2 * left>(wide);
}
template <class V, class W = Element<V>>
TRIMTAB_INLINE W total(V v) {
    W last[lanes<W>];
    store<W>(last, v);
    fold<lanes<W>, 1>(last);
    return last[0];
}
// Lane r: the total of vectors[r], summed as total() does.
template <class V>
TRIMTAB_INLINE V totals(V* vectors) {
    using Lanes = decltype(V{} == V{});
    constexpr int count = lanes<Element<V>>;
    unroll_halves<count>([&](auto size) TRIMTAB_INLINE_LAMBDA {
        constexpr int half = decltype(size)::value / 2;  // of what is left of a vector, that is now folded
        Lanes low, high;
        unroll<0, count>([&](int k) TRIMTAB_INLINE_LAMBDA {
            const int part = k / half;
            low[k] = part % 2 * count + part / 2 * (2 * half) + k % half;
            high[k] = low[k] + half;
        });
        unroll<0, half>([&](int i) TRIMTAB_INLINE_LAMBDA {
            vectors[i] = __builtin_shuffle(vectors[i], vectors[i + half], low) +
                         __builtin_shuffle(vectors[i], vectors[i + half], high);
        });
    });
    return vectors[0];
}

// Elements summed in W: bounds a float sum to 16 terms a virtual lane, and 4 of them to a double.
constexpr ptrdiff_t values_per_sum = 1024;

// Sums of at most values_per_sum values in their virtual lanes, `bytes` of them, before they meet.
template <class W, int quantities, int bytes = 256>
struct PartialSums {
    static constexpr int registers = bytes / register_bytes;
    Vector<W> of[quantities][registers];
    TRIMTAB_INLINE Doubles meet(int quantity) { return trimtab::meet<registers>(of[quantity]); }
    TRIMTAB_INLINE double total(int quantity) { return trimtab::total(meet(quantity)); }
};

template <int quantities, class W, int bytes, class F>
TRIMTAB_INLINE void sum_lanes(ptrdiff_t begin, ptrdiff_t end, PartialSums<W, quantities, bytes>& sums, F&& f) {
    constexpr int registers = PartialSums<W, quantities, bytes>::registers, step = registers * lanes<W>;
    constexpr int fitting = register_count / 2 / quantities;
    // Visited together, so that their sums stay in registers: a number that divides theirs.
    constexpr int group = fitting >= registers ? registers : fitting >= 8 ? 8 : fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
    const ptrdiff_t whole = end - (end - begin) % step;
    unroll<0, registers / group>([&](int g) TRIMTAB_INLINE_LAMBDA {
        Vector<W> part[group][quantities] = {};
        for (ptrdiff_t i = begin + g * group * lanes<W>; i < whole; i += step)
            unroll<0, group>([&](int r) TRIMTAB_INLINE_LAMBDA { f(i + r * lanes<W>, WholeVector<W>{}, part[r]); });
        unroll<0, group>([&](int r) TRIMTAB_INLINE_LAMBDA {
            unroll<0, quantities>([&](int q) TRIMTAB_INLINE_LAMBDA { sums.of[q][g * group + r] = part[r][q]; });
        });
    });
    // The rest, register by register: an index known only at run time would keep all sums in memory.
    const ptrdiff_t rest = end - whole, left = rest % lanes<W>;
    const auto add = [&](int r, const Vector<W>(&part)[quantities]) TRIMTAB_INLINE_LAMBDA {
        unroll<0, quantities>([&](int q) TRIMTAB_INLINE_LAMBDA { sums.of[q][r] += part[q]; });
    };
    unroll<0, registers>([&](int r) TRIMTAB_INLINE_LAMBDA {
        if (rest < (r + 1) * lanes<W>) return;
        Vector<W> part[quantities] = {};
        f(whole + r * lanes<W>, WholeVector<W>{}, part);
        add(r, part);
    });
    if (left > 0) {
        Vector<W> part[quantities] = {};
        f(end - left, FirstLanes<W>{left}, part);
        unroll<0, registers>([&](int r) TRIMTAB_INLINE_LAMBDA {
            if (rest - left == r * lanes<W>) add(r, part);
        });
    }
}

template <class W, int quantities, class F>
TRIMTAB_INLINE void reduce(ptrdiff_t n, double (&sums)[quantities], F&& f) {
    for (double& sum : sums) sum = 0;
    for (ptrdiff_t i = 0; i < n; i += values_per_sum) {
        PartialSums<W, quantities> partial;
        sum_lanes<quantities, W>(i, n - i < values_per_sum ? n : i + values_per_sum, partial, f);
        unroll<0, quantities>([&](int q) TRIMTAB_INLINE_LAMBDA { sums[q] += partial.total(q); });
    }
}
}  // namespace
}  // namespace trimtab
