// What the system lets this process have: CPUs, memory.
#pragma once
#include <cstddef>

namespace trimtab {

int allowed_cpus();                // on which the calling thread may run
int cpu_quota();                   // of its control group, rounded up; INT_MAX: none
std::size_t memory_limit();        // of the machine, the control group and the address space: the least
std::size_t largest_cache_size();  // in bytes; all cores may share it
}  // namespace trimtab
