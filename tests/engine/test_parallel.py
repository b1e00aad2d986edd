"""Threads of the library, with each engine: forks, Python threads, limits from outside."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
import trimtab as tt

pytestmark = pytest.mark.usefixtures("engine")

# Threads share the larger one, not the smaller.
SHAPES = [(2000, 768), (5, 70)]

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
needs_two_cpus = pytest.mark.skipif(CPUS < 2, reason="needs two CPUs")

# Runs threads in the parent, then in a child, and prints whether both have the same result.
FORK = """
import multiprocessing
import os
import numpy as np
import trimtab as tt

x = np.random.default_rng(0).standard_normal((2000, 768)).astype(np.float32)
expected = tt.layer_norm(x)

def work():
    for _ in range(3):
        same = np.array_equal(tt.layer_norm(x), expected)
        gradient = tt.batch_norm_backward(x, x, *tt.batch_norm_forward(x)[1:]).dx
        assert same and np.isfinite(gradient).all()
"""

FORKS = {
    "os": """
child = os.fork()
if child == 0:
    work()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0
""",
    "multiprocessing": """
context = multiprocessing.get_context("fork")
children = [context.Process(target=work) for _ in range(3)]
for child in children:
    child.start()
for child in children:
    child.join()
assert [child.exitcode for child in children] == [0] * 3
""",
    "concurrent.futures": """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
    for future in [pool.submit(work) for _ in range(4)]:
        future.result()
""",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", FORKS)
def test_a_fork_after_use_computes(run_python, how):
    """The child computes and exits; the parent goes on."""
    ignore = "import warnings; warnings.filterwarnings('ignore', '.*fork', DeprecationWarning)\n"
    code = FORK + FORKS[how] + "work()\nprint('done')"
    assert run_python(ignore + code) == "done"


@pytest.mark.parametrize("shape", SHAPES)
def test_several_threads_call_at_once(rng, shape):
    inputs = [rng.standard_normal(shape).astype(np.float32) for _ in range(4)]
    expected = [reference.layer_norm(x) for x in inputs]

    def work(index):
        for _ in range(10):
            x = inputs[index]
            y, mean, rstd = tt.layer_norm_forward(x)
            np.testing.assert_allclose(y, expected[index], rtol=0, atol=1e-5)
            dx = tt.layer_norm_backward(x, x, mean, rstd).dx
            assert np.abs(dx).max() < 1e-2  # a layer norm does not change with the size of x
            mean = tt.batch_norm_forward(x).mean
            np.testing.assert_allclose(mean, x.mean(0, dtype=np.float64), rtol=0, atol=1e-6)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_thread_pools_inside_thread_pools_compute(rng):
    x = rng.standard_normal(SHAPES[0]).astype(np.float32)
    expected = reference.layer_norm(x)

    def outer(_):
        with ThreadPoolExecutor(2) as pool:
            return all(np.allclose(y, expected, rtol=0, atol=1e-5) for y in pool.map(tt.layer_norm, [x] * 3))

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(outer, range(3)))


def test_the_number_of_threads_may_change_while_others_compute(rng):
    x = rng.standard_normal(SHAPES[0]).astype(np.float32)
    expected = tt.layer_norm(x)
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(tt.layer_norm, x) for _ in range(20)]
        for threads in range(40):
            tt.set_num_threads(1 + threads % 4)
        assert all(np.array_equal(result.result(), expected) for result in results)


@needs_two_cpus
def test_set_num_threads_sets_the_number_of_threads():
    for threads in (1, 2):
        tt.set_num_threads(threads)
        assert tt.get_num_threads() == threads


@needs_two_cpus
@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_read_from_the_environment(run_python, threads):
    code = "import trimtab as tt; print(tt.get_num_threads())"
    assert run_python(code, TRIMTAB_NUM_THREADS=str(threads)) == str(threads)


@needs_two_cpus
def test_the_affinity_bounds_the_number_of_threads(run_python):
    code = "import os; os.sched_setaffinity(0, {}); import trimtab as tt; print(tt.get_num_threads())"
    cpus = sorted(os.sched_getaffinity(0))
    assert run_python(code.format(cpus[:1]), TRIMTAB_NUM_THREADS="2") == "1"
    assert run_python(code.format(cpus[:2]), TRIMTAB_NUM_THREADS="2") == "2"


@needs_two_cpus
def test_a_change_of_the_affinity_counts(run_python):
    code = """
import os
import trimtab as tt
cpus = sorted(os.sched_getaffinity(0))[:2]
for allowed in (cpus[:1], cpus, cpus[1:], cpus):
    os.sched_setaffinity(0, allowed)
    print(tt.get_num_threads(), end=" ")
"""
    assert run_python(code, TRIMTAB_NUM_THREADS="2") == "1 2 1 2"


@needs_two_cpus
def test_two_threads_are_used(run_python):
    """A large call starts a second thread; a call limited to one thread does not."""
    code = """
import os
import numpy as np
import trimtab as tt
before = len(os.listdir("/proc/self/task"))
x = np.ones((4000, 768), np.float32)
for _ in range(3):
    tt.layer_norm(x)
print(len(os.listdir("/proc/self/task")) - before)
"""
    if not os.path.exists("/proc/self/task"):
        pytest.skip("needs /proc")
    assert int(run_python(code, TRIMTAB_NUM_THREADS="2")) == 1
    assert int(run_python(code, TRIMTAB_NUM_THREADS="1")) == 0


@needs_two_cpus
def test_a_forked_child_has_threads_of_its_own(run_python):
    code = """
import os
import warnings
import numpy as np
import trimtab as tt
warnings.simplefilter("ignore", DeprecationWarning)
x = np.ones((4000, 768), np.float32)
tt.layer_norm(x)
child = os.fork()
if child == 0:
    alone = len(os.listdir("/proc/self/task"))
    tt.layer_norm(x)
    os._exit(len(os.listdir("/proc/self/task")) - alone)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    if not os.path.exists("/proc/self/task"):
        pytest.skip("needs /proc")
    assert run_python(code, TRIMTAB_NUM_THREADS="2") == "1"


@needs_two_cpus
def test_idle_threads_use_no_cpu_and_take_no_signals(run_python, engine):
    if engine == "openmp":
        pytest.skip("how threads of OpenMP wait is up to its runtime")
    code = """
import os
import signal
import time
import numpy as np
import trimtab as tt
before = set(os.listdir("/proc/self/task"))
tt.layer_norm(np.ones((4000, 768), np.float32))
(worker,) = set(os.listdir("/proc/self/task")) - before
time.sleep(0.05)
start = time.process_time()
time.sleep(0.5)
status = dict(line.split(":", 1) for line in open(f"/proc/self/task/{worker}/status"))
blocked = int(status["SigBlk"], 16)
print(time.process_time() - start < 0.05, status["State"].split()[0], blocked >> (signal.SIGINT - 1) & 1)
"""
    if not os.path.exists("/proc/self/task"):
        pytest.skip("needs /proc")
    assert run_python(code, TRIMTAB_NUM_THREADS="2") == "True S 1"


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_every_task_is_done_once(threads):
    """In calls of all sizes in close succession, with more threads than CPUs."""
    tt.set_num_threads(threads)
    sizes = [100, 5000, 20000, 70000, 300000]
    weights = [np.zeros(size, np.float32) for size in sizes]
    gradients = [np.full(size, -1, np.float32) for size in sizes]
    for _ in range(300):
        for weight, gradient in zip(weights, gradients, strict=True):
            tt.sgd_update(weight, gradient, lr=1.0)
    for weight in weights:
        np.testing.assert_array_equal(weight, 300)


@needs_two_cpus
def test_threads_that_share_a_cpu_finish(run_python):
    code = """
import os
import numpy as np
import trimtab as tt
tt.set_num_threads(4)
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
weight, gradient = np.zeros(100000, np.float32), np.full(100000, -1, np.float32)
for _ in range(500):
    tt.sgd_update(weight, gradient, lr=1.0)
print(weight.min(), weight.max())
"""
    assert run_python(code, TRIMTAB_NUM_THREADS="4") == "500.0 500.0"
