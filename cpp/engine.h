// The interface of what runs tasks on threads. parallel.cpp decides how many threads a call is worth; an engine runs
// them.
#pragma once
#include <cstdint>

#include "parallel.h"

namespace trimtab {

struct Engine {
    const char* name;
    int max_threads;
    std::int64_t awake_ns;  // after a call, its threads stay awake for so long
    // Runs task(work, begin, end) on ranges that cover 0..count, on up to `threads` threads including the caller.
    // Returns once no task runs any more, and throws the first exception of a task; tasks not begun by then are
    // skipped. Returns false, without having run any task, while another thread uses the engine.
    bool (*run)(std::ptrdiff_t count, int threads, Task task, const void* work);
};
}  // namespace trimtab
