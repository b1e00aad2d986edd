"""Measure the bandwidth of memory: the upper bound of every kernel on arrays that exceed the caches."""

import argparse
import threading
from statistics import median
from time import perf_counter

import numpy as np

MIB = 2**20
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[4, 16, 64, 256])
    options = parser.parse_args()
    print("GB/s, reads and writes together")
    print(f"{'MiB':>6}", *(f"{n:>4} threads" for n in options.threads))
    for megabytes in options.megabytes:
        rates = (2 * megabytes * MIB / copy_seconds(megabytes, n) / 1e9 for n in options.threads)
        print(f"{megabytes:6g}", *(f"{rate:12.1f}" for rate in rates))
