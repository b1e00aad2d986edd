// Aligned, recycled memory. A fresh page costs 2 to 3 us to touch for the first time, more than the arithmetic done on
// it; so large blocks that are given back are kept, up to a cap, and handed out again.
#pragma once
#include <cstddef>

namespace trimtab {

constexpr std::size_t recycled_bytes = 64 << 10;  // blocks of this size and larger are recycled

// For `count` elements of `size` bytes; 64-byte aligned, not cleared. Throws std::bad_alloc where there is none.
void* take_block(std::size_t count, std::size_t size);
void give_block(void* block);
std::size_t block_bytes(void* block);  // its capacity

std::size_t trim_memory();  // releases all kept blocks; returns their bytes
std::size_t memory_cap();   // bytes kept at most; 0: nothing is kept
void set_memory_cap(std::size_t bytes);
void configure_memory();  // at import: the first cap is that of the environment, else a share of the memory there is

std::size_t last_cache_bytes();  // of the largest cache, which all cores may share

// Working memory of a call. Always inlined: kernels compiled for different instruction sets must not share its code.
#define TRIMTAB_ALWAYS_INLINE __attribute__((always_inline))
template <class E>
class Scratch {
public:
    TRIMTAB_ALWAYS_INLINE Scratch() {}
    TRIMTAB_ALWAYS_INLINE explicit Scratch(std::ptrdiff_t count)  // a negative one is an extent that overflowed
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
