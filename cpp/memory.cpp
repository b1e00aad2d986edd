#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "environment.h"
#include "system_limits.h"

namespace trimtab {
namespace {

constexpr std::size_t alignment = 64, page = 4096, huge_page = 2 << 20;

// Precedes the memory that take_block() returns.
struct Header {
    std::size_t capacity;
    char* allocation;
};

void release(Header* block) { std::free(block->allocation); }

// Blocks that were given back, the most recent last. They are few, so a linear search is faster than an index.
struct Store {
    std::mutex guard;
    std::vector<Header*> kept;
    std::size_t kept_bytes = 0, cap = 0;
};
// Never destroyed: daemon threads may still give back blocks while the process ends.
alignas(Store) char store_memory[sizeof(Store)];
Store& store = *new (store_memory) Store;

// fork() waits for the lock: the child must find the store in a valid state, and the lock free.
const int fork_guard =
    pthread_atfork([] { store.guard.lock(); }, [] { store.guard.unlock(); }, [] { store.guard.unlock(); });

std::size_t last_cache = 0;

std::size_t round_up(std::size_t bytes, std::size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

// Rounds up to one of eight sizes per power of two, so a block fits all requests up to 12.5 % smaller.
std::size_t size_class(std::size_t bytes) {
    std::size_t step = alignment;
    while (step * 16 < bytes) step *= 2;
    return round_up(bytes, step);
}

Header* with_header(char* allocation, std::size_t offset, std::size_t capacity) {
    return new (allocation + offset - sizeof(Header)) Header{capacity, allocation};
}

// A multiple of 64 bytes into what malloc() gives, which takes much less time than aligned_alloc().
Header* allocate_small(std::size_t capacity) {
    char* const memory = static_cast<char*>(std::malloc(sizeof(Header) + alignment + capacity));
    if (!memory) return nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    return with_header(memory, round_up(address + sizeof(Header), alignment) - address, capacity);
}

// A page into an allocation: a load waits for earlier stores whose addresses have the same low 12 bits. NumPy's large
// arrays begin 16 bytes into a page, so results that begin further into theirs would be stored where the next loads of x
// appear to be.
Header* allocate_recycled(std::size_t capacity) {
    const std::size_t bytes = page + capacity;
    const bool large = bytes >= 2 * huge_page;
    const std::size_t boundary = large ? huge_page : page;
    char* const memory = static_cast<char*>(std::aligned_alloc(boundary, round_up(bytes, boundary)));
    if (!memory) return nullptr;
    if (large) madvise(memory, bytes, MADV_HUGEPAGE);  // advice: where it is refused, pages are small
    return with_header(memory, page, capacity);
}

Header* allocate(std::size_t capacity) {
    return capacity >= recycled_bytes ? allocate_recycled(capacity) : allocate_small(capacity);
}

// Frees the blocks kept longest until `target` bytes are left. The caller holds the lock.
void shrink(std::size_t target) {
    std::size_t released = 0;
    while (store.kept_bytes > target) {
        store.kept_bytes -= store.kept[released]->capacity;
        release(store.kept[released++]);
    }
    store.kept.erase(store.kept.begin(), store.kept.begin() + std::ptrdiff_t(released));
}

Header* take_kept(std::size_t capacity) {
    const std::lock_guard lock(store.guard);
    auto& kept = store.kept;
    const auto match =
        std::find_if(kept.rbegin(), kept.rend(), [=](Header* block) { return block->capacity == capacity; });
    if (match == kept.rend()) return nullptr;
    Header* const block = *match;
    kept.erase(std::next(match).base());
    store.kept_bytes -= capacity;
    return block;
}

// Returns whether the block is now in the store.
bool keep(Header* block) {
    const std::lock_guard lock(store.guard);
    if (block->capacity > store.cap) return false;
    try {
        shrink(store.cap - block->capacity);
        store.kept.push_back(block);
    } catch (const std::bad_alloc&) {
        return false;
    }
    store.kept_bytes += block->capacity;
    return true;
}
}  // namespace

void* take_block(std::size_t count, std::size_t size) {
    std::size_t bytes;
    // No object is larger than half of the address space, so the sums below do not overflow.
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) throw std::bad_alloc();
    const std::size_t capacity = size_class(std::max(bytes, alignment));
    Header* block = capacity >= recycled_bytes ? take_kept(capacity) : nullptr;
    if (!block) block = allocate(capacity);
    // The kept blocks may hold the memory that is missing.
    if (!block && trim_memory() > 0) block = allocate(capacity);
    if (!block) throw std::bad_alloc();
    return block + 1;
}

std::size_t last_cache_bytes() { return last_cache; }

std::size_t block_bytes(void* block) { return (static_cast<Header*>(block) - 1)->capacity; }

void give_block(void* memory) {
    Header* const block = static_cast<Header*>(memory) - 1;
    if (block->capacity < recycled_bytes || !keep(block)) release(block);
}

std::size_t trim_memory() {
    const std::lock_guard lock(store.guard);
    const std::size_t bytes = store.kept_bytes;
    shrink(0);
    return bytes;
}

std::size_t memory_cap() {
    const std::lock_guard lock(store.guard);
    return store.cap;
}

void set_memory_cap(std::size_t bytes) {
    const std::lock_guard lock(store.guard);
    store.cap = bytes;
    shrink(bytes);
}

void configure_memory() {
    last_cache = largest_cache_size();
    set_memory_cap(
        environment_bytes("TRIMTAB_MEMORY_CAP").value_or(std::min(memory_limit() / 8, std::size_t(1) << 30)));
}
}  // namespace trimtab
