// A job: the tasks of one call, and how the threads of an engine share them.
#pragma once
#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>

#include "engine.h"

namespace trimtab {

// Each thread takes the tasks of its own range first: its caches hold their data from the last call. Then it helps the
// others, so a core that is slowed down by another process does not delay the rest.
struct alignas(64) TaskRange {
    std::atomic<std::ptrdiff_t> next;
    std::ptrdiff_t end;
};

struct Job {
    static constexpr int max_threads = 256;
    Task task;
    const void* work;
    std::ptrdiff_t tasks_at_once;
    int threads;
    std::atomic<bool> failed = false;
    std::exception_ptr failure;
    TaskRange ranges[max_threads];

    void describe(std::ptrdiff_t count, int number_of_threads, Task the_task, const void* the_work) {
        task = the_task;
        work = the_work;
        threads = number_of_threads;
        // A few at once: less traffic between cores than one task at a time, and still balanced.
        tasks_at_once = std::max<std::ptrdiff_t>(1, count / (threads * 16));
        const std::ptrdiff_t whole = count / threads, rest = count % threads;
        for (int t = 0; t < threads; ++t) {
            ranges[t].next.store(t == 0 ? 0 : ranges[t - 1].end, std::memory_order_relaxed);
            ranges[t].end = whole * (t + 1) + rest * (t + 1) / threads;
        }
    }

    // Returns once no task is left to begin. After a failure nobody takes another task.
    void run_tasks(int self) noexcept try {
        for (int other = 0; other < threads; ++other) {
            TaskRange& range = ranges[(self + other) % threads];
            while (!failed.load(std::memory_order_relaxed)) {
                const auto begin = range.next.fetch_add(tasks_at_once, std::memory_order_relaxed);
                if (begin >= range.end) break;
                task(work, begin, std::min(begin + tasks_at_once, range.end));
            }
        }
    } catch (...) {
        if (!failed.exchange(true, std::memory_order_relaxed)) failure = std::current_exception();
    }

    // Once all threads have returned: the first exception, or null.
    std::exception_ptr take_failure() {
        failed.store(false, std::memory_order_relaxed);
        return std::exchange(failure, nullptr);
    }
};
}  // namespace trimtab
