"""What does not depend on the size of arrays: calls on 64 values, and the import."""

import subprocess
import sys

import numpy as np
import pytest
import trimtab as tt

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


@pytest.mark.parametrize("name", CALLS)
def test_call(timed, name):
    timed("call on 1x64", CALLS[name])


@pytest.mark.parametrize("module", ["numpy", "trimtab"])
def test_import(timed, module):
    command = [sys.executable, "-c", f"import {module}"]
    timed("import in a new process", lambda: subprocess.run(command, check=True), rounds=7, warmup_rounds=1)
