"""What does not depend on the size of arrays: calls on 64 values, tasks that do nothing, and the import."""

import os
import subprocess
import sys
from time import sleep

import numpy as np
import pytest
import trimtab as tt
from trimtab import _core
from trimtab.bench.peers import use_threads
from trimtab.bench.peers.trimtab import Trimtab

X, GAMMA, BETA = (np.ones(shape, np.float32) for shape in ((1, 64), 64, 64))
MEAN, VAR = np.zeros(64, np.float32), np.ones(64, np.float32)
CALLS = {
    "numpy.add": lambda: np.add(X, X),
    "relu": lambda: tt.relu(X),
    "layer_norm": lambda: tt.layer_norm(X, GAMMA, BETA),
    "layer_norm with eps": lambda: tt.layer_norm(X, GAMMA, BETA, eps=1e-6),
    "layer_norm_forward": lambda: tt.layer_norm_forward(X, GAMMA, BETA),
    "rms_norm": lambda: tt.rms_norm(X, GAMMA),
    "batch_norm": lambda: tt.batch_norm(X, MEAN, VAR, GAMMA, BETA),
    "dropout": lambda: tt.dropout(X, 0.5, rng=1),
    "dropout_forward": lambda: tt.dropout_forward(X, 0.5, rng=1),
}
CPUS = len(os.sched_getaffinity(0))
THREADS = sorted({*(2**n for n in range(CPUS.bit_length())), CPUS})
TASKS_OF_A_THREAD = 16
ASLEEP_AFTER = 0.002  # seconds


@pytest.mark.parametrize("name", CALLS)
def test_call(timed, name):
    timed("call on 1x64", CALLS[name])


@pytest.fixture(params=["team", "openmp"])
def engine(request):
    before = tt.get_threading()
    try:
        tt.set_threading(request.param)
    except RuntimeError as missing:
        pytest.skip(str(missing))
    yield request.param
    tt.set_threading(before)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("after_pause", [False, True], ids=["in a series", "after a pause"])
def test_empty_tasks(timed, engine, threads, after_pause):
    """What it costs to wake threads and to hand out tasks. In a series the threads are awake."""
    group = f"empty tasks {'after a pause' if after_pause else 'in a series'}"
    pause = {"setup": lambda: sleep(ASLEEP_AFTER), "rounds": 100} if after_pause else {}
    with use_threads([Trimtab()], threads):
        timed(group, lambda: _core.run_empty_tasks(TASKS_OF_A_THREAD * threads), **pause)


@pytest.mark.parametrize("module", ["numpy", "trimtab"])
def test_import(timed, module):
    command = [sys.executable, "-c", f"import {module}"]
    timed("import in a new process", lambda: subprocess.run(command, check=True), rounds=7, warmup_rounds=1)
