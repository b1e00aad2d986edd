"""Calls from several Python threads: the same bits, and long calls release the GIL."""

import random
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import trimtab as tt
from helpers import large_calls
from trimtab import _core

pytestmark = pytest.mark.usefixtures("engine")

THREADS = 8


@pytest.fixture
def short_turns():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_every_function_gives_the_same_bits_in_eight_threads(monkeypatch, dtype):
    """The threads share read-only arguments; each has its own copies of those that are updated."""
    small = {"columns": (150, 400), "images": (4, 6, 20, 20), "few": (2, 6, 3000)}
    monkeypatch.setattr(large_calls, "GEOMETRIES", small)
    shared = large_calls.every_call(np.dtype(dtype))

    def own_where_updated(call):
        copies = large_calls.with_copies(call).arguments
        kept = call.arguments | {name: copies[name] for name in large_calls.UPDATED & set(copies)}
        if call.function is tt.clip_grad_norm:
            kept = copies
        return large_calls.Call(call.function, kept)

    tt.set_num_threads(1)
    expected = {name: own_where_updated(call).bits() for name, call in shared.items()}
    tt.set_num_threads(2)

    def work(seed):
        names = [*shared]
        random.Random(seed).shuffle(names)
        return [name for name in names if own_where_updated(shared[name]).bits() != expected[name]]

    with ThreadPoolExecutor(THREADS) as pool:
        assert [wrong for wrong in pool.map(work, range(THREADS)) if wrong] == []


@pytest.mark.usefixtures("short_turns")
def test_threads_share_a_generator_without_repeated_draws():
    """Together the draws are those of one thread."""
    x = np.ones(64, np.float32)

    def masks(rng, count):
        return [tt.dropout_forward(x, rng=rng).mask.tobytes() for _ in range(count)]

    expected = sorted(masks(np.random.default_rng(3), THREADS * 50))
    rng = np.random.default_rng(3)
    with ThreadPoolExecutor(THREADS) as pool:
        drawn = pool.map(lambda _: masks(rng, 50), range(THREADS))
        assert sorted(mask for part in drawn for mask in part) == expected


def test_many_threads_may_use_the_first_generator_at_once(run_python):
    """Before numpy.random is imported."""
    code = """
import sys, threading, numpy as np, trimtab as tt
sys.setswitchinterval(1e-5)
def work():
    try:
        tt.dropout(np.zeros(8, "f4"), rng=1.5)
    except TypeError:
        pass
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("numpy.random" in sys.modules)
"""
    for _ in range(3):
        assert run_python(code) == "True"


def some(*shape):
    return np.ones(shape, np.float32)


# Calls of milliseconds with few elements in or out, or few in each task.
LONG_CALLS = {
    "convolve": lambda: partial(
        *(_core.convolve, some(1, 32, 32, 256), some(1, 5, 5, 256, 16), None),
        *((2, 2), (1, 1), (1, 1), (32, 32)),
    ),
    "convolve_weights": lambda: partial(
        *(_core.convolve_weights, some(1, 32, 32, 16), some(1, 32, 32, 256), 1, (5, 5), (2, 2), (1, 1))
    ),
    "max_pool": lambda: partial(_core.max_pool, some(1, 180, 180, 1), (90, 90), (0, 0), (1, 1), (91, 91)),
    "avg_pool": lambda: partial(_core.avg_pool, some(1, 180, 180, 1), (90, 90), (0, 0), (1, 1), (91, 91)),
    "dropout_mask": lambda: partial(tt.dropout_mask, 20_000_000, 0.3, rng=1),
    "ghost batches": lambda: partial(tt.batch_norm_forward, some(20_000, 16), virtual_batch_size=2),
    "combine_moments": lambda: partial(tt.combine_moments, *np.ones((2, 20, 50_000)), [1] * 20),
    "many small arrays": lambda: partial(
        tt.sgd_update, *([some(10) for _ in range(20_000)] for _ in range(2)), lr=0.0, statistics=True
    ),
    "many small arrays of Adam": lambda: partial(
        tt.adam_update, *([some(10) for _ in range(20_000)] for _ in range(4)), step=1, lr=0.0
    ),
    "few rows of many classes": lambda: partial(
        tt.softmax_cross_entropy, some(2, 1_000_000), np.zeros(2, np.int64)
    ),
    "wide parameters": lambda: partial(tt.mse, some(4000, 1000), np.ones((4000, 1000))),
}


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL")
@pytest.mark.parametrize("name", LONG_CALLS)
@pytest.mark.parametrize("threads", [1, 2])
def test_long_calls_let_other_threads_run(name, threads):
    """Another thread waits for the GIL, which only the call can release: no switch interval ends."""
    tt.set_num_threads(threads)
    call = LONG_CALLS[name]()
    call()
    inside, ran, over = threading.Event(), threading.Event(), threading.Event()
    interval = sys.getswitchinterval()

    def wait_for_a_turn():
        inside.wait()
        if not over.is_set():
            ran.set()

    for _ in range(20):
        inside.clear(), over.clear()
        other = threading.Thread(target=wait_for_a_turn)
        other.start()
        sys.setswitchinterval(1000)
        inside.set()  # from here on the other thread waits for the GIL
        call()
        over.set()
        sys.setswitchinterval(interval)
        other.join()
        if ran.is_set():
            return
    pytest.fail("held the GIL")


def test_results_are_released_where_one_of_them_cannot_be_written():
    """Another thread makes `out` read-only while the kernel runs, whose result has yet to be copied there."""
    x = np.ones((4, 8, 1 << 17), np.float32)
    of_channels = np.ones(8)
    out = np.empty((*x.shape, 2), np.float32)[..., 0]

    def protect():
        time.sleep(0.001)
        out.flags.writeable = False

    def fails():
        out.flags.writeable = True
        with ThreadPoolExecutor(1) as pool:
            pool.submit(protect)
            try:
                tt.batch_norm_backward(x, x, of_channels, of_channels, residual=True, out=out)
            except ValueError as error:
                return "assignment destination is read-only" in str(error)
        return False

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert any(fails() for _ in range(200))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < x.nbytes
