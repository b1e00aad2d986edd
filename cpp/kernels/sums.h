// Sums whose bits do not depend on the instruction set. Value i is added in virtual lane i % 64 (floats) or i % 32
// (doubles), 256 bytes of lanes in all, and the lanes combine in a fixed tree. Rows of up to 256 floats use 16 lanes
// (sum_short_rows).
//   reduce<W>(n, sums, f)  f(i, at, acc) adds into the accumulators acc[q]; sums[q] are their totals
// From the outer loop to the inner: reduce, sum_lanes. Then what combines the lanes: PartialSums, combine_registers,
// fold.
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

// Values summed in W before their sum is added in double: each virtual lane adds 16 floats, and 4 lanes are added in
// float before they become a double.
constexpr ptrdiff_t values_per_sum = 1024;

template <class W, int quantities, int bytes = 256>
struct PartialSums;
template <int quantities, class W, int bytes, class F>
TRIMTAB_INLINE void sum_lanes(ptrdiff_t begin, ptrdiff_t end, PartialSums<W, quantities, bytes>& sums, F&& f);

template <class W, int quantities, class F>
TRIMTAB_INLINE void reduce(ptrdiff_t n, double (&sums)[quantities], F&& f) {
    for (double& sum : sums) sum = 0;
    for (ptrdiff_t i = 0; i < n; i += values_per_sum) {
        PartialSums<W, quantities> partial;
        sum_lanes<quantities, W>(i, n - i < values_per_sum ? n : i + values_per_sum, partial, f);
        unroll<0, quantities>([&](int q) TRIMTAB_INLINE_LAMBDA { sums[q] += partial.total(q); });
    }
}

// Sums values begin..end, at most values_per_sum of them.
template <int quantities, class W, int bytes, class F>
TRIMTAB_INLINE void sum_lanes(ptrdiff_t begin, ptrdiff_t end, PartialSums<W, quantities, bytes>& sums, F&& f) {
    constexpr int registers = PartialSums<W, quantities, bytes>::registers, step = registers * lanes<W>;
    constexpr int fitting = register_count / 2 / quantities;
    // Registers of sums that a loop keeps, a divisor of them all.
    constexpr int group = fitting >= registers ? registers : fitting >= 8 ? 8 : fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
    const ptrdiff_t whole = end - (end - begin) % step;
    unroll<0, registers / group>([&](int g) TRIMTAB_INLINE_LAMBDA {
        Vector<W> acc[group][quantities] = {};
        for (ptrdiff_t i = begin + g * group * lanes<W>; i < whole; i += step)
            unroll<0, group>([&](int r) TRIMTAB_INLINE_LAMBDA { f(i + r * lanes<W>, WholeVector<W>{}, acc[r]); });
        unroll<0, group>([&](int r) TRIMTAB_INLINE_LAMBDA {
            unroll<0, quantities>([&](int q) TRIMTAB_INLINE_LAMBDA { sums.of[q][g * group + r] = acc[r][q]; });
        });
    });
    // The rest, register by register: a register index known only at run time would keep all sums in memory.
    const ptrdiff_t rest = end - whole, left = rest % lanes<W>;
    const auto add = [&](int r, const Vector<W>(&acc)[quantities]) TRIMTAB_INLINE_LAMBDA {
        unroll<0, quantities>([&](int q) TRIMTAB_INLINE_LAMBDA { sums.of[q][r] += acc[q]; });
    };
    unroll<0, registers>([&](int r) TRIMTAB_INLINE_LAMBDA {
        if (rest < (r + 1) * lanes<W>) return;
        Vector<W> acc[quantities] = {};
        f(whole + r * lanes<W>, WholeVector<W>{}, acc);
        add(r, acc);
    });
    if (left > 0) {
        Vector<W> acc[quantities] = {};
        f(end - left, FirstLanes<W>{left}, acc);
        unroll<0, registers>([&](int r) TRIMTAB_INLINE_LAMBDA {
            if (rest - left == r * lanes<W>) add(r, acc);
        });
    }
}

// Adds value i of the second half to value i of the first, until `count` are left.
template <int size, int count, class V>
TRIMTAB_INLINE void fold(V* v) {
    if constexpr (size > count) {
        unroll<0, size / 2>([&](int i) TRIMTAB_INLINE_LAMBDA { v[i] += v[i + size / 2]; });
        fold<size / 2, count>(v);
    }
}
// Registers of sums to one register of doubles. Floats turn into doubles when 16 sums are left.
template <int registers>
TRIMTAB_INLINE Doubles combine_registers(Doubles* v) {
    fold<registers, 1>(v);
    return v[0];
}
template <int registers>
TRIMTAB_INLINE Doubles combine_registers(Floats* v) {
    constexpr int left = 16 / lanes<float>;
    fold<registers, left>(v);
    Doubles wide[2 * left];
    unroll<0, left>([&](int i) TRIMTAB_INLINE_LAMBDA {
        wide[2 * i] = widen_float(lower_half(v[i]));
        wide[2 * i + 1] = widen_float(upper_half(v[i]));
    });
    return combine_registers<2 * left>(wide);
}

template <class V, class W = Element<V>>
TRIMTAB_INLINE W total(V v) {
    W last[lanes<W>];
    store<W>(last, v);
    fold<lanes<W>, 1>(last);
    return last[0];
}
// Lane r: the total of vectors[r], in the order of total().
template <class V>
TRIMTAB_INLINE V totals(V* vectors) {
    using Lanes = decltype(V{} == V{});
    constexpr int count = lanes<Element<V>>;
    unroll_halves<count>([&](auto size) TRIMTAB_INLINE_LAMBDA {
        constexpr int half = decltype(size)::value / 2;  // of the `size` sums that are left of each vector
        Lanes low, high;
        unroll<0, count>([&](int k) TRIMTAB_INLINE_LAMBDA {
            const int group = k / half;
            low[k] = group % 2 * count + group / 2 * (2 * half) + k % half;
            high[k] = low[k] + half;
        });
        unroll<0, half>([&](int i) TRIMTAB_INLINE_LAMBDA {
            vectors[i] = __builtin_shuffle(vectors[i], vectors[i + half], low) +
                         __builtin_shuffle(vectors[i], vectors[i + half], high);
        });
    });
    return vectors[0];
}

// Sums in their virtual lanes, `bytes` of them, for each quantity.
template <class W, int quantities, int bytes>
struct PartialSums {
    static constexpr int registers = bytes / register_bytes;
    Vector<W> of[quantities][registers];
    TRIMTAB_INLINE Doubles combine(int quantity) { return combine_registers<registers>(of[quantity]); }
    TRIMTAB_INLINE double total(int quantity) { return trimtab::total(combine(quantity)); }
};
}  // namespace
}  // namespace trimtab
