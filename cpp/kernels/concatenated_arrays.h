// Arrays taken as if they were concatenated, and cut into tasks of equal size: many small arrays cost what a large one
// does.
#pragma once
#include "../memory.h"
#include "../parallel.h"
#include "sums.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t task_size = values_per_sum;  // elements. They stay in the L1 cache between the steps of a task
constexpr ptrdiff_t alignment = 64;  // elements: arrays begin at multiples, so that only their ends are partial

class ConcatenatedArrays {
public:
    explicit ConcatenatedArrays(const ArrayList& arrays) : arrays_(arrays), begin_(arrays.count + 1) {
        begin_[0] = 0;
        for (ptrdiff_t i = 0; i < arrays.count; ++i) begin_[i + 1] = begin_[i] + aligned(arrays.sizes[i]);
    }
    ptrdiff_t size() const { return begin_[arrays_.count]; }
    ptrdiff_t tasks() const { return ceil_div(size(), task_size); }

    // f(task, array, offset, n) for each span of one array in each task. `cost` in ns an element.
    template <class F>
    void for_spans(double cost, F&& f) const {
        parallel_for(tasks(), cost * double(size()), [&](ptrdiff_t first, ptrdiff_t last) {
            ptrdiff_t at = first * task_size, array = array_at(at);
            const ptrdiff_t end = min(last * task_size, size());
            while (at < end) {
                while (begin_[array + 1] <= at) ++array;
                const ptrdiff_t task = at / task_size, offset = at - begin_[array];
                const ptrdiff_t n = min(arrays_.sizes[array] - offset, (task + 1) * task_size - at);
                f(task, array, offset, n);
                at += aligned(n);
            }
        });
    }

private:
    static ptrdiff_t aligned(ptrdiff_t size) { return ceil_div(size, alignment) * alignment; }
    ptrdiff_t array_at(ptrdiff_t at) const {
        ptrdiff_t low = 0, high = arrays_.count;
        while (high - low > 1) {
            const ptrdiff_t middle = low + (high - low) / 2;
            (begin_[middle] <= at ? low : high) = middle;
        }
        return low;
    }
    const ArrayList& arrays_;
    Scratch<ptrdiff_t> begin_;
};

// Sums of tasks, which combine in the order of the tasks.
template <class Sum>
class TaskSums {
public:
    explicit TaskSums(ptrdiff_t tasks) : tasks_(tasks), sums_(tasks) {
        for (ptrdiff_t i = 0; i < tasks; ++i) sums_[i] = Sum();
    }
    void add(ptrdiff_t task, const Sum& terms) const { sums_[task].add(terms); }
    Sum total() const {
        Sum sum;
        for (ptrdiff_t i = 0; i < tasks_; ++i) sum.add(sums_[i]);
        return sum;
    }

private:
    ptrdiff_t tasks_;
    Scratch<Sum> sums_;
};
}  // namespace
}  // namespace trimtab
