// The random stream: Philox4x32-10, a block cipher in counter mode (Salmon, Moraes, Dror and Shaw 2011). A block of 16
// random bytes depends only on the seed, its purpose and its number, so blocks can be made in any order.
// docs/random-stream.md defines the stream, which never changes.
#pragma once
#include "../simd.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t philox_block_bytes = 16;
constexpr int blocks_per_register = lanes<uint64_t>;

// What random bits are used for. Blocks of different purposes are independent.
enum class Purpose : uint32_t { decisions = 0, ties = 1, normals = 2 };

// A block in each lane: its four 32-bit words, each in the lower half of the lane. The upper halves are undefined.
struct PhiloxBlocks {
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

    // `count` registers of blocks. Each is a chain of dependent operations, so that several of them, interleaved, take
    // little longer than one.
    template <int count>
    TRIMTAB_INLINE void operator()(Purpose purpose, const Words (&numbers)[count],
                                   PhiloxBlocks (&blocks)[count]) const {
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

// Bytes first..first + count of a purpose, where `first` is a multiple of philox_block_bytes: f(i, bytes) for each
// register of bytes from first + i on. The last registers may reach beyond the count.
template <class F>
TRIMTAB_INLINE void random_bytes(const Philox& philox, Purpose purpose, ptrdiff_t first, ptrdiff_t count, F&& f) {
    constexpr int interleaved = 2;
    // Block numbers of a register: the first half in the even lanes, the second in the odd ones. Interleaving the even,
    // then the odd lanes puts the blocks in order.
    Words numbers[interleaved];
    for (int lane = 0; lane < blocks_per_register; ++lane)
        numbers[0][lane] =
            uint64_t(first / philox_block_bytes) + uint64_t(lane % 2 * (blocks_per_register / 2) + lane / 2);
    unroll<1, interleaved>([&](int k) TRIMTAB_INLINE_LAMBDA { numbers[k] = numbers[k - 1] + blocks_per_register; });
    for (ptrdiff_t i = 0; i < count; i += interleaved * blocks_per_register * philox_block_bytes) {
        PhiloxBlocks blocks[interleaved];
        philox(purpose, numbers, blocks);
        unroll<0, interleaved>([&](int k) TRIMTAB_INLINE_LAMBDA {
            const Words first_half = blocks[k].first_half(), second_half = blocks[k].second_half();
            f(i + 2 * k * register_bytes, bit_cast<Bytes>(interleave_even(first_half, second_half)));
            f(i + (2 * k + 1) * register_bytes, bit_cast<Bytes>(interleave_odd(first_half, second_half)));
            numbers[k] += interleaved * blocks_per_register;
        });
    }
}

// ---- normal numbers ----

// Registers of numbers whose computations are interleaved: each is a chain of dependent operations.
constexpr int interleaved_normals = 4;
using FloatGroup = Floats[interleaved_normals];

template <class F>
TRIMTAB_INLINE void each(F&& f) {
    unroll<0, interleaved_normals>(f);
}

// sum = the polynomial of v, by Horner's rule. The coefficient of the highest power comes first.
template <int count>
TRIMTAB_INLINE void polynomial(const float (&coefficients)[count], const FloatGroup& v, FloatGroup& sum) {
    each([&](int k) TRIMTAB_INLINE_LAMBDA { sum[k] = Floats{} + coefficients[0]; });
    unroll<1, count>([&](int i) TRIMTAB_INLINE_LAMBDA {
        each([&](int k) TRIMTAB_INLINE_LAMBDA { sum[k] = sum[k] * v[k] + coefficients[i]; });
    });
}

// A standard normal number z from each 32 random bits. Read as a signed integer i, they give the quantile at (i + 1/2)
// / 2^32 + 1/2, with a relative error below 4e-7. Each product and sum is rounded (there is no fma), so any float32
// arithmetic gives the same bits.
TRIMTAB_INLINE void normals(const Bits (&random)[interleaved_normals], FloatGroup& z) {
    constexpr float logarithm[] = {-0.145847216f, 0.156291455f,  -0.138671011f, 0.163652763f, -0.200204417f,
                                   0.250110149f,  -0.333329946f, 0.499998808f,  -1.0f};
    constexpr float numerator[] = {2.92886925e-05f, 0.000999388914f, 0.0118747829f,
                                   0.0898288712f,   0.452390581f,    1.25331426f};
    constexpr float denominator[] = {1.00843681e-06f, 0.000169785053f, 0.00227973331f,
                                     0.0326705240f,   0.0991588533f,   1.0f};
    FloatGroup u, f, exponent, t, divisor;  // u: the probability of a number nearer to 0
    each([&](int k) TRIMTAB_INLINE_LAMBDA {
        const Ints number = bit_cast<Ints>(random[k]), magnitude = number ^ number >> 31;
        u[k] = to_floats(magnitude) * 0x1p-31f + 0x1p-32f;
        const Floats tail = to_floats(0x7fffffff - magnitude) * 0x1p-31f + 0x1p-32f;  // 1 - u
        // 1 - u^2 = 2^exponent * (1 + f), -1/3 <= f < 1/3
        const Ints scaled = bit_cast<Ints>(tail * (u[k] + 1)) - 0x3f2aaaab;
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
