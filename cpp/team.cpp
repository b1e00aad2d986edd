// Not a team of OpenMP, whose regions end when every thread has come and gone: where the system lets one wait for a CPU,
// the caller waits for a thread that has nothing left to do. Here it waits for those alone that have begun.
//
// A thread that finds `team_in_use` false and sets it holds the team. Everything else follows from `present`:
//   closed           The holder alone reads and writes `job`. Its store of 0 to `present` (release) publishes the job.
//   open, n present  A worker joins by n -> n + 1 (acquire: it sees the job), takes tasks, leaves by n -> n - 1 (release).
//                    The job stays as it is but for the shares' `next` and the failure.
//   closed, n left   The holder has set the bit, so nobody joins; it waits until n is 0 (acquire: it sees what they did).
// A task that throws ends the job: the first exception is kept in `job.failure` by who sets `job.failed`, no further task
// is taken, all leave as ever, and the holder gives the team back before it throws.
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <utility>

#include "clock.h"

namespace trimtab {
namespace {

// Each thread takes tasks from its own contiguous share, so that it meets the data it met before, and then helps others:
// a core that is slowed down by another process does not hold up the rest.
struct alignas(64) Share {
    std::atomic<std::ptrdiff_t> next;
    std::ptrdiff_t end;
};

struct Job {
    Task task;
    const void* work;
    std::ptrdiff_t take;
    int threads;
    std::atomic<bool> failed = false;
    std::exception_ptr failure;
    Share shares[max_team];
};
// Never destroyed: while the process ends, daemon threads may still be at work.
alignas(Job) char job_place[sizeof(Job)];
Job& job = *new (job_place) Job;

std::atomic<bool> team_in_use = false;
constexpr int closed = 1 << 30;
alignas(64) std::atomic<int> present = closed;  // workers at the job; closed: nobody joins any more

struct alignas(64) Bell {
    std::atomic<std::uint32_t> rings = 0;
} bells[max_team];  // of the workers, by their number from 1 on
int employed = 0;   // workers; changed by the holder of the team
std::atomic<int> caller_cpu = 0;

// A child of fork() has none of its parent's threads, whatever they were doing. It gets its own when it needs them.
const int fork_guard = pthread_atfork(nullptr, nullptr, [] {
    new (job_place) Job;
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

void take_tasks(int self) noexcept try {
    for (int other = 0; other < job.threads; ++other) {
        Share& share = job.shares[(self + other) % job.threads];
        while (!job.failed.load(std::memory_order_relaxed)) {
            const auto begin = share.next.fetch_add(job.take, std::memory_order_relaxed);
            if (begin >= share.end) break;
            job.task(job.work, begin, std::min(begin + job.take, share.end));
        }
    }
} catch (...) {
    if (!job.failed.exchange(true, std::memory_order_relaxed)) job.failure = std::current_exception();
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
        // Acquire: who hears a ring sees that the team is open.
        const std::uint32_t heard = bells[self].rings.load(std::memory_order_acquire);
        if (join()) {
            if (self < job.threads) take_tasks(self);
            present.fetch_sub(1, std::memory_order_release);
        }
        await_ring(bells[self], heard);
    }
    return nullptr;
}

// Signals are for the threads of others, but for those that tell of a fault in the very thread.
sigset_t signals_of_others() {
    sigset_t signals;
    sigfillset(&signals);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&signals, fault);
    return signals;
}

// Tasks need little stack, but the default may be 8 MiB of address space, or 128 KiB.
constexpr std::size_t stack_bytes = 1 << 20;

// Workers up to this number, as far as the system gives them.
void employ(int workers) {
    if (employed >= workers) return;
    const sigset_t blocked = signals_of_others();
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_t thread;
    while (employed < workers &&
           pthread_create(&thread, &attributes, worker, reinterpret_cast<void*>(std::intptr_t(employed + 1))) == 0)
        ++employed;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}
}  // namespace

bool run_on_team(std::ptrdiff_t count, int threads, Task task, const void* work) {
    if (team_in_use.exchange(true, std::memory_order_acquire)) return false;
    employ(threads - 1);
    job.task = task;
    job.work = work;
    job.threads = threads;
    // A few takes a share: less traffic between cores than one task at a time, still balanced.
    job.take = std::max<std::ptrdiff_t>(1, count / (threads * 16));
    const std::ptrdiff_t whole = count / threads, rest = count % threads;
    for (int t = 0; t < threads; ++t) {
        job.shares[t].next.store(t == 0 ? 0 : job.shares[t - 1].end, std::memory_order_relaxed);
        job.shares[t].end = whole * (t + 1) + rest * (t + 1) / threads;
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
    const std::exception_ptr failure = std::exchange(job.failure, nullptr);
    job.failed.store(false, std::memory_order_relaxed);
    team_in_use.store(false, std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
    return true;
}
}  // namespace trimtab
