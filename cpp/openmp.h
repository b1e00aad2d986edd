// Limits that were set for OpenMP: by threadpoolctl, or in an OpenMP runtime that the process has loaded. None is
// linked.
#pragma once
#include <string>

namespace trimtab {

struct OpenmpLimit {
    int threads;          // INT_MAX: no limit
    bool set_at_runtime;  // false: the number that OpenMP starts with
};
OpenmpLimit openmp_limit();

void configure_openmp();  // at import: reads OMP_NUM_THREADS
void look_for_openmp();   // a runtime may have been loaded since the last call

// An OpenMP runtime, by the interface that GCC's, LLVM's and Intel's have in common.
struct OpenmpRuntime {
    void (*parallel)(void (*body)(void* data), void* data, unsigned threads, unsigned flags);  // GOMP_parallel
    int (*in_parallel)();
    int (*thread_num)();
    std::string path;
};
// The runtime that was loaded last, so that a program has one pool; if there is none, one of the system. Its current
// number of threads is a limit from now on. Throws std::runtime_error where there is no runtime.
OpenmpRuntime load_openmp();
}  // namespace trimtab
