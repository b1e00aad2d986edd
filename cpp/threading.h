// The choice of the engine, and how calls are cut into tasks.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace trimtab {

// "team" or "openmp". Returns false for any other name; throws std::runtime_error where OpenMP cannot be used. A child
// of fork() uses the team: a region of OpenMP would hang there.
bool set_threading(const std::string& name);
const char* threading();
std::string openmp_runtime();  // the path of the runtime in use; "none" with the team

// What run() was asked for, and on how many threads it runs that after a pause and in a series of calls.
struct Run {
    std::ptrdiff_t tasks;
    double cost;  // ns
    int threads_after_pause, threads_in_series;
};
// Records the runs of this thread in `runs` until the next call; null: no longer. Returns what was set before.
std::vector<Run>* record_runs(std::vector<Run>* runs);
}  // namespace trimtab
