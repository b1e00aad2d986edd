// The threads that do the work: the caller, and workers of ours that join it while there is work.
#pragma once
#include "parallel.h"

namespace trimtab {

constexpr int max_team = 256;  // threads

// Runs the tasks on up to `threads` threads; false where another thread has the team.
bool run_on_team(std::ptrdiff_t count, int threads, Task task, const void* work);
}  // namespace trimtab
