#include "parallel.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace trimtab {
namespace {

// Nanoseconds. Waking a sleeping team costs 10 to 50 us, a team still spinning from the last region 1 to 2 us. Work in
// between is shared where calls follow each other closely: the team is awake then or, once woken, stays so for the next.
constexpr double worth_waking = 40e3, worth_sharing = 15e3, share_per_thread = 4e3;
constexpr int64_t team_stays_hot = 200'000;

std::atomic<bool> team_in_use = false;
std::atomic<int64_t> last_call = INT64_MIN / 2;  // of those worth sharing
bool used_threads = false;                       // written only by the holder of the team
bool forked_from_threads = false;

int64_t now() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

// A child of fork() has none of its parent's threads but inherits the runtime's belief in them: its first region hangs.
const int fork_guard = pthread_atfork(nullptr, nullptr, [] {
    forked_from_threads = forked_from_threads || used_threads;
    team_in_use = false;
});

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
    if (count < 2 || cost < worth_sharing || forked_from_threads || omp_in_parallel()) return 1;
    const int threads = int(std::min({double(num_threads()), double(count), cost / share_per_thread}));
    if (threads > 1 && cost < worth_waking && now() - last_call > team_stays_hot) return 1;
    return threads;
}

// Each thread takes tasks from its own contiguous share, so that it meets the data it met before, and then helps others:
// a core that is slowed down by another process does not hold up the rest.
struct alignas(64) Share {
    std::atomic<std::ptrdiff_t> next;
    std::ptrdiff_t end;
};
constexpr int max_threads = 256;

void run_shared(std::ptrdiff_t count, int threads, Task task, const void* work) {
    static Share shares[max_threads];  // guarded by team_in_use
    // A few takes a share: less traffic between cores than one task at a time, still balanced.
    const std::ptrdiff_t take = std::max<std::ptrdiff_t>(1, count / (threads * 16));
    for (int t = 0; t < threads; ++t) {
        shares[t].next.store(count * t / threads, std::memory_order_relaxed);
        shares[t].end = count * (t + 1) / threads;
    }
#pragma omp parallel num_threads(threads)
    {
        const int self = omp_get_thread_num();
        for (int other = 0; other < threads; ++other) {
            Share& share = shares[(self + other) % threads];
            for (;;) {
                const auto begin = share.next.fetch_add(take, std::memory_order_relaxed);
                if (begin >= share.end) break;
                task(work, begin, std::min(begin + take, share.end));
            }
        }
    }
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
        used_threads = true;
        run_shared(count, threads, task, work);
        team_in_use.store(false, std::memory_order_release);
    }
    if (cost >= worth_sharing) last_call.store(now(), std::memory_order_relaxed);
}
}  // namespace trimtab
