"""What else ran while a block was timed: other processes, and threads that spin after their work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time, sleep, thread_time

STAT, TASKS = Path("/proc/stat"), Path("/proc/self/task")
CPU_TIMES = {  # files with the time for which a control group was stopped by its quota, and their units
    "/sys/fs/cgroup/cpu.stat": ("throttled_usec", 1e-6),
    "/sys/fs/cgroup/cpu/cpu.stat": ("throttled_time", 1e-9),
}
REST_SECONDS, QUIET_SHARE, LONGEST_REST_SECONDS = 0.002, 0.05, 0.5
# The share of a block that threads may wait for a CPU, and the part of a CPU that may be missing
WAITING_SHARE, MISSING_CPUS = 0.1, 0.25
# The clock of /proc/stat ticks every 10 ms on each CPU: shorter times say nothing about other processes.
SHORTEST_SECONDS = 0.2


@dataclass(frozen=True)
class Moment:
    """Clocks of the machine and of this process, in seconds; 0 where the system does not tell."""

    wall: float
    busy: float
    own: float
    waited: float
    throttled: float

    @classmethod
    def now(cls) -> Moment:
        """Read the clocks."""
        return cls(perf_counter(), busy_seconds(), process_time(), waited_seconds(), throttled_seconds())


@dataclass(frozen=True)
class Load:
    """The load beside this process between two moments.

    `waiting` is the time for which threads of this process were ready to run without a CPU or stopped by a
    quota, relative to the wall time. `others` is the mean number of CPUs that other processes took.
    """

    seconds: float
    waiting: float
    others: float

    @classmethod
    def since(cls, start: Moment) -> Load:
        """Return the load since a moment."""
        end = Moment.now()
        seconds = max(end.wall - start.wall, 1e-9)
        waiting = (end.waited - start.waited + end.throttled - start.throttled) / seconds
        others = max(0.0, (end.busy - start.busy - (end.own - start.own)) / seconds)
        return cls(seconds, max(0.0, waiting), others)

    def disturbs(self, threads: int) -> bool:
        """Whether the times of this many threads mean little."""
        missing = min(threads, len(cpus())) - (len(cpus()) - self.others)
        seen = self.seconds >= SHORTEST_SECONDS
        return self.waiting > WAITING_SHARE or (seen and missing > MISSING_CPUS)


def cpus() -> set[int]:
    """Return the CPUs on which this process may run."""
    return os.sched_getaffinity(0)


def lines(path: Path) -> list[str]:
    """Return the lines of a file; none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def busy_seconds() -> float:
    """Return the time for which the CPUs of this process were busy, or taken by other guests of the host."""
    names = {f"cpu{number}" for number in cpus()}
    ticks = 0
    for name, *fields in map(str.split, lines(STAT)):
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def waited_seconds() -> float:
    """Return the time for which the threads of this process were ready to run and had no CPU."""
    schedules: Iterable[list[str]] = map(lines, TASKS.glob("*/schedstat"))
    return sum(int(first.split()[1]) for first, *_ in filter(None, schedules)) / 1e9


def throttled_seconds() -> float:
    """Return the time for which the control group was stopped by its quota."""
    for path, (key, unit) in CPU_TIMES.items():
        for name, value in map(str.split, lines(Path(path))):
            if name == key:
                return int(value) * unit
    return 0.0


def rest() -> None:
    """Wait until the other threads of this process have stopped spinning, for half a second at most."""
    began = perf_counter()
    while perf_counter() - began < LONGEST_REST_SECONDS:
        start, before = perf_counter(), process_time() - thread_time()
        sleep(REST_SECONDS)
        if process_time() - thread_time() - before <= QUIET_SHARE * (perf_counter() - start):
            return
