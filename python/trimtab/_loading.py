"""Loads the kernels, with OpenMP told for how long a thread without work may spin.

By default that is for milliseconds. BLAS has threads of its own, and a matrix product between two kernels
would wait for the cores until the spinning is over: training of a small net takes three times as long. The
GNU runtime reads its settings once, when it is loaded; those that the user has made are left alone.
"""

import os
from importlib import import_module

SETTING, SPINS = "GOMP_SPINCOUNT", "3000"  # about 0.2 ms, for which parallel.cpp takes a team to be awake

if not os.environ.keys() & {SETTING, "OMP_WAIT_POLICY"}:
    os.environ[SETTING] = SPINS
    import_module("trimtab._core")
    del os.environ[SETTING]  # of no concern to child processes
