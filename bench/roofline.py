"""Measure the bandwidth of memory: the upper bound of every kernel on arrays that exceed the caches."""

import argparse
import threading
from statistics import median
from time import perf_counter

import numpy as np
from trimtab.bench.cases import CASES, Case, Inputs
from trimtab.bench.measure import OURS, measure
from trimtab.bench.peers import use_threads
from trimtab.bench.peers.trimtab import Trimtab
from trimtab.bench.report import DOUBT

MIB = 2**20
LARGE = 64  # MiB, more than most caches
ROUNDS = 9


def copy_seconds(megabytes: float, threads: int) -> float:
    """Return the median time to copy a float32 array, of which each thread copies one contiguous part."""
    source = np.ones(int(megabytes * MIB) // 4, np.float32)
    target = np.zeros_like(source)
    repeats = max(1, int(256 / megabytes))
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    start, stop = threading.Barrier(threads + 1), threading.Barrier(threads + 1)

    def work(to: np.ndarray, of: np.ndarray) -> None:
        for _ in range(ROUNDS):
            start.wait()
            for _ in range(repeats):
                np.copyto(to, of)
            stop.wait()

    for part in parts:
        threading.Thread(target=work, args=part).start()
    seconds = []
    for _ in range(ROUNDS):
        start.wait()
        began = perf_counter()
        stop.wait()
        seconds.append((perf_counter() - began) / repeats)
    return median(seconds)


def traffic(case: Case) -> int:
    """Return the bytes of the arguments and results of a call, each counted once; masks are bits."""
    inputs = Inputs(case)
    results = [a for a in Trimtab().as_arrays(Trimtab().prepare(case, inputs)()) if isinstance(a, np.ndarray)]
    arguments = [a for a in vars(inputs).values() if isinstance(a, np.ndarray)]
    return sum(a.size // 8 if a.dtype == bool else a.nbytes for a in (*arguments, *results))


def shares(threads: int) -> None:
    """Print the share of the bandwidth that each kernel reaches on its large cases."""
    limit = 2 * LARGE * MIB / copy_seconds(LARGE, threads)
    print(f"\n{limit / 1e9:.1f} GB/s is 100 %, {threads} threads")
    with use_threads([Trimtab()], threads):
        for case in CASES:
            # Updates have their arrays elsewhere.
            if case.weights or (moved := traffic(case)) < LARGE * MIB:
                continue
            timing = measure(case, [Trimtab()], rounds=5, block_seconds=0.02)[OURS]
            mark = DOUBT if timing.doubtful else ""
            share = f"{mark}{moved / timing.median / limit:.0%}"
            print(
                f"{case.op:36}{case.label:32}{moved / timing.median / 1e9:6.1f} GB/s {share:>5}", flush=True
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[4, 16, 64, 256])
    parser.add_argument("--kernels", action="store_true", help="also the share that each kernel reaches")
    options = parser.parse_args()
    print("GB/s, reads and writes together")
    print(f"{'MiB':>6}", *(f"{n:>4} threads" for n in options.threads))
    for megabytes in options.megabytes:
        rates = (2 * megabytes * MIB / copy_seconds(megabytes, n) / 1e9 for n in options.threads)
        print(f"{megabytes:6g}", *(f"{rate:12.1f}" for rate in rates))
    if options.kernels:
        shares(max(options.threads))
