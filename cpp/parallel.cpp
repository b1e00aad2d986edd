#include "parallel.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace trimtab {
namespace {

// Nanoseconds. A thread that sleeps takes 10 to 50 us to come, one that is still awake from the last call less than one.
// Work in between is shared where calls follow each other closely: the team is awake then or, once woken, stays so for
// the next. It sleeps before long: BLAS has threads of its own, and wants the CPUs for a matrix product between two calls.
constexpr double worth_waking = 40e3, worth_sharing = 2.5e3, share_per_thread = 1e3;
constexpr int64_t stays_awake = 100'000;

std::atomic<int64_t> last_call = INT64_MIN / 2;  // of those worth sharing

int64_t now() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

int affinity_limit() {
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : INT_MAX;
}

// CPUs granted by a "quota period" pair (cgroup v2 cpu.max; v1 keeps the two in separate files).
int quota_limit(double quota, double period) {
    return quota > 0 && period > 0 ? std::max(1, int(std::ceil(quota / period))) : INT_MAX;
}

double number_in(const std::string& path) {
    double value = 0;
    std::ifstream(path) >> value;
    return value;
}

int cgroup_limit() {
    int limit = INT_MAX;
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        const auto controllers = line.find(':') + 1, path = line.find(':', controllers) + 1;
        const bool unified = line.compare(0, 3, "0::") == 0;
        if (!unified && line.find("cpu", controllers) >= path) continue;
        // Every ancestor's limit counts; inside a container the group's own path may be hidden and its root mounted.
        for (std::string group = line.substr(path);; group.erase(std::min(group.rfind('/'), group.size()))) {
            if (group == "/") group.clear();
            if (unified) {
                double quota = 0, period = 0;
                std::ifstream("/sys/fs/cgroup" + group + "/cpu.max") >> quota >> period;
                limit = std::min(limit, quota_limit(quota, period));
            } else {
                const std::string folder = "/sys/fs/cgroup/cpu" + group;
                limit = std::min(limit, quota_limit(number_in(folder + "/cpu.cfs_quota_us"),
                                                    number_in(folder + "/cpu.cfs_period_us")));
            }
            if (group.empty()) break;
        }
    }
    return limit;
}

int environment_limit() {
    const char* text = std::getenv("TRIMTAB_NUM_THREADS");
    const int n = text ? std::atoi(text) : 0;
    return n > 0 ? n : INT_MAX;
}

// OpenMP's limit counts where somebody set it: in the environment, or later, as threadpoolctl does.
const int openmp_default = omp_get_max_threads();
int openmp_limit() {
    const int limit = omp_get_max_threads();
    return limit == openmp_default ? INT_MAX : limit;
}

std::atomic<int> requested = std::min({environment_limit(), affinity_limit(), cgroup_limit(), openmp_default});

int threads_for(std::ptrdiff_t count, double cost) {
    if (count < 2 || cost < worth_sharing) return 1;
    const int threads = int(std::min({double(num_threads()), double(count), cost / share_per_thread}));
    if (threads > 1 && cost < worth_waking && now() - last_call > stays_awake) return 1;
    return threads;
}

// ---- the team: the caller, and threads of ours that join it while there is work ----
//
// Not a team of OpenMP, whose regions end when every thread has come and gone: where the system lets one wait for a CPU,
// the caller waits for a thread that has nothing left to do. Here it waits for those alone that have begun.

constexpr int max_threads = 256;

// Each thread takes tasks from its own contiguous share, so that it meets the data it met before, and then helps others:
// a core that is slowed down by another process does not hold up the rest.
struct alignas(64) Share {
    std::atomic<std::ptrdiff_t> next;
    std::ptrdiff_t end;
};

struct {
    Task task;
    const void* work;
    std::ptrdiff_t take;
    int threads;
    Share shares[max_threads];
} job;  // written by the holder of the team while it is closed

std::atomic<bool> team_in_use = false;
constexpr int closed = 1 << 30;
alignas(64) std::atomic<int> present = closed;  // workers at the job; closed: nobody joins any more

struct alignas(64) Bell {
    std::atomic<std::uint32_t> rings = 0;
} bells[max_threads];  // of the workers, by their number from 1 on
int employed = 0;      // workers; changed by the holder of the team
std::atomic<int> caller_cpu = 0;

// A child of fork() has none of its parent's threads. It gets its own when it needs them.
const int fork_guard = pthread_atfork(nullptr, nullptr, [] {
    employed = 0;
    present = closed;
    team_in_use = false;
});

// Waits a moment: for a thread on another CPU or, now and then, for one that could run on this.
void wait_a_moment(int round) {
    if (round % 64 == 63) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

void take_tasks(int self) {
    for (int other = 0; other < job.threads; ++other) {
        Share& share = job.shares[(self + other) % job.threads];
        for (;;) {
            const auto begin = share.next.fetch_add(job.take, std::memory_order_relaxed);
            if (begin >= share.end) break;
            job.task(job.work, begin, std::min(begin + job.take, share.end));
        }
    }
}

bool join() {
    for (int others = present.load(std::memory_order_relaxed); !(others & closed);)
        if (present.compare_exchange_weak(others, others + 1, std::memory_order_acquire)) return true;
    return false;
}

// The system may wake a thread on the CPU of the one that woke it although another is idle, and would do so again and
// again.
void leave_cpu(int cpu) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    cpu_set_t others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
}

void await_ring(const Bell& bell, std::uint32_t heard) {
    const int64_t asleep = now() + stays_awake;
    for (int round = 0; bell.rings.load(std::memory_order_relaxed) == heard; ++round) {
        wait_a_moment(round);
        if (round % 64 == 0 && now() > asleep) {
            bell.rings.wait(heard, std::memory_order_relaxed);
            const int cpu = caller_cpu.load(std::memory_order_relaxed);
            if (sched_getcpu() == cpu) leave_cpu(cpu);
        }
    }
}

void* worker(void* number) {
    const int self = int(reinterpret_cast<std::intptr_t>(number));
    for (;;) {
        const std::uint32_t heard = bells[self].rings.load(std::memory_order_relaxed);
        if (join()) {
            if (self < job.threads) take_tasks(self);
            present.fetch_sub(1, std::memory_order_release);
        }
        await_ring(bells[self], heard);
    }
    return nullptr;
}

// Workers up to this number, as far as the system gives them. They take no signals: those are for the threads of others.
void employ(int workers) {
    if (employed >= workers) return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    while (employed < workers &&
           pthread_create(&thread, &detached, worker, reinterpret_cast<void*>(std::intptr_t(employed + 1))) == 0)
        ++employed;
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void run_shared(std::ptrdiff_t count, int threads, Task task, const void* work) {
    employ(threads - 1);
    job.task = task;
    job.work = work;
    job.threads = threads;
    // A few takes a share: less traffic between cores than one task at a time, still balanced.
    job.take = std::max<std::ptrdiff_t>(1, count / (threads * 16));
    for (int t = 0; t < threads; ++t) {
        job.shares[t].next.store(count * t / threads, std::memory_order_relaxed);
        job.shares[t].end = count * (t + 1) / threads;
    }
    caller_cpu.store(sched_getcpu(), std::memory_order_relaxed);
    present.store(0, std::memory_order_release);
    for (int t = 1; t <= std::min(employed, threads - 1); ++t) {
        bells[t].rings.fetch_add(1, std::memory_order_release);
        bells[t].rings.notify_one();
    }
    take_tasks(0);
    present.fetch_or(closed, std::memory_order_relaxed);
    for (int round = 0; present.load(std::memory_order_acquire) != closed; ++round) wait_a_moment(round);
}
}  // namespace

int num_threads() { return std::min({requested.load(std::memory_order_relaxed), openmp_limit(), max_threads}); }

void set_num_threads(int n) { requested = n; }

void run(std::ptrdiff_t count, double cost, Task task, const void* work) {
    if (count <= 0) return;
    const int threads = threads_for(count, cost);
    if (threads == 1 || team_in_use.exchange(true, std::memory_order_acquire)) {
        task(work, 0, count);
    } else {
        run_shared(count, threads, task, work);
        team_in_use.store(false, std::memory_order_release);
    }
    if (cost >= worth_sharing) last_call.store(now(), std::memory_order_relaxed);
}
}  // namespace trimtab
