// Dropout in all its forms: decisions and normal numbers from the random stream, and their application. What is drawn for
// a tile is applied while it is at hand.
#include "../memory.h"
#include "output_store.h"
#include "philox.h"
#include "tiles.h"

namespace trimtab {
namespace {

struct alignas(64) TileBits {
    uint8_t bytes[tile / 8 + 64];  // bits are read and written by the register
};

// ---- decisions ----

// Elements whose byte left them undecided, settled several at a time.
class Ties {
public:
    TRIMTAB_INLINE Ties(const Philox& philox, uint64_t rest, ptrdiff_t first, uint8_t* bits)
        : philox_(philox), rest_(rest), first_(first), bits_(bits) {}
    TRIMTAB_INLINE void add(ptrdiff_t i) {
        elements_[waiting_++] = uint64_t(i);
        if (waiting_ == most) settle();
    }
    TRIMTAB_INLINE void settle() {
        Words numbers[chains];
        Blocks blocks[chains];
        uint64_t further[most];
        unroll<0, chains>(
            [&](int k) { numbers[k] = load<uint64_t>(elements_ + k * blocks_at_once) + uint64_t(first_); });
        philox_(Purpose::ties, numbers, blocks);
        unroll<0, chains>([&](int k) { store<uint64_t>(further + k * blocks_at_once, blocks[k].first_half()); });
        for (int i = 0; i < waiting_; ++i)
            bits_[elements_[i] / 8] |= uint8_t((further[i] >= rest_) << elements_[i] % 8);
        waiting_ = 0;
    }

private:
    static constexpr int chains = 2, most = chains * blocks_at_once;
    const Philox& philox_;
    const uint64_t rest_;
    const ptrdiff_t first_;
    uint8_t* const bits_;
    uint64_t elements_[most] = {};  // of the tile
    int waiting_ = 0;
};

// Bits of elements first..first + count, those beyond them cleared.
TRIMTAB_LOOP void decide(const Decisions& d, ptrdiff_t first, ptrdiff_t count, uint8_t* bits) {
    const Philox philox(d.seed);
    const Bytes threshold = Bytes{} + d.byte;
    TileBits tied;
    random_bytes(philox, Purpose::decisions, first, count, [&](ptrdiff_t i, Bytes bytes) {
        const uint64_t above = bits_from_mask(Bytes(bytes > threshold)),
                       equal = bits_from_mask(Bytes(bytes == threshold));
        __builtin_memcpy(bits + i / 8, &above, register_bytes / 8);
        __builtin_memcpy(tied.bytes + i / 8, &equal, register_bytes / 8);
    });
    if (d.ties) {
        Ties ties(philox, d.rest, first, bits);
        for (ptrdiff_t i = 0; i < count; i += 64)
            for (uint64_t word = load_unaligned<uint64_t>(tied.bytes + i / 8); word; word &= word - 1)
                ties.add(i + __builtin_ctzll(word));
        ties.settle();
    }
    if (count % 8) bits[count / 8] &= uint8_t((1 << count % 8) - 1);
}

TRIMTAB_INLINE void copy_bits(const uint8_t* from, ptrdiff_t count, uint8_t* to) {
    __builtin_memcpy(to, from, size_t((count + 7) / 8));
}

void dropout_mask(const DropoutMask& a) {
    for_tiles(a.count, 0.2, [&](ptrdiff_t first, ptrdiff_t count) {
        TileBits bits;
        decide(a.decisions, first, count, bits.bytes);
        copy_bits(bits.bytes, count, a.mask + first / 8);
    });
}

// ---- bits of a tile from a mask ----

class BitWriter {
public:
    static constexpr ptrdiff_t most = 56;  // at once
    TRIMTAB_INLINE explicit BitWriter(uint8_t* to) : to_(to) {}
    TRIMTAB_INLINE ~BitWriter() { __builtin_memcpy(to_, &word_, 8); }
    TRIMTAB_INLINE void put(uint64_t bits, int count) {
        word_ |= bits << used_;
        used_ += count;
        if (used_ < 64) return;
        __builtin_memcpy(to_, &word_, 8);
        to_ += 8;
        used_ -= 64;
        word_ = bits >> (count - used_);
    }

private:
    uint8_t* to_;
    uint64_t word_ = 0;
    int used_ = 0;
};

// f(begin, end, decision) for runs of elements begin..end of first..first + count that lie along the innermost dimension;
// `decision` is that of element begin.
template <class F>
TRIMTAB_INLINE void for_runs(const Sharing& s, ptrdiff_t first, ptrdiff_t count, F&& f) {
    const ptrdiff_t inner = s.extent[0];
    ptrdiff_t row = first / inner, column = first % inner;
    for (ptrdiff_t i = 0; i < count; ++row, column = 0) {
        ptrdiff_t decision = column * s.step[0], outer = row;
        for (int d = 1; d < s.ndim; outer /= s.extent[d++]) decision += outer % s.extent[d] * s.step[d];
        const ptrdiff_t end = min(i + inner - column, count);
        f(i, end, decision);
        i = end;
    }
}

// `mask` is readable for 8 bytes beyond its end.
TRIMTAB_LOOP void expand(const Sharing& s, const uint8_t* mask, ptrdiff_t first, ptrdiff_t count, uint8_t* bits) {
    BitWriter writer(bits);
    for_runs(s, first, count, [&](ptrdiff_t i, ptrdiff_t end, ptrdiff_t decision) {
        for (; i < end; i += BitWriter::most, decision += BitWriter::most * s.step[0]) {
            const int length = int(min(end - i, BitWriter::most));
            const uint64_t own = load_unaligned<uint64_t>(mask + decision / 8) >> decision % 8;
            writer.put((s.step[0] ? own : -(own & 1)) & ((uint64_t(1) << length) - 1), length);
        }
    });
}

// ---- application ----

template <class W>
TRIMTAB_INLINE uint32_t lane_bits(const uint8_t* bits, ptrdiff_t i) {
    const uint32_t two_bytes = load_unaligned<uint16_t>(bits + i / 8);
    return lanes<W> < 8 ? two_bytes >> i % 8 : two_bytes;
}

template <class T>
TRIMTAB_LOOP void apply(const Dropout& a, ptrdiff_t first, ptrdiff_t count, const uint8_t* bits, bool past) {
    using W = Work<T>;
    const T* x = static_cast<const T*>(a.x) + first;
    const W scale = W(a.scale), shift = W(a.shift);
    const Vector<W> dropped = Vector<W>{} + W(a.dropped);
    OutputStore<T> output(past);
    output.write(static_cast<T*>(a.y) + first, count, [&](ptrdiff_t begin, ptrdiff_t end, T* to, auto cache) {
        const uint8_t* const own = bits + begin / 8;
        sweep<W>(end - begin, [&](ptrdiff_t i, auto at) {
            at.output(to + i, if_then_else<W>(lane_bits<W>(own, i), at.input(x + begin + i) * scale + shift, dropped));
        }, cache);
    });
}

// The same where decisions are shared by long runs: what is dropped is not even read.
template <class T>
TRIMTAB_LOOP void apply_runs(const Dropout& a, ptrdiff_t first, ptrdiff_t count, bool past) {
    using W = Work<T>;
    const W scale = W(a.scale), shift = W(a.shift);
    const Vector<W> dropped = Vector<W>{} + W(a.dropped);
    OutputStore<T> output(past);
    for_runs(a.sharing, first, count, [&](ptrdiff_t run, ptrdiff_t run_end, ptrdiff_t decision) {
        const bool kept = a.mask[decision / 8] >> decision % 8 & 1;
        const T* const x = static_cast<const T*>(a.x) + first + run;
        output.write(static_cast<T*>(a.y) + first + run, run_end - run,
                     [&](ptrdiff_t begin, ptrdiff_t end, T* to, auto cache) {
            const auto keep = [&](ptrdiff_t i, auto at) { at.output(to + i, at.input(x + begin + i) * scale + shift); };
            const auto drop = [&](ptrdiff_t i, auto at) { at.output(to + i, dropped); };
            kept ? sweep<W>(end - begin, keep, cache) : sweep<W>(end - begin, drop, cache);
        });
    });
}

template <class T>
void dropout(const Dropout& a) {
    const bool past = exceeds_caches<T>(a.x, a.y, a.count);
    for_tiles(a.count, 0.3, [&](ptrdiff_t first, ptrdiff_t count) {
        TileBits bits;
        decide(a.decisions, first, count, bits.bytes);
        if (a.mask) copy_bits(bits.bytes, count, a.mask + first / 8);
        apply<T>(a, first, count, bits.bytes, past);
    });
}

template <class T>
void masked(const Dropout& a) {
    const bool past = exceeds_caches<T>(a.x, a.y, a.count);
    if (a.sharing.ndim && a.sharing.step[0] == 0 && a.sharing.extent[0] >= 64)
        return for_tiles(a.count, 0.1, [&](ptrdiff_t first, ptrdiff_t count) { apply_runs<T>(a, first, count, past); });
    const ptrdiff_t mask_bytes = (a.sharing.decisions + 7) / 8;
    Scratch<uint8_t> padded;
    if (a.sharing.ndim) {
        padded = Scratch<uint8_t>(mask_bytes + 8);
        __builtin_memcpy(padded, a.mask, size_t(mask_bytes));
    }
    for_tiles(a.count, 0.15, [&](ptrdiff_t first, ptrdiff_t count) {
        TileBits bits;
        if (a.sharing.ndim)
            expand(a.sharing, padded, first, count, bits.bytes);
        else
            copy_bits(a.mask + first / 8, count, bits.bytes);
        apply<T>(a, first, count, bits.bytes, past);
    });
}

// `row` over and over, from its element `first % width` on.
template <class W>
TRIMTAB_INLINE void repeat(const W* row, ptrdiff_t width, ptrdiff_t first, ptrdiff_t count, W* to) {
    for (ptrdiff_t column = first % width; count > 0; column = 0) {
        const ptrdiff_t run = min(width - column, count);
        sweep<W>(run, [&](ptrdiff_t i, auto at) { at.store(to + i, at.load(row + column + i)); });
        to += run;
        count -= run;
    }
}

template <class T>
TRIMTAB_LOOP void apply_between(const AddDropout& a, ptrdiff_t first, ptrdiff_t count, const uint8_t* bits) {
    using W = Work<T>;
    const T *x = static_cast<const T*>(a.x) + first, *residual = static_cast<const T*>(a.residual) + first;
    T* y = static_cast<T*>(a.y) + first;
    const W scale = W(a.scale);
    W bias[tile];
    repeat(static_cast<const W*>(a.bias), a.width, first, count, bias);
    sweep<W>(count, [&](ptrdiff_t i, auto at) {
        const Vector<W> kept = (at.load(x + i) + at.load(bias + i)) * scale;
        at.store(y + i, if_then_else<W>(lane_bits<W>(bits, i), kept, Vector<W>{}) + at.load(residual + i));
    });
}

template <class T>
void add_dropout(const AddDropout& a) {
    for_tiles(a.count, 0.45, [&](ptrdiff_t first, ptrdiff_t count) {
        TileBits bits;
        decide(a.decisions, first, count, bits.bytes);
        copy_bits(bits.bytes, count, a.mask + first / 8);
        apply_between<T>(a, first, count, bits.bytes);
    });
}

// ---- Gaussian ----

TRIMTAB_LOOP void draw_normals(uint64_t seed, ptrdiff_t first, ptrdiff_t count, float* z) {
    random_bytes(Philox(seed), Purpose::normals, first * 4, count * 4,
                 [&](ptrdiff_t i, Bytes bytes) { store<float>(z + i / 4, bit_cast<Floats>(bytes)); });
    for (ptrdiff_t i = 0; i < count; i += side_by_side * lanes<float>) {
        Bits random[side_by_side];
        FloatGroup group;
        each([&](int k) { random[k] = load_unaligned<Bits>(z + i + k * lanes<float>); });
        normals(random, group);
        each([&](int k) { store<float>(z + i + k * lanes<float>, group[k]); });
    }
}

template <class T>
void gaussian_dropout(const GaussianDropout& a) {
    using W = Work<T>;
    for_tiles(a.count, 2, [&](ptrdiff_t first, ptrdiff_t count) {
        float z[tile];
        draw_normals(a.seed, first, count, z);
        const T* x = static_cast<const T*>(a.x) + first;
        T *noise = static_cast<T*>(a.noise) + first, *y = static_cast<T*>(a.y) + first;
        const W deviation = W(a.deviation);
        sweep<W>(count, [&](ptrdiff_t i, auto at) {
            at.store(noise + i, at.load(z + i) * deviation + 1);
            at.store(y + i, at.load(x + i) * at.load(noise + i));
        });
    });
}

template <class T>
void multiply(const Multiply& a) {
    for_tiles(a.count, 0.2, [&](ptrdiff_t first, ptrdiff_t count) {
        const T *x = static_cast<const T*>(a.x) + first, *factor = static_cast<const T*>(a.factor) + first;
        T* y = static_cast<T*>(a.y) + first;
        sweep<Work<T>>(count, [&](ptrdiff_t i, auto at) { at.store(y + i, at.load(x + i) * at.load(factor + i)); });
    });
}
}  // namespace

TRIMTAB_EXPORT(DropoutKernels, dropout) = {
    .mask = dropout_mask,
    .forward = TRIMTAB_EACH_DTYPE(dropout),
    .masked = TRIMTAB_EACH_DTYPE(masked),
    .add = TRIMTAB_EACH_DTYPE(add_dropout),
    .gaussian = TRIMTAB_EACH_DTYPE(gaussian_dropout),
    .multiply = TRIMTAB_EACH_DTYPE(multiply),
};
}  // namespace trimtab
