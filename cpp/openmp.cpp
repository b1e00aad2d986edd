#include "openmp.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <climits>

#include "environment.h"

namespace trimtab {
namespace {

// Set by threadpoolctl through python/trimtab/_threadpoolctl.py. 0: no limit. Never negative.
std::atomic<int> threadpoolctl_limit = 0;

using Count = int (*)();
std::atomic<Count> max_threads = nullptr, num_procs = nullptr;  // omp_get_max_threads, omp_get_num_procs

// Keeps the library of this function loaded: it will be called before every long call.
bool pin(void* function) {
    Dl_info library;
    return dladdr(function, &library) && dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

// The number of threads that OpenMP starts with: that of its variable, else the number of CPUs at that time.
int from_environment = INT_MAX;
std::atomic<int> initial_procs = 0;
}  // namespace

void configure_openmp() { from_environment = openmp_environment().value_or(INT_MAX); }

void look_for_openmp() {
    if (max_threads.load(std::memory_order_relaxed)) return;
    void* const threads = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    void* const procs = threads ? dlsym(RTLD_DEFAULT, "omp_get_num_procs") : nullptr;
    if (!procs || !pin(threads)) return;
    num_procs.store(reinterpret_cast<Count>(procs), std::memory_order_relaxed);
    initial_procs.store(num_procs.load(std::memory_order_relaxed)(), std::memory_order_relaxed);
    max_threads.store(reinterpret_cast<Count>(threads), std::memory_order_release);
}

OpenmpLimit openmp_limit() {
    OpenmpLimit limit{from_environment, false};
    if (const Count current = max_threads.load(std::memory_order_acquire)) {
        const int threads = current();
        const bool initial = from_environment != INT_MAX ? threads == from_environment
                                                         : threads == initial_procs.load(std::memory_order_relaxed) ||
                                                               threads == num_procs.load(std::memory_order_relaxed)();
        if (!initial) limit = {threads, true};
    }
    const int controlled = threadpoolctl_limit.load(std::memory_order_relaxed);
    if (controlled == 0) return limit;
    return {limit.set_at_runtime ? std::min(controlled, limit.threads) : controlled, true};
}
}  // namespace trimtab

// The interface for threadpoolctl, which calls C functions.
extern "C" {
__attribute__((visibility("default"))) int trimtab_get_thread_limit() { return trimtab::threadpoolctl_limit; }
__attribute__((visibility("default"))) void trimtab_set_thread_limit(int n) {
    trimtab::threadpoolctl_limit = std::max(n, 0);
}
}
