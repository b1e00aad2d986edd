"""Exit, forks and signals of a process while kernels run."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.interpreter import interpret

pytestmark = pytest.mark.usefixtures("engine")

PRELUDE = """
import os, sys, threading, time, warnings
import numpy as np
import trimtab as tt
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
"""


def run(code, check=True, **environment):
    child = interpret(PRELUDE + code, check=check, **environment)
    assert not check or child.stderr == ""
    return child


# ---- exit ----

WORK = {  # endless work of daemon threads
    "into out": "tt.layer_norm(x, out=out)",
    "fresh results": "tt.layer_norm_backward(x, x, *tt.layer_norm_forward(x)[1:])",
    "copies of NumPy's": "tt.layer_norm(x.T, axis=0, out=out.T)",
    "a generator": "tt.dropout(x, rng=generator)",
    "lists": "tt.sgd_update([out], [x], lr=0.0, statistics=True)",
    "whitening": "tt.whiten_forward(x[:, :8])",
    "errors": "threading.local(); attempt()",
}
DAEMONS = """
tt.set_num_threads({threads})
x = np.ones((512, 1024), "f4")
generator = np.random.default_rng(0)
def attempt():
    try:
        tt.layer_norm(x, axis=7)
    except Exception:
        pass
def work():
    out = np.zeros_like(x)
    while True:
        {statement}
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.03)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("work", WORK)
def test_the_interpreter_ends_while_daemon_threads_compute(work, threads):
    for _ in range(3):
        run(DAEMONS.format(threads=threads, statement=WORK[work]))


def test_kernels_run_in_exit_handlers_while_daemon_threads_compute():
    code = """
import atexit
x = np.ones((3000, 512), "f4")
atexit.register(lambda: print(float(tt.layer_norm(x).sum())))
def work():
    while True:
        tt.layer_norm(x)
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
"""
    assert run(code, TRIMTAB_NUM_THREADS="2").stdout == "0.0\n"


def test_exit_of_c_works_while_threads_compute():
    """Destructors of statics run while other threads go on."""
    code = """
import ctypes
x = np.ones((300, 512), "f4")
def work():
    while True:
        tt.layer_norm(x)
        tt.dropout(x, rng=1)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
ctypes.CDLL(None).exit(0)
"""
    for _ in range(5):
        run(code, TRIMTAB_NUM_THREADS="2")


# ---- forks ----

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
CHECKED = """
x = np.random.default_rng(0).standard_normal((1000, 768)).astype("f4")
expected = tt.layer_norm(x)
def compute():
    for _ in range(5):
        assert np.array_equal(tt.layer_norm(x), expected)
        assert np.isfinite(tt.batch_norm_backward(x, x, *tt.batch_norm_forward(x)[1:]).dx).all()
def forked(work):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
def in_threads(work, count):
    failures = []
    def guarded():
        try:
            work()
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=guarded) for _ in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures, failures
"""
FORKS = {
    "while another thread holds the team": """
stop = False
def busy():
    while not stop:
        tt.layer_norm(x)
threads = [threading.Thread(target=busy) for _ in range(2)]
[thread.start() for thread in threads]
for _ in range(20):
    forked(compute)
stop = True
""",
    "from several threads": "in_threads(lambda: [forked(compute) for _ in range(5)], 3)",
    "a child of a child": "forked(lambda: (compute(), forked(lambda: (compute(), in_threads(compute, 3)))))",
    "a child with threads": "forked(lambda: in_threads(compute, 4))",
    "before the first use of numpy.random": """
def draw():
    for seed in (np.random.default_rng(1), 7):
        assert tt.dropout(x, rng=seed).shape == x.shape
in_threads(lambda: forked(draw), 4)
""",
}


@needs_fork
@pytest.mark.parametrize("how", FORKS)
def test_a_fork_computes_in_both_processes(how):
    """The child computes, and the parent goes on."""
    run(CHECKED + FORKS[how] + "\ncompute()", TRIMTAB_NUM_THREADS="2")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_pools_of_multiprocessing_compute(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing\n"
        f"{PRELUDE}{CHECKED}\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    children = [context.Process(target=compute) for _ in range(2)]\n"
        "    [child.start() for child in children]\n"
        "    compute()\n"
        "    [child.join() for child in children]\n"
        "    assert [child.exitcode for child in children] == [0, 0]\n"
    )
    subprocess.run([sys.executable, script], check=True, timeout=120)


# ---- signals ----

needs_memory_maps = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGBUS")
FAULT = """
import ctypes, faulthandler, mmap
faulthandler.enable()
tt.set_num_threads(2)
x = np.memmap({path!r}, "f4", "w+", shape=(1 << 22,))
x[:] = 1
tt.relu(x)  # workers have started
{fault}
tt.relu(x)
"""
FAULTS = {  # on one page: if two threads fault at once, the second ends the report of the first
    "SIGBUS": "os.truncate({path!r}, x.nbytes - mmap.PAGESIZE)",
    "SIGSEGV": "ctypes.CDLL(None).mprotect(ctypes.c_void_p(x.ctypes.data + x.nbytes // 2), mmap.PAGESIZE, 0)",
}
REPORTS = {"SIGBUS": "Bus error", "SIGSEGV": "Segmentation fault"}


@needs_memory_maps
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_kernel_is_reported(tmp_path, name):
    """By faulthandler, in the main thread and in a worker."""
    path = str(tmp_path / "data")
    for _ in range(3):
        child = run(FAULT.format(path=path, fault=FAULTS[name].format(path=path)), check=False)
        assert child.returncode == -signal.Signals[name]
        assert f"Fatal Python error: {REPORTS[name]}" in child.stderr


@needs_memory_maps
def test_an_interrupt_reaches_the_main_thread():
    code = """
import signal
x = np.ones((4000, 1024), "f4")
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    while True:
        tt.layer_norm(x)
except KeyboardInterrupt:
    print("interrupted", float(tt.layer_norm(x).max()))
"""
    assert run(code, TRIMTAB_NUM_THREADS="2").stdout == "interrupted 0.0\n"
