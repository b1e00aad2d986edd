"""Measure how long a short call takes with each engine, in a series of calls and after a rest.

Layer norm of (512, 1024) is long enough for several threads even where these sleep, and short enough for
what waking and waiting cost to show. `--beside torch` computes a matrix product in the OpenMP threads of
PyTorch before each call, which the engine "openmp" then shares; `--beside numpy` in those of NumPy's BLAS.
"""

import argparse
import importlib
from collections.abc import Callable
from statistics import quantiles
from time import perf_counter

import numpy as np

ROUNDS = 60


def other_work(name: str | None) -> Callable[[], object]:
    """Return a matrix product in the threads of the package."""
    a = np.ones((256, 256), np.float32)
    if name is None:
        return lambda: None
    if name == "numpy":
        return lambda: a @ a
    torch = importlib.import_module(name)
    tensor = torch.from_numpy(a)
    return lambda: torch.mm(tensor, tensor)


def call_us(call: Callable[[], object], between: Callable[[], object], rest: float) -> list[float]:
    """Return the quartiles of the time of a call in us; before each, `rest` seconds pass in a busy loop."""
    times = []
    for _ in range(ROUNDS):
        between()
        end = perf_counter() + rest
        while perf_counter() < end:
            pass
        began = perf_counter()
        call()
        times.append((perf_counter() - began) * 1e6)
    return quantiles(times, n=4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rest-us", type=float, nargs="+", default=[0, 300, 3000, 10_000])
    parser.add_argument("--beside", choices=["numpy", "torch"])
    options = parser.parse_args()
    between = other_work(options.beside)
    import trimtab as tt  # after the package whose threads it may share

    x = np.ones((512, 1024), np.float32)
    out = np.empty_like(x)
    print("us: median (quartiles)")
    print("engine  threads", *(f"{f'rest {rest:g}':>24}" for rest in options.rest_us))
    for threads in options.threads:
        tt.set_num_threads(threads)
        for engine in ("team", "openmp"):
            tt.set_threading(engine)
            cells = []
            for rest in options.rest_us:
                low, middle, high = call_us(lambda: tt.layer_norm(x, out=out), between, rest / 1e6)
                cells.append(f"{middle:.1f} ({low:.1f} to {high:.1f})")
            print(f"{engine:<6}  {threads:>7}", *(f"{cell:>24}" for cell in cells))
