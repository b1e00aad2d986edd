// A parallel region of OpenMP. All threads of the region have to arrive and leave before the caller goes on; the
// team (team.cpp) waits only for those that have begun. In return a program that uses OpenMP elsewhere has one pool of
// threads instead of two.
//
// The region may have fewer threads than were asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC): those that come do all tasks.
// One region runs at a time: other threads of Python would start a pool of OpenMP each.
#include "region.h"

#include <atomic>
#include <memory>
#include <new>

#include "job.h"
#include "openmp.h"

namespace trimtab {
namespace {

// How long threads of a region stay awake is up to the runtime: 1 to 5 ms in GCC's, 200 in LLVM's, 0 with
// OMP_WAIT_POLICY=passive. A wrong guess costs a late start, or a thread instead of several in a short call.
constexpr std::int64_t awake_ns = 1'000'000;

// Never freed: a region may still use the runtime of an earlier load.
std::atomic<const OpenmpRuntime*> runtime = nullptr;

// Never destroyed: daemon threads may still run while the process ends.
alignas(Job) char job_memory[sizeof(Job)];
Job& job = *new (job_memory) Job;

std::atomic<bool> in_use = false;

bool run_in_region(std::ptrdiff_t count, int threads, Task task, const void* work) {
    const OpenmpRuntime& openmp = *runtime.load(std::memory_order_acquire);
    // A region within a region would start threads for each thread of the outer one.
    if (openmp.in_parallel() || in_use.exchange(true, std::memory_order_acquire)) return false;
    job.describe(count, threads, task, work);
    const auto body = [](void* thread_num) { job.run_tasks(reinterpret_cast<int (*)()>(thread_num)()); };
    openmp.parallel(body, reinterpret_cast<void*>(openmp.thread_num), unsigned(threads), 0);
    const std::exception_ptr failure = job.take_failure();
    in_use.store(false, std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
    return true;
}

constexpr Engine region = {
    .name = "openmp", .max_threads = Job::max_threads, .awake_ns = awake_ns, .run = run_in_region};
}  // namespace

const Engine& load_region() {
    auto found = std::make_unique<OpenmpRuntime>(load_openmp());
    const OpenmpRuntime* const current = runtime.load(std::memory_order_acquire);
    if (!current || current->path != found->path) runtime.store(found.release(), std::memory_order_release);
    return region;
}

std::string region_runtime() {
    const OpenmpRuntime* const current = runtime.load(std::memory_order_acquire);
    return current ? current->path : "";
}
}  // namespace trimtab
