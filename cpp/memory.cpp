#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

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

// Kept blocks, the most recently returned last. There are few: a linear search is shorter than any index.
std::mutex guard;
std::vector<Header*> kept;
std::size_t kept_bytes = 0;

// fork() must not catch the list half changed, nor leave the child a lock whose holder it does not have.
const int fork_guard = pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); }, [] { guard.unlock(); });

std::size_t default_cap() {
    if (const char* text = std::getenv("TRIMTAB_MEMORY_CAP")) return std::strtoull(text, nullptr, 10);
    const std::size_t memory = std::size_t(sysconf(_SC_PHYS_PAGES)) * std::size_t(sysconf(_SC_PAGESIZE));
    return std::min(memory / 8, std::size_t(1) << 30);
}
std::size_t cap = default_cap();

// In KiB, as "32768K" (sysconf() would give the sum over all sockets).
std::size_t measured_last_cache() {
    std::size_t largest = 0;
    for (const char* index : {"0", "1", "2", "3", "4"}) {
        std::size_t size = 0;
        std::ifstream(std::string("/sys/devices/system/cpu/cpu0/cache/index") + index + "/size") >> size;
        largest = std::max(largest, size << 10);
    }
    return largest ? largest : std::size_t(32) << 20;  // where the system does not tell
}
const std::size_t last_cache = measured_last_cache();

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
    while (kept_bytes > target) {
        kept_bytes -= kept[released]->capacity;
        release(kept[released++]);
    }
    kept.erase(kept.begin(), kept.begin() + std::ptrdiff_t(released));
}
}  // namespace

void* take_block(std::size_t bytes) {
    const std::size_t capacity = size_class(std::max(bytes, alignment));
    if (capacity < bytes) return nullptr;
    if (capacity >= recycled_bytes) {
        const std::lock_guard lock(guard);
        const auto match =
            std::find_if(kept.rbegin(), kept.rend(), [=](Header* block) { return block->capacity == capacity; });
        if (match != kept.rend()) {
            Header* block = *match;
            kept.erase(std::next(match).base());
            kept_bytes -= capacity;
            return block + 1;
        }
    }
    Header* block = allocate(capacity);
    return block ? block + 1 : nullptr;
}

std::size_t last_cache_bytes() { return last_cache; }

std::size_t block_bytes(void* block) { return (static_cast<Header*>(block) - 1)->capacity; }

void give_block(void* memory) {
    Header* block = static_cast<Header*>(memory) - 1;
    if (block->capacity >= recycled_bytes) {
        const std::lock_guard lock(guard);
        if (block->capacity <= cap) {
            shrink(cap - block->capacity);
            kept.push_back(block);
            kept_bytes += block->capacity;
            return;
        }
    }
    release(block);
}

std::size_t trim_memory() {
    const std::lock_guard lock(guard);
    const std::size_t bytes = kept_bytes;
    shrink(0);
    return bytes;
}

std::size_t memory_cap() {
    const std::lock_guard lock(guard);
    return cap;
}

void set_memory_cap(std::size_t bytes) {
    const std::lock_guard lock(guard);
    cap = bytes;
    shrink(cap);
}
}  // namespace trimtab
