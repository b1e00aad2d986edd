// Signatures and docstrings of threads, memory and instruction sets.
#pragma once
#include "paragraphs.h"

namespace trimtab::docs {

constexpr auto set_num_threads = join(
    R"(set_num_threads(n)
--

Set the largest number of threads a call may use.

It holds for the whole process, and may exceed the number of CPUs. A limit of OpenMP (threadpoolctl sets one) bounds it
while that is in effect. Results do not depend on it.

Parameters
----------
n : int
    At least 1.

Raises
------
TypeError
    `n` is not an int.
ValueError
    `n` is less than 1.
)",
    examples,
    R"(>>> tt.set_num_threads(1)
>>> tt.get_num_threads()
1
)");

constexpr auto get_num_threads = join(
    R"(get_num_threads()
--

The largest number of threads a call may use.

Returns
-------
n : int
    The number set by `set_num_threads`; without it, the minimum of the environment variables TRIMTAB_NUM_THREADS and
    OMP_NUM_THREADS, the CPUs this thread may run on now and the quota of the control group at import. Never more than a
    limit of OpenMP in effect: one that threadpoolctl has set, or that of the OpenMP runtime whose symbols the process
    sees, where it differs from the initial one of that runtime. Such a limit takes the place of OMP_NUM_THREADS.
)",
    examples,
    R"(>>> tt.set_num_threads(1)
>>> tt.get_num_threads()
1
)");

constexpr auto set_threading = join(
    R"(set_threading(threading)
--

Choose the engine that runs the tasks of a call.

It holds for the whole process, from the next call on; the environment variable TRIMTAB_THREADING sets the first one.
Results do not depend on it. The team waits only for threads that have begun, so it is the better choice on a busy
machine; a region of OpenMP shares its threads with the other libraries that use the same OpenMP runtime.

Parameters
----------
threading : str
    "team", the threads of the library, or "openmp", a parallel region of the OpenMP runtime that was loaded last; if
    none is loaded, libgomp or libomp of the system. Import scikit-learn or PyTorch first to share their threads.

Raises
------
TypeError
    `threading` is not a str.
ValueError
    `threading` is neither of the two.
RuntimeError
    There is no OpenMP runtime, or this process is a child of fork, where a region of OpenMP would hang. Children of
    fork use the team.
)",
    examples,
    R"(>>> tt.set_threading("team")
>>> tt.get_threading()
'team'
)");

constexpr auto get_threading = join(
    R"(get_threading()
--

The engine that runs the tasks of a call; see `set_threading`.

Returns
-------
threading : str
    "team" or "openmp".
)",
    examples,
    R"(>>> tt.get_threading() in ("team", "openmp")
True
)");

constexpr auto isa = join(
    R"(isa()
--

The instruction set whose kernels run: the best this CPU has, or the one the environment variable TRIMTAB_ISA named when
trimtab was imported.

Returns
-------
name : str
    "avx512", "avx2", "neon" or "baseline".
)",
    examples,
    R"(>>> tt.isa() in ("avx512", "avx2", "neon", "baseline")
True
)");

constexpr auto trim_memory = join(
    R"(trim_memory()
--

Release the memory that is kept for later large results.

Returns
-------
bytes : int
    The number of bytes released.
)",
    examples,
    R"(>>> tt.trim_memory() >= 0
True
)");

constexpr auto get_memory_cap = join(
    R"(get_memory_cap()
--

The maximum number of bytes kept for later large results; see `set_memory_cap`.

Returns
-------
bytes : int
)",
    examples,
    R"(>>> tt.get_memory_cap() >= 0
True
)");

constexpr auto set_memory_cap = join(
    R"(set_memory_cap(bytes)
--

Bound the memory that is kept for later large results.

The memory of a result of 64 KiB or more is kept when the array dies and given to a later one: touching fresh pages costs
more than most kernels. The environment variable TRIMTAB_MEMORY_CAP sets the first bound, in bytes or in units such as
512M or 1G; without it, it is an eighth of the memory that the machine, the control group and RLIMIT_AS leave to the
process, at most 1 GiB.

Parameters
----------
bytes : int
    At least 0; 0 keeps nothing.

Raises
------
TypeError
    `bytes` is not an int.
ValueError
    `bytes` is negative.
)",
    examples,
    R"(>>> tt.set_memory_cap(2**20)
>>> tt.get_memory_cap()
1048576
)");

constexpr auto build_info = join(
    R"(build_info()
--

How the compiled module was built and what it found.

Returns
-------
info : dict
    "isa", "isa_levels" (those this machine can run, best first), "compiler", "num_threads", "threading",
    "openmp_runtime" (the path of the one in use, or "none"), "memory_cap".
)");

constexpr auto runs_of = join(
    R"(runs_of(call)
--

Calls `call`, and returns how this thread's kernels were cut into tasks.

Returns
-------
runs : list of (int, float, int, int)
    For each parallel step: the number of tasks, the estimated time on one thread in ns, and the threads that take part
    after a pause and in a series of calls.
)");

constexpr auto run_empty_tasks = join(
    R"(run_empty_tasks(count)
--

Run tasks that do nothing on all threads: the time is that of waking the threads and handing out the tasks.

Parameters
----------
count : int
    At least 1.
)");
}  // namespace trimtab::docs
