#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "environment.h"
#include "limits.h"

namespace trimtab {
namespace {

constexpr std::size_t alignment = 64, page = 4096, huge_page = 2 << 20;

// Stands right before the memory that is handed out.
struct alignas(alignment) Header {
    std::size_t capacity;
};

// Of the memory from the begin of its block. Recycled memory begins a page. A load waits for stores before it whose
// addresses end in the same 12 bits: behind NumPy's large arrays, which begin 16 bytes after a page, results that begin
// later in theirs are written just where the next loads seem to be.
std::size_t offset(std::size_t capacity) { return capacity >= recycled_bytes ? page : sizeof(Header); }

void release(Header* block) { std::free(reinterpret_cast<char*>(block + 1) - offset(block->capacity)); }

// Blocks that were given back, the most recently returned last. They are few: a linear search is shorter than any index.
struct Store {
    std::mutex guard;
    std::vector<Header*> kept;
    std::size_t kept_bytes = 0, cap = 0;
};
// Never destroyed: while the process ends, daemon threads may still give back what they use.
alignas(Store) char store_place[sizeof(Store)];
Store& store = *new (store_place) Store;

// fork() must not catch the store half changed, nor leave the child a lock whose holder it does not have.
const int fork_guard =
    pthread_atfork([] { store.guard.lock(); }, [] { store.guard.unlock(); }, [] { store.guard.unlock(); });

std::size_t last_cache = 0;

// Sizes are rounded up to one of eight steps per octave, so that a block fits all requests within 12.5 %.
std::size_t size_class(std::size_t bytes) {
    std::size_t step = alignment;
    while (step * 16 < bytes) step *= 2;
    return (bytes + step - 1) / step * step;
}

Header* allocate(std::size_t capacity) {
    const std::size_t bytes = offset(capacity) + capacity;
    const bool large = bytes >= 2 * huge_page;
    const std::size_t boundary = large ? huge_page : offset(capacity);
    char* const memory = static_cast<char*>(std::aligned_alloc(boundary, (bytes + boundary - 1) / boundary * boundary));
    if (!memory) return nullptr;
    if (large) madvise(memory, bytes, MADV_HUGEPAGE);  // advice: where it is refused, pages are small
    return new (memory + offset(capacity) - sizeof(Header)) Header{capacity};
}

// Releases the blocks kept longest until `target` bytes are left. Called with the guard held.
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

// Whether the store has it now.
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
    // No object is larger than half of the address space; sums below do not overflow then.
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) throw std::bad_alloc();
    const std::size_t capacity = size_class(std::max(bytes, alignment));
    Header* block = capacity >= recycled_bytes ? take_kept(capacity) : nullptr;
    if (!block) block = allocate(capacity);
    // What is kept may be what is missing.
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
