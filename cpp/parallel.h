// Work cut into tasks and spread over threads. Only this file and parallel.cpp know the threading runtime.
//
// The cut depends on the shape alone, so the bits do not depend on the number of threads or on who runs a task.
#pragma once
#include <cstddef>

namespace trimtab {

// Threads used at most: what set_num_threads() asks for, else TRIMTAB_NUM_THREADS within the CPUs this process may run on
// and its control group's quota; never more than an OpenMP limit that was set (as by threadpoolctl).
int num_threads();
void set_num_threads(int n);

using Task = void (*)(const void* work, std::ptrdiff_t begin, std::ptrdiff_t end);

// Calls task(work, begin, end) on ranges that cover 0..count. `cost` is the time of all of it on one thread, in ns: work
// too short to share runs on the calling thread, and so does everything inside a task and while another Python thread has
// the team.
void run(std::ptrdiff_t count, double cost, Task task, const void* work);

namespace {
template <class F>
void parallel_for(std::ptrdiff_t count, double cost, const F& f) {
    const auto task = [](const void* work, std::ptrdiff_t begin, std::ptrdiff_t end)
                          __attribute__((flatten)) { (*static_cast<const F*>(work))(begin, end); };
    run(count, cost, task, &f);
}
}  // namespace
}  // namespace trimtab
