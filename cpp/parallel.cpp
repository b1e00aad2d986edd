#include "parallel.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <stdexcept>
#include <string>
#include <utility>

#include "clock.h"
#include "environment.h"
#include "openmp.h"
#include "region.h"
#include "system_limits.h"
#include "team.h"
#include "threading.h"

namespace trimtab {
namespace {

std::atomic<const Engine*> engine = &team;

bool forked = false;
const int fork_guard = pthread_atfork(nullptr, nullptr, [] {
    engine = &team;
    forked = true;
});

// Costs in ns from which threads pay. A sleeping thread takes 10 to 50 us to begin; one that is awake since the last
// call takes less than 1 us. Work between the first two limits runs on several threads only where calls follow each
// other closely: the threads are awake then, or stay awake for the next call once they have been woken.
constexpr double min_cost_asleep = 40e3, min_cost_awake = 2.5e3, min_cost_per_thread = 1e3;

std::atomic<int64_t> last_call = never;  // end of the last one of min_cost_awake or more

std::atomic<int> requested = 0;  // by set_num_threads(); 0: not called
int configured = INT_MAX;        // limit by the environment and the CPU quota, read at import

// Limits that may change while the process runs. To read them takes as long as a short call, so they are read again
// only after this time.
constexpr int64_t limits_valid_ns = 10'000'000;
std::atomic<int64_t> limits_read = never;
std::atomic<int> cpus = INT_MAX;

void read_limits() {
    limits_read.store(now(), std::memory_order_relaxed);
    cpus.store(allowed_cpus(), std::memory_order_relaxed);
    look_for_openmp();
}

int current_limit(const Engine& engine) {
    const OpenmpLimit openmp = openmp_limit();
    const int n = requested.load(std::memory_order_relaxed);
    if (n > 0) return std::min({n, openmp.set_at_runtime ? openmp.threads : INT_MAX, engine.max_threads});
    return std::min({configured, cpus.load(std::memory_order_relaxed), openmp.threads, engine.max_threads});
}

int threads_for(const Engine& engine, std::ptrdiff_t count, double cost, int64_t since_last_call) {
    if (since_last_call > engine.awake_ns && cost < min_cost_asleep) return 1;
    return int(std::min({double(current_limit(engine)), double(count), cost / min_cost_per_thread}));
}

int threads_for(const Engine& engine, std::ptrdiff_t count, double cost) {
    if (count < 2 || cost < min_cost_awake) return 1;
    const int64_t time = now();
    if (time - limits_read.load(std::memory_order_relaxed) > limits_valid_ns) read_limits();
    return threads_for(engine, count, cost, time - last_call.load(std::memory_order_relaxed));
}

thread_local std::vector<Run>* recorded_runs = nullptr;

void record(const Engine& engine, std::ptrdiff_t count, double cost) {
    const bool alone = count < 2 || cost < min_cost_awake;
    const auto threads = [&](int64_t pause) { return alone ? 1 : threads_for(engine, count, cost, pause); };
    recorded_runs->push_back({count, cost, threads(INT64_MAX), threads(0)});
}
}  // namespace

void (*before_work)(double) = nullptr;

int num_threads() {
    read_limits();
    return current_limit(*engine.load(std::memory_order_relaxed));
}

void set_num_threads(int n) { requested = n; }

void configure_threads() {
    configured = std::min(environment_count("TRIMTAB_NUM_THREADS").value_or(INT_MAX), cpu_quota());
    configure_openmp();
    const std::string name = environment_text("TRIMTAB_THREADING").value_or(team.name);
    try {
        if (!set_threading(name)) refuse_environment("TRIMTAB_THREADING", "be one of team, openmp", name);
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(std::string("TRIMTAB_THREADING: ") + error.what());
    }
}

bool set_threading(const std::string& name) {
    if (name == "openmp") {
        if (forked)
            throw std::runtime_error("'openmp' would hang in a child of fork: its parent's threads are missing");
        engine = &load_region();
    } else if (name == "team") {
        engine = &team;
    } else {
        return false;
    }
    return true;
}

const char* threading() { return engine.load(std::memory_order_relaxed)->name; }

std::string openmp_runtime() { return engine.load(std::memory_order_relaxed) == &team ? "none" : region_runtime(); }

std::vector<Run>* record_runs(std::vector<Run>* runs) { return std::exchange(recorded_runs, runs); }

void run(std::ptrdiff_t count, double cost, Task task, const void* work) {
    if (count <= 0) return;
    if (before_work) before_work(cost);
    const Engine& chosen = *engine.load(std::memory_order_relaxed);
    if (recorded_runs) record(chosen, count, cost);
    const int threads = threads_for(chosen, count, cost);
    if (threads == 1 || !chosen.run(count, threads, task, work)) task(work, 0, count);
    if (cost >= min_cost_awake) last_call.store(now(), std::memory_order_relaxed);
}
}  // namespace trimtab
