#include "openmp.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <stdexcept>

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

void follow(void* threads, void* procs) {
    num_procs.store(reinterpret_cast<Count>(procs), std::memory_order_relaxed);
    initial_procs.store(num_procs.load(std::memory_order_relaxed)(), std::memory_order_relaxed);
    max_threads.store(reinterpret_cast<Count>(threads), std::memory_order_release);
}

// The path of the runtime that was loaded last; empty without one. Wheels bring runtimes whose symbols are visible to
// their own libraries alone.
std::string loaded_runtime() {
    std::string path;
    const auto visit = [](dl_phdr_info* library, std::size_t, void* found) {
        const std::string_view name = library->dlpi_name;
        const std::string_view file = name.substr(name.rfind('/') + 1);
        for (const char* runtime : {"libgomp", "libomp", "libiomp5"})
            if (file.starts_with(runtime) && file.find_first_of(".-") == std::string_view(runtime).size())
                *static_cast<std::string*>(found) = name;
        return 0;
    };
    dl_iterate_phdr(visit, &path);
    return path;
}

template <class Function>
void set_symbol(Function& function, void* library, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function) throw std::runtime_error(std::string("the OpenMP runtime has no ") + name);
}
}  // namespace

void configure_openmp() { from_environment = openmp_environment().value_or(INT_MAX); }

void look_for_openmp() {
    if (max_threads.load(std::memory_order_relaxed)) return;
    void* const threads = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    void* const procs = threads ? dlsym(RTLD_DEFAULT, "omp_get_num_procs") : nullptr;
    if (procs && pin(threads)) follow(threads, procs);
}

OpenmpRuntime load_openmp() {
    OpenmpRuntime runtime{.path = loaded_runtime()};
    void* library = nullptr;
    for (const char* path : {runtime.path.c_str(), "libgomp.so.1", "libomp.so.5", "libomp.so", "libiomp5.so"})
        if (*path && (library = dlopen(path, RTLD_LAZY | RTLD_NODELETE))) break;
    if (!library)
        throw std::runtime_error(
            "'openmp' needs an OpenMP runtime, and none is loaded or installed: install libgomp (libgomp1 in Debian), "
            "or "
            "import a package that brings one first, such as scikit-learn or PyTorch");
    set_symbol(runtime.parallel, library, "GOMP_parallel");
    set_symbol(runtime.in_parallel, library, "omp_in_parallel");
    set_symbol(runtime.thread_num, library, "omp_get_thread_num");
    Count threads, procs;
    set_symbol(threads, library, "omp_get_max_threads");
    set_symbol(procs, library, "omp_get_num_procs");
    follow(reinterpret_cast<void*>(threads), reinterpret_cast<void*>(procs));
    runtime.path = loaded_runtime();
    return runtime;
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
