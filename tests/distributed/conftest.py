"""Runs programs on several ranks: each test compares what they return."""

import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNNER = HERE / "run_program.py"
SETTINGS = {
    # Open MPI runs neither as root nor with more ranks than CPUs unless it is told to; MPICH does
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def pytest_collection_modifyitems(items):
    reason = ""
    if not find_spec("mpi4py"):
        reason = "mpi4py is not installed"
    elif not launcher():
        reason = "mpirun is not installed"
    for item in items:
        if reason and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def launcher():
    return shutil.which(
        "mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )


def start(ranks, *arguments, **environment):
    """Run Python on so many ranks."""
    source = os.pathsep.join(filter(None, [*sys.path]))
    return subprocess.run(
        [launcher(), "-n", str(ranks), sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **SETTINGS, "PYTHONPATH": source, **environment},
    )


@pytest.fixture(scope="session")
def on_ranks(tmp_path_factory):
    """A function that returns what a program of `programs.py` returned, in a list with an item for each rank.

    All programs run in one start of the ranks, which takes most of the time.
    """
    results = {}

    def of(ranks, program):
        if ranks not in results:
            folder = tmp_path_factory.mktemp(f"ranks{ranks}")
            done = start(ranks, RUNNER, folder)
            assert done.returncode == 0, done.stdout + done.stderr
            results[ranks] = pickle.loads((folder / "results").read_bytes())
        value = results[ranks][program]
        assert not isinstance(value, str), value  # a traceback
        return value

    return of


@pytest.fixture
def on_own_ranks():
    """A function that runs a script on ranks of its own, and returns the finished process."""

    def run(ranks, code, *arguments, **environment):
        return start(ranks, "-W", "error", "-c", code, *arguments, **environment)

    return run
