// The random stream: Philox4x32-10, a cipher in counter mode (Salmon, Moraes, Dror and Shaw 2011). A block of 16 random
// bytes is a function of the seed, its purpose and its number alone, so any part can be made by itself and in any order.
// docs/random-stream.md defines the stream for ever.
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t block_bytes = 16;
constexpr int blocks_at_once = lanes<uint64_t>;

// What random bits are for: blocks of different purposes are independent.
enum class Purpose : uint32_t { decisions = 0, ties = 1, normals = 2 };

// The four words of a block in each lane: in its lower half, the upper one is noise.
struct Blocks {
    Words words[4];
    TRIMTAB_INLINE Words first_half() const { return (words[0] & 0xffffffff) | words[1] << 32; }
    TRIMTAB_INLINE Words second_half() const { return (words[2] & 0xffffffff) | words[3] << 32; }
};

class Philox {
public:
    TRIMTAB_INLINE explicit Philox(uint64_t seed) {
        for (uint32_t round = 0; round < rounds; ++round) {
            keys_[round][0] = Words{} + (uint32_t(seed) + round * 0x9e3779b9u);
            keys_[round][1] = Words{} + (uint32_t(seed >> 32) + round * 0xbb67ae85u);
        }
    }

    // Rounds are chains of dependent operations: several together take little longer than one.
    template <int count>
    TRIMTAB_INLINE void operator()(Purpose purpose, const Words (&numbers)[count], Blocks (&blocks)[count]) const {
        unroll<0, count>([&](int i) TRIMTAB_INLINE_LAMBDA {
            blocks[i] = {{numbers[i], numbers[i] >> 32, Words{}, Words{} + uint32_t(purpose)}};
        });
        unroll<0, rounds>([&](int round) TRIMTAB_INLINE_LAMBDA {
            unroll<0, count>([&](int i) TRIMTAB_INLINE_LAMBDA {
                auto& [a, b, c, d] = blocks[i].words;
                const Words left = mul_even(a, Words{} + 0xd2511f53), right = mul_even(c, Words{} + 0xcd9e8d57);
                a = right >> 32 ^ (b ^ keys_[round][0]);
                b = right;
                c = left >> 32 ^ (d ^ keys_[round][1]);
                d = left;
            });
        });
    }

private:
    static constexpr int rounds = 10;
    Words keys_[rounds][2];
};

// Bytes `first`, `first + 1`, ... of a purpose; f(i, bytes) for every register full of them until `count` are covered.
// `first` is a multiple of block_bytes.
template <class F>
TRIMTAB_INLINE void random_bytes(const Philox& philox, Purpose purpose, ptrdiff_t first, ptrdiff_t count, F&& f) {
    constexpr int together = 2;
    // The first half of the blocks in the even lanes, the second in the odd ones: their pairs come out in order.
    Words numbers[together];
    for (int lane = 0; lane < blocks_at_once; ++lane)
        numbers[0][lane] = uint64_t(first / block_bytes) + uint64_t(lane % 2 * (blocks_at_once / 2) + lane / 2);
    unroll<1, together>([&](int k) TRIMTAB_INLINE_LAMBDA { numbers[k] = numbers[k - 1] + blocks_at_once; });
    for (ptrdiff_t i = 0; i < count; i += together * blocks_at_once * block_bytes) {
        Blocks blocks[together];
        philox(purpose, numbers, blocks);
        unroll<0, together>([&](int k) TRIMTAB_INLINE_LAMBDA {
            const Words first_half = blocks[k].first_half(), second_half = blocks[k].second_half();
            f(i + 2 * k * register_bytes, bit_cast<Bytes>(interleave_even(first_half, second_half)));
            f(i + (2 * k + 1) * register_bytes, bit_cast<Bytes>(interleave_odd(first_half, second_half)));
            numbers[k] += together * blocks_at_once;
        });
    }
}

// ---- normal numbers ----

// Registers computed together: each is a chain of dependent operations.
constexpr int side_by_side = 4;
using FloatGroup = Floats[side_by_side];

template <class F>
TRIMTAB_INLINE void each(F&& f) {
    unroll<0, side_by_side>(f);
}

// The highest power first.
template <int count>
TRIMTAB_INLINE void polynomial(const float (&coefficients)[count], const FloatGroup& v, FloatGroup& sum) {
    each([&](int k) TRIMTAB_INLINE_LAMBDA { sum[k] = Floats{} + coefficients[0]; });
    unroll<1, count>([&](int i) TRIMTAB_INLINE_LAMBDA {
        each([&](int k) TRIMTAB_INLINE_LAMBDA { sum[k] = sum[k] * v[k] + coefficients[i]; });
    });
}

// A standard normal number z from each 32 random bits, read as a signed number i: the quantile at (i + 1/2) / 2^32 + 1/2,
// within 4e-7 of itself. Each product and sum is rounded by itself, so any float32 arithmetic gives the same bits.
TRIMTAB_INLINE void normals(const Bits (&random)[side_by_side], FloatGroup& z) {
    constexpr float logarithm[] = {-0.145847216f, 0.156291455f,  -0.138671011f, 0.163652763f, -0.200204417f,
                                   0.250110149f,  -0.333329946f, 0.499998808f,  -1.0f};
    constexpr float numerator[] = {2.92886925e-05f, 0.000999388914f, 0.0118747829f,
                                   0.0898288712f,   0.452390581f,    1.25331426f};
    constexpr float denominator[] = {1.00843681e-06f, 0.000169785053f, 0.00227973331f,
                                     0.0326705240f,   0.0991588533f,   1.0f};
    FloatGroup u, f, exponent, t, divisor;  // u: the chance of a number nearer to 0
    each([&](int k) TRIMTAB_INLINE_LAMBDA {
        const Ints number = bit_cast<Ints>(random[k]), magnitude = number ^ number >> 31;
        u[k] = to_floats(magnitude) * 0x1p-31f + 0x1p-32f;
        const Floats beyond = to_floats(0x7fffffff - magnitude) * 0x1p-31f + 0x1p-32f;  // 1 - u
        // 1 - u^2 = 2^exponent * (1 + f), -1/3 <= f < 1/3
        const Ints scaled = bit_cast<Ints>(beyond * (u[k] + 1)) - 0x3f2aaaab;
        exponent[k] = to_floats(scaled >> 23);
        f[k] = bit_cast<Floats>((scaled & 0x7fffff) + 0x3f2aaaab) - 1;
    });
    polynomial(logarithm, f, t);
    each([&](int k) TRIMTAB_INLINE_LAMBDA {
        t[k] = t[k] * f[k] - exponent[k] * 0.693147181f;  // -log(1 - u^2)
    });
    polynomial(numerator, t, z);
    polynomial(denominator, t, divisor);
    each([&](int k) TRIMTAB_INLINE_LAMBDA {
        z[k] = bit_cast<Floats>(bit_cast<Bits>(u[k] * z[k] / divisor[k]) | (random[k] & 0x80000000));
    });
}
}  // namespace
}  // namespace trimtab
