// Work cut into tasks and spread over threads. Kernels know no more of threads than this.
//
// The cut depends on the shape alone, so the bits do not depend on the number of threads or on who runs a task.
#pragma once
#include <cstddef>

namespace trimtab {

// Threads used at most: what set_num_threads() asks for, else TRIMTAB_NUM_THREADS within the CPUs that the calling thread
// may run on and the control group's quota; never more than a limit of OpenMP's that was set.
int num_threads();
void set_num_threads(int n);
void configure_threads();  // at import: reads the environment and the quota

using Task = void (*)(const void* work, std::ptrdiff_t begin, std::ptrdiff_t end);

// Calls task(work, begin, end) on ranges that cover 0..count. `cost` is the time of all of it on one thread, in ns: work
// too short to share runs on the calling thread, and so does everything inside a task and while another Python thread has
// the team. Throws what the first task to fail has thrown, once no task runs any more; some are not begun then.
void run(std::ptrdiff_t count, double cost, Task task, const void* work);

// Called with the cost of each run() on the thread that asks for it, before it begins.
extern void (*before_work)(double cost);

namespace {
template <class F>
void parallel_for(std::ptrdiff_t count, double cost, const F& f) {
    const auto task = [](const void* work, std::ptrdiff_t begin, std::ptrdiff_t end)
                          __attribute__((flatten)) { (*static_cast<const F*>(work))(begin, end); };
    run(count, cost, task, &f);
}
}  // namespace
}  // namespace trimtab
