// parallel_for: runs the tasks of a call on several threads. Kernels know nothing else of threads.
//
// A kernel cuts its work into tasks by shape alone. So the bits of a result depend neither on the number of threads nor
// on which thread runs a task.
#pragma once
#include <cstddef>

namespace trimtab {

// The largest number of threads a call may use. set_num_threads() sets it; otherwise it is the smallest of
// TRIMTAB_NUM_THREADS, OMP_NUM_THREADS, the CPUs that the calling thread may run on and the CPU quota of the control
// group. A limit that is set at run time, by threadpoolctl or in an OpenMP runtime, replaces OMP_NUM_THREADS and also
// bounds set_num_threads().
int num_threads();
void set_num_threads(int n);
void configure_threads();  // at import: reads the environment and the CPU quota

using Task = void (*)(const void* work, std::ptrdiff_t begin, std::ptrdiff_t end);

// Calls task(work, begin, end) on ranges that cover 0..count. `cost` is the time of the whole work on one thread, in
// ns. Everything runs on the calling thread if the work is short, if the call comes from inside a task, or if another
// Python thread is running tasks. The first exception of a task is thrown again once no task runs any more; tasks not begun by then are
// skipped.
void run(std::ptrdiff_t count, double cost, Task task, const void* work);

// run() calls this first, on the thread that called it.
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
