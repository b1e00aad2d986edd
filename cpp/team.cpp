// The thread team. It is no OpenMP region, because that ends only when every thread has arrived and left: where the system lets one of them wait for a
// CPU, the caller would wait for a thread that has nothing left to do. Here it waits only for workers that have begun.
//
// The protocol. The thread that sets `in_use` from false to true is the caller. `active` counts the workers at the job,
// and its bit `closed` keeps more from joining. What precedes the release of an edge is visible after its acquire.
//
//   state of `active`   who writes what                                         edge to the next state
//   closed, 0 workers   the caller: `job`, `workers`                            store of 0, release -> join, acquire
//   open, n workers     workers: n, by joining and leaving; all who run tasks:  -
//                       `next` of the ranges, `failed`, the first: `failure`
//   closed, n workers   as before, but nobody joins                             leave, release -> load, acquire
//   closed, 0 workers   the caller: `failure`, `failed`, then `in_use` = false  release -> acquire by the next caller
//
// From the store to the last load, `active` changes by read-modify-writes alone, which continue the release sequences:
// a worker sees the job even if it reads a count that another worker wrote, and the caller sees the results of all
// workers although it reads the count that the last of them wrote. Wakeups are sent by release and read by acquire: a
// worker that sees one finds the team open, or closed again after the job, and so misses none. After a failure, nobody
// takes another task, and workers leave as usual.
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <new>

#include "clock.h"
#include "job.h"

namespace trimtab {
namespace {

// A worker spins for so long before it sleeps. Not longer: BLAS has threads of its own and needs the CPUs for a matrix
// product between two calls.
constexpr int64_t spin_ns = 100'000;

// Never destroyed: daemon threads may still run while the process ends.
alignas(Job) char job_memory[sizeof(Job)];
Job& job = *new (job_memory) Job;

std::atomic<bool> in_use = false;
constexpr int closed = 1 << 30;
alignas(64) std::atomic<int> active = closed;

// Counted up to wake a worker. Workers are numbered from 1.
struct alignas(64) Wakeups {
    std::atomic<std::uint32_t> count = 0;
} wakeups[Job::max_threads];
int workers = 0;  // started so far
std::atomic<int> caller_cpu = 0;

// A child of fork() has none of its parent's threads, whatever they were doing. It starts its own when it needs them.
const int fork_guard = pthread_atfork(nullptr, nullptr, [] {
    new (job_memory) Job;
    workers = 0;
    active = closed;
    in_use = false;
});

// A round of waiting for another thread. Every 64th gives up the CPU, which that thread may need.
void spin(int round) {
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

bool join() {
    for (int others = active.load(std::memory_order_relaxed); !(others & closed);)
        if (active.compare_exchange_weak(others, others + 1, std::memory_order_acquire)) return true;
    return false;
}
void leave() { active.fetch_sub(1, std::memory_order_release); }

// The system may wake a worker on the CPU of the caller although another one is idle, again and again.
void move_off(int cpu) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    cpu_set_t others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        sched_setaffinity(0, sizeof allowed, &allowed);
}

void wait_for_wakeup(const Wakeups& wakeups, std::uint32_t seen) {
    const int64_t sleep_time = now() + spin_ns;
    for (int round = 0; wakeups.count.load(std::memory_order_relaxed) == seen; ++round) {
        spin(round);
        if (round % 64 == 0 && now() > sleep_time) {
            wakeups.count.wait(seen, std::memory_order_relaxed);
            const int cpu = caller_cpu.load(std::memory_order_relaxed);
            if (sched_getcpu() == cpu) move_off(cpu);
        }
    }
}

void* run_worker(void* number) {
    const int self = int(reinterpret_cast<std::intptr_t>(number));
    for (;;) {
        const std::uint32_t seen = wakeups[self].count.load(std::memory_order_acquire);
        if (join()) {
            if (self < job.threads) job.run_tasks(self);
            leave();
        }
        wait_for_wakeup(wakeups[self], seen);
    }
    return nullptr;
}

// Signals that workers block. They are for the threads of others, except for those that report a fault of the thread.
sigset_t blocked_signals() {
    sigset_t signals;
    sigfillset(&signals);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&signals, fault);
    return signals;
}

// Tasks need little stack. The default may be 8 MiB of address space, or 128 KiB.
constexpr std::size_t stack_bytes = 1 << 20;

// Starts workers up to this number, or as many as the system allows.
void start_workers(int count) {
    if (workers >= count) return;
    const sigset_t blocked = blocked_signals();
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_t thread;
    while (workers < count &&
           pthread_create(&thread, &attributes, run_worker, reinterpret_cast<void*>(std::intptr_t(workers + 1))) == 0)
        ++workers;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool run_on_team(std::ptrdiff_t count, int threads, Task task, const void* work) {
    if (in_use.exchange(true, std::memory_order_acquire)) return false;
    start_workers(threads - 1);
    job.describe(count, threads, task, work);
    caller_cpu.store(sched_getcpu(), std::memory_order_relaxed);
    active.store(0, std::memory_order_release);
    for (int t = 1; t <= std::min(workers, threads - 1); ++t) {
        wakeups[t].count.fetch_add(1, std::memory_order_release);
        wakeups[t].count.notify_one();
    }
    job.run_tasks(0);
    active.fetch_or(closed, std::memory_order_relaxed);
    for (int round = 0; active.load(std::memory_order_acquire) != closed; ++round) spin(round);
    const std::exception_ptr failure = job.take_failure();
    in_use.store(false, std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
    return true;
}
}  // namespace

constinit const Engine team = {
    .name = "team", .max_threads = Job::max_threads, .awake_ns = spin_ns, .run = run_on_team};
}  // namespace trimtab
