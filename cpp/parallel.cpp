#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <climits>

#include "clock.h"
#include "environment.h"
#include "limits.h"
#include "openmp.h"
#include "team.h"

namespace trimtab {
namespace {

// Nanoseconds. A thread that sleeps takes 10 to 50 us to come, one that is still awake from the last call less than one.
// Work in between is shared where calls follow each other closely: the team is awake then or, once woken, stays so for
// the next.
constexpr double worth_waking = 40e3, worth_sharing = 2.5e3, share_per_thread = 1e3;

std::atomic<int64_t> last_call = never;  // of those worth sharing

std::atomic<int> requested = 0;  // by set_num_threads(); 0: not at all
int configured = INT_MAX;        // what the environment and the quota leave, as far as they can be told from at import

// What the system says changes seldom, and to ask takes as long as a short call.
constexpr int64_t stays_true = 10'000'000;
std::atomic<int64_t> last_look = never;
std::atomic<int> cpus = INT_MAX;

void look_at_system() {
    last_look.store(now(), std::memory_order_relaxed);
    cpus.store(allowed_cpus(), std::memory_order_relaxed);
    look_for_openmp();
}

int known_limit() {
    const OpenmpLimit openmp = openmp_limit();
    const int n = requested.load(std::memory_order_relaxed);
    if (n > 0) return std::min({n, openmp.chosen ? openmp.threads : INT_MAX, max_team});
    return std::min({configured, cpus.load(std::memory_order_relaxed), openmp.threads, max_team});
}

int threads_for(std::ptrdiff_t count, double cost) {
    if (count < 2 || cost < worth_sharing) return 1;
    const int64_t time = now();
    if (time - last_look.load(std::memory_order_relaxed) > stays_true) look_at_system();
    const int threads = int(std::min({double(known_limit()), double(count), cost / share_per_thread}));
    if (threads > 1 && cost < worth_waking && time - last_call.load(std::memory_order_relaxed) > stays_awake) return 1;
    return threads;
}
}  // namespace

void (*before_work)(double) = nullptr;

int num_threads() {
    look_at_system();
    return known_limit();
}

void set_num_threads(int n) { requested = n; }

void configure_threads() {
    configured = std::min(environment_count("TRIMTAB_NUM_THREADS").value_or(INT_MAX), cpu_quota());
    configure_openmp();
}

void run(std::ptrdiff_t count, double cost, Task task, const void* work) {
    if (count <= 0) return;
    if (before_work) before_work(cost);
    const int threads = threads_for(count, cost);
    if (threads == 1 || !run_on_team(count, threads, task, work)) task(work, 0, count);
    if (cost >= worth_sharing) last_call.store(now(), std::memory_order_relaxed);
}
}  // namespace trimtab
