// Limits that were set for OpenMP: by threadpoolctl, or in an OpenMP runtime that the process has loaded. None is
// linked.
#pragma once

namespace trimtab {

struct OpenmpLimit {
    int threads;          // INT_MAX: no limit
    bool set_at_runtime;  // false: the number that OpenMP starts with
};
OpenmpLimit openmp_limit();

void configure_openmp();  // at import: reads OMP_NUM_THREADS
void look_for_openmp();   // a runtime may have been loaded since the last call
}  // namespace trimtab
