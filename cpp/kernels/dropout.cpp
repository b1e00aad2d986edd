// Dropout of x (count,), with decisions and normal numbers from the random stream of philox.h:
//   mask      one bit for each decision: 1 (kept) or 0
//   forward   y = x * scale + shift where kept, else `dropped`; makes the mask
//   masked    the same with a given mask. Several elements may share a decision
//   add       y = (x + bias) * scale + residual where kept, else residual; bias (width,); makes the mask
//   gaussian  y = x * noise, noise = 1 + deviation * z with z standard normal
//   multiply  y = x * factor
// A task draws its random numbers and applies them while they are in the L1 cache.
#include "../memory.h"
#include "elementwise.h"
#include "output_store.h"
#include "philox.h"

namespace trimtab {
namespace {

// The mask of a task's elements.
struct alignas(64) TaskMask {
    uint8_t bytes[task_size / 8 + 64];  // read and written a register at a time
};

// The steps of a task, on elements first..first + count.
TRIMTAB_LOOP void draw_mask(const Decisions& decisions, ptrdiff_t first, ptrdiff_t count, uint8_t* mask);
TRIMTAB_LOOP void share_mask(const Sharing& sharing, const uint8_t* decisions, ptrdiff_t first, ptrdiff_t count,
                             uint8_t* mask);
template <class T>
TRIMTAB_LOOP void apply_mask(const Dropout& a, ptrdiff_t first, ptrdiff_t count, const uint8_t* mask, bool uncached);
template <class T>
TRIMTAB_LOOP void apply_to_rows(const Dropout& a, ptrdiff_t first, ptrdiff_t count, bool uncached);
template <class T>
TRIMTAB_LOOP void apply_and_add(const AddDropout& a, ptrdiff_t first, ptrdiff_t count, const uint8_t* mask);
TRIMTAB_LOOP void draw_normals(uint64_t seed, ptrdiff_t first, ptrdiff_t count, float* z);

TRIMTAB_INLINE void copy_mask(const uint8_t* from, ptrdiff_t count, uint8_t* to) {
    __builtin_memcpy(to, from, size_t((count + 7) / 8));
}

// ---- kernels ----

void dropout_mask(const DropoutMask& a) {
    for_tasks(a.count, 0.2, [&](ptrdiff_t first, ptrdiff_t count) {
        TaskMask mask;
        draw_mask(a.decisions, first, count, mask.bytes);
        copy_mask(mask.bytes, count, a.mask + first / 8);
    });
}

template <class T>
void dropout(const Dropout& a) {
    const bool uncached = exceeds_caches<T>(a.x, a.y, a.count);
    for_tasks(a.count, 0.3, [&](ptrdiff_t first, ptrdiff_t count) {
        TaskMask mask;
        draw_mask(a.decisions, first, count, mask.bytes);
        if (a.mask) copy_mask(mask.bytes, count, a.mask + first / 8);
        apply_mask<T>(a, first, count, mask.bytes, uncached);
    });
}

template <class T>
void masked_dropout(const Dropout& a) {
    const bool uncached = exceeds_caches<T>(a.x, a.y, a.count);
    if (a.sharing.ndim && a.sharing.step[0] == 0 && a.sharing.extent[0] >= 64)
        return for_tasks(a.count, 0.1,
                         [&](ptrdiff_t first, ptrdiff_t count) { apply_to_rows<T>(a, first, count, uncached); });
    const ptrdiff_t mask_bytes = (a.sharing.decisions + 7) / 8;
    Scratch<uint8_t> padded;
    if (a.sharing.ndim) {
        padded = Scratch<uint8_t>(mask_bytes + 8);
        __builtin_memcpy(padded, a.mask, size_t(mask_bytes));
    }
    for_tasks(a.count, 0.15, [&](ptrdiff_t first, ptrdiff_t count) {
        TaskMask mask;
        if (a.sharing.ndim)
            share_mask(a.sharing, padded, first, count, mask.bytes);
        else
            copy_mask(a.mask + first / 8, count, mask.bytes);
        apply_mask<T>(a, first, count, mask.bytes, uncached);
    });
}

template <class T>
void add_dropout(const AddDropout& a) {
    for_tasks(a.count, 0.45, [&](ptrdiff_t first, ptrdiff_t count) {
        TaskMask mask;
        draw_mask(a.decisions, first, count, mask.bytes);
        copy_mask(mask.bytes, count, a.mask + first / 8);
        apply_and_add<T>(a, first, count, mask.bytes);
    });
}

template <class T>
void gaussian_dropout(const GaussianDropout& a) {
    using W = Work<T>;
    for_tasks(a.count, 2, [&](ptrdiff_t first, ptrdiff_t count) {
        float z[task_size];
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
    for_tasks(a.count, 0.2, [&](ptrdiff_t first, ptrdiff_t count) {
        const T *x = static_cast<const T*>(a.x) + first, *factor = static_cast<const T*>(a.factor) + first;
        T* y = static_cast<T*>(a.y) + first;
        sweep<Work<T>>(count, [&](ptrdiff_t i, auto at) { at.store(y + i, at.load(x + i) * at.load(factor + i)); });
    });
}

// ---- decisions ----

// Decides elements whose random byte equals the threshold by 64 further bits, several elements at a time.
class TieBreaker {
public:
    TRIMTAB_INLINE TieBreaker(const Philox& philox, uint64_t rest, ptrdiff_t first, uint8_t* mask)
        : philox_(philox), rest_(rest), first_(first), mask_(mask) {}
    TRIMTAB_INLINE void add(ptrdiff_t i) {
        elements_[count_++] = uint64_t(i);
        if (count_ == capacity) decide();
    }
    TRIMTAB_INLINE void decide() {
        Words numbers[interleaved];
        PhiloxBlocks blocks[interleaved];
        uint64_t further[capacity];
        unroll<0, interleaved>(
            [&](int k) { numbers[k] = load<uint64_t>(elements_ + k * blocks_per_register) + uint64_t(first_); });
        philox_(Purpose::ties, numbers, blocks);
        unroll<0, interleaved>(
            [&](int k) { store<uint64_t>(further + k * blocks_per_register, blocks[k].first_half()); });
        for (int i = 0; i < count_; ++i) mask_[elements_[i] / 8] |= uint8_t((further[i] >= rest_) << elements_[i] % 8);
        count_ = 0;
    }

private:
    static constexpr int interleaved = 2, capacity = interleaved * blocks_per_register;
    const Philox& philox_;
    const uint64_t rest_;
    const ptrdiff_t first_;
    uint8_t* const mask_;
    uint64_t elements_[capacity] = {};  // counted from `first`
    int count_ = 0;
};

// Bits after the last one of the task are 0.
TRIMTAB_LOOP void draw_mask(const Decisions& d, ptrdiff_t first, ptrdiff_t count, uint8_t* mask) {
    const Philox philox(d.seed);
    const Bytes threshold = Bytes{} + d.byte;
    TaskMask tied;
    random_bytes(philox, Purpose::decisions, first, count, [&](ptrdiff_t i, Bytes bytes) {
        const uint64_t above = bits_from_mask(Bytes(bytes > threshold)),
                       equal = bits_from_mask(Bytes(bytes == threshold));
        __builtin_memcpy(mask + i / 8, &above, register_bytes / 8);
        __builtin_memcpy(tied.bytes + i / 8, &equal, register_bytes / 8);
    });
    if (d.ties) {
        TieBreaker ties(philox, d.rest, first, mask);
        for (ptrdiff_t i = 0; i < count; i += 64)
            for (uint64_t word = load_unaligned<uint64_t>(tied.bytes + i / 8); word; word &= word - 1)
                ties.add(i + __builtin_ctzll(word));
        ties.decide();
    }
    if (count % 8) mask[count / 8] &= uint8_t((1 << count % 8) - 1);
}

// ---- shared decisions ----

// f(begin, end, decision) for the rows, or parts of them, along the innermost dimension that make up elements
// first..first + count; begin..end are counted from `first`, and `decision` is that of element begin.
template <class F>
TRIMTAB_INLINE void for_rows(const Sharing& s, ptrdiff_t first, ptrdiff_t count, F&& f) {
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

class BitWriter {
public:
    static constexpr ptrdiff_t max_bits = 56;  // of one put()
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

// A bit for each element from a bit for each decision. These are readable for 8 bytes beyond their end.
TRIMTAB_LOOP void share_mask(const Sharing& s, const uint8_t* decisions, ptrdiff_t first, ptrdiff_t count,
                             uint8_t* mask) {
    BitWriter writer(mask);
    for_rows(s, first, count, [&](ptrdiff_t i, ptrdiff_t end, ptrdiff_t decision) {
        for (; i < end; i += BitWriter::max_bits, decision += BitWriter::max_bits * s.step[0]) {
            const int length = int(min(end - i, BitWriter::max_bits));
            const uint64_t bits = load_unaligned<uint64_t>(decisions + decision / 8) >> decision % 8;
            writer.put((s.step[0] ? bits : -(bits & 1)) & ((uint64_t(1) << length) - 1), length);
        }
    });
}

// ---- application ----

// The bits of the vector of elements from i on.
template <class W>
TRIMTAB_INLINE uint32_t lane_bits(const uint8_t* mask, ptrdiff_t i) {
    const uint32_t two_bytes = load_unaligned<uint16_t>(mask + i / 8);
    return lanes<W> < 8 ? two_bytes >> i % 8 : two_bytes;
}

template <class T>
TRIMTAB_LOOP void apply_mask(const Dropout& a, ptrdiff_t first, ptrdiff_t count, const uint8_t* mask, bool uncached) {
    using W = Work<T>;
    const T* x = static_cast<const T*>(a.x) + first;
    const W scale = W(a.scale), shift = W(a.shift);
    const Vector<W> dropped = Vector<W>{} + W(a.dropped);
    OutputStore<T> output(uncached);
    output.write(static_cast<T*>(a.y) + first, count, [&](ptrdiff_t begin, ptrdiff_t end, T* to, auto cache) {
        const uint8_t* const bits = mask + begin / 8;
        sweep<W>(end - begin, [&](ptrdiff_t i, auto at) {
            at.output(to + i, if_then_else<W>(lane_bits<W>(bits, i), at.input(x + begin + i) * scale + shift, dropped));
        }, cache);
    });
}

// For long rows, each with a single decision. Dropped rows are not read.
template <class T>
TRIMTAB_LOOP void apply_to_rows(const Dropout& a, ptrdiff_t first, ptrdiff_t count, bool uncached) {
    using W = Work<T>;
    const W scale = W(a.scale), shift = W(a.shift);
    const Vector<W> dropped = Vector<W>{} + W(a.dropped);
    OutputStore<T> output(uncached);
    for_rows(a.sharing, first, count, [&](ptrdiff_t row, ptrdiff_t row_end, ptrdiff_t decision) {
        const bool kept = a.mask[decision / 8] >> decision % 8 & 1;
        const T* const x = static_cast<const T*>(a.x) + first + row;
        output.write(static_cast<T*>(a.y) + first + row, row_end - row,
                     [&](ptrdiff_t begin, ptrdiff_t end, T* to, auto cache) {
            const auto keep = [&](ptrdiff_t i, auto at) { at.output(to + i, at.input(x + begin + i) * scale + shift); };
            const auto drop = [&](ptrdiff_t i, auto at) { at.output(to + i, dropped); };
            kept ? sweep<W>(end - begin, keep, cache) : sweep<W>(end - begin, drop, cache);
        });
    });
}

// Element i of the result is row[(first + i) % width].
template <class W>
TRIMTAB_INLINE void repeat_row(const W* row, ptrdiff_t width, ptrdiff_t first, ptrdiff_t count, W* to) {
    for (ptrdiff_t column = first % width; count > 0; column = 0) {
        const ptrdiff_t n = min(width - column, count);
        sweep<W>(n, [&](ptrdiff_t i, auto at) { at.store(to + i, at.load(row + column + i)); });
        to += n;
        count -= n;
    }
}

template <class T>
TRIMTAB_LOOP void apply_and_add(const AddDropout& a, ptrdiff_t first, ptrdiff_t count, const uint8_t* mask) {
    using W = Work<T>;
    const T *x = static_cast<const T*>(a.x) + first, *residual = static_cast<const T*>(a.residual) + first;
    T* y = static_cast<T*>(a.y) + first;
    const W scale = W(a.scale);
    W bias[task_size];
    repeat_row(static_cast<const W*>(a.bias), a.width, first, count, bias);
    sweep<W>(count, [&](ptrdiff_t i, auto at) {
        const Vector<W> kept = (at.load(x + i) + at.load(bias + i)) * scale;
        at.store(y + i, if_then_else<W>(lane_bits<W>(mask, i), kept, Vector<W>{}) + at.load(residual + i));
    });
}

// ---- normal numbers ----

TRIMTAB_LOOP void draw_normals(uint64_t seed, ptrdiff_t first, ptrdiff_t count, float* z) {
    random_bytes(Philox(seed), Purpose::normals, first * 4, count * 4,
                 [&](ptrdiff_t i, Bytes bytes) { store<float>(z + i / 4, bit_cast<Floats>(bytes)); });
    for (ptrdiff_t i = 0; i < count; i += interleaved_normals * lanes<float>) {
        Bits random[interleaved_normals];
        FloatGroup group;
        each([&](int k) { random[k] = load_unaligned<Bits>(z + i + k * lanes<float>); });
        normals(random, group);
        each([&](int k) { store<float>(z + i + k * lanes<float>, group[k]); });
    }
}
}  // namespace

TRIMTAB_EXPORT(DropoutKernels, dropout) = {
    .mask = dropout_mask,
    .forward = TRIMTAB_EACH_DTYPE(dropout),
    .masked = TRIMTAB_EACH_DTYPE(masked_dropout),
    .add = TRIMTAB_EACH_DTYPE(add_dropout),
    .gaussian = TRIMTAB_EACH_DTYPE(gaussian_dropout),
    .multiply = TRIMTAB_EACH_DTYPE(multiply),
};
}  // namespace trimtab
