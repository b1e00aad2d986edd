// Aligned memory that is recycled. The first write to a fresh page of 4 KiB takes 2 to 3 us, longer than the arithmetic
// on it. So large blocks are kept when they are given back, up to a cap, and used again.
#pragma once
#include <cstddef>

namespace trimtab {

constexpr std::size_t recycled_bytes = 64 << 10;  // blocks of this size and larger are recycled

// Memory for `count` elements of `size` bytes, 64-byte aligned, not cleared. Throws std::bad_alloc.
void* take_block(std::size_t count, std::size_t size);
void give_block(void* block);
std::size_t block_bytes(void* block);  // capacity

std::size_t trim_memory();  // frees all kept blocks; returns their bytes
std::size_t memory_cap();   // largest number of bytes kept; 0: nothing is kept
void set_memory_cap(std::size_t bytes);
void configure_memory();  // at import: sets the cap to TRIMTAB_MEMORY_CAP, else to a fraction of the memory limit

std::size_t last_cache_bytes();  // size of the largest cache, which all cores may share

// Working memory of a call. Always inlined: kernels for different instruction sets must not share its code.
#define TRIMTAB_ALWAYS_INLINE __attribute__((always_inline))
template <class E>
class Scratch {
public:
    TRIMTAB_ALWAYS_INLINE Scratch() {}
    TRIMTAB_ALWAYS_INLINE explicit Scratch(std::ptrdiff_t count)  // negative: an extent has overflowed
        : data_(count ? static_cast<E*>(take_block(std::size_t(count), sizeof(E))) : nullptr) {}
    TRIMTAB_ALWAYS_INLINE Scratch(Scratch&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
    TRIMTAB_ALWAYS_INLINE Scratch& operator=(Scratch&& other) noexcept {
        E* const data = data_;
        data_ = other.data_;
        other.data_ = data;
        return *this;
    }
    TRIMTAB_ALWAYS_INLINE ~Scratch() {
        if (data_) give_block(data_);
    }
    TRIMTAB_ALWAYS_INLINE operator E*() const { return data_; }

private:
    E* data_ = nullptr;
};
#undef TRIMTAB_ALWAYS_INLINE
}  // namespace trimtab
