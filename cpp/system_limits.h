// Limits that the system sets for this process: CPUs, memory, caches.
#pragma once
#include <cstddef>

namespace trimtab {

int allowed_cpus();                // CPUs that the calling thread may run on
int cpu_quota();                   // of the control group, rounded up; INT_MAX: none
std::size_t memory_limit();        // the smallest of machine, control groups and RLIMIT_AS; bytes
std::size_t largest_cache_size();  // bytes; all cores may share it
}  // namespace trimtab
