#include "openmp.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <climits>

#include "environment.h"

namespace trimtab {
namespace {

// What threadpoolctl sets, by way of python/trimtab/_threadpoolctl.py. 0: no limit. Never negative.
std::atomic<int> controlled = 0;

using Count = int (*)();
std::atomic<Count> max_threads = nullptr, num_procs = nullptr;  // omp_get_max_threads, omp_get_num_procs

// It stays loaded from now on: it is asked before every long call.
bool pin(void* function) {
    Dl_info library;
    return dladdr(function, &library) && dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

// With how many threads OpenMP begins: as its variable says, else as many as there are CPUs at that time.
int from_environment = INT_MAX;
std::atomic<int> at_first_sight = 0;
}  // namespace

void configure_openmp() { from_environment = openmp_environment().value_or(INT_MAX); }

void look_for_openmp() {
    if (max_threads.load(std::memory_order_relaxed)) return;
    void* const threads = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    void* const procs = threads ? dlsym(RTLD_DEFAULT, "omp_get_num_procs") : nullptr;
    if (!procs || !pin(threads)) return;
    num_procs.store(reinterpret_cast<Count>(procs), std::memory_order_relaxed);
    at_first_sight.store(num_procs.load(std::memory_order_relaxed)(), std::memory_order_relaxed);
    max_threads.store(reinterpret_cast<Count>(threads), std::memory_order_release);
}

OpenmpLimit openmp_limit() {
    OpenmpLimit limit{from_environment, false};
    if (const Count ask = max_threads.load(std::memory_order_acquire)) {
        const int threads = ask();
        const bool as_begun = from_environment != INT_MAX ? threads == from_environment
                                                          : threads == at_first_sight.load(std::memory_order_relaxed) ||
                                                                threads == num_procs.load(std::memory_order_relaxed)();
        if (!as_begun) limit = {threads, true};
    }
    const int ours = controlled.load(std::memory_order_relaxed);
    if (ours == 0) return limit;
    return {limit.chosen ? std::min(ours, limit.threads) : ours, true};
}
}  // namespace trimtab

// For threadpoolctl, which calls functions of C.
extern "C" {
__attribute__((visibility("default"))) int trimtab_get_thread_limit() { return trimtab::controlled; }
__attribute__((visibility("default"))) void trimtab_set_thread_limit(int n) { trimtab::controlled = std::max(n, 0); }
}
