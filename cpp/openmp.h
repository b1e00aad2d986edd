// Limits that others set by OpenMP's means: threadpoolctl, or an OpenMP runtime that somebody has loaded. We link none.
#pragma once

namespace trimtab {

struct OpenmpLimit {
    int threads;  // INT_MAX: none
    bool chosen;  // set by somebody while the process runs, rather than the number it starts with
};
OpenmpLimit openmp_limit();

void configure_openmp();  // at import: reads OMP_NUM_THREADS
void look_for_openmp();   // a runtime may have been loaded since the last look
}  // namespace trimtab
