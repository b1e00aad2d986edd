"""A fault on one rank ends all of them within seconds, with one message, and leaves files whole."""

import time

import pytest
import trainings
from conftest import HERE

SCRIPT = f"""
import os, signal, sys
sys.path.insert(0, {str(HERE)!r})
import numpy as np
import trainings
from mpi4py import MPI
from trimtab import callbacks

comm, (kind, path) = MPI.COMM_WORLD, sys.argv[1:]

class Fault(callbacks.Callback):
    def on_batch_end(self, trainer, batch, logs):
        if trainer.history.epochs == 1 and batch == 1:
            FAULTS[kind]()

def fail():
    raise OSError("the disk is full")

def fail_alone():
    if comm.rank == comm.size - 1:
        fail()

def die():
    if comm.rank == comm.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)

def interrupt_twice():
    if comm.rank == comm.size - 1:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

def interrupt():
    if comm.rank == comm.size - 1:
        os.kill(os.getpid(), signal.SIGINT)

FAULTS = dict(fail=fail, fail_alone=fail_alone, die=die, interrupt=interrupt, interrupt_twice=interrupt_twice)
FAULTS["nan"] = lambda: None
x, y = trainings.data()
if kind == "nan":
    x[30:] = np.nan
checkpoint = callbacks.Checkpoint(path)
made = trainings.trainer(checkpoint, Fault(), comm=comm)
made.fit(x, y, **{{**trainings.ARGUMENTS, "epochs": 5}})
print("steps", made.optimizer.steps)
"""
FAULTS = {  # the message that is shown once
    "fail": "OSError: the disk is full",
    "fail_alone": "OSError: the disk is full",
    "nan": "FloatingPointError: fit: loss must be finite, got nan in epoch 1, batch 0: its samples have NaN",
    "interrupt_twice": "KeyboardInterrupt",
    "die": "",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_all_ranks_with_one_message(on_own_ranks, tmp_path, fault):
    begin = time.monotonic()
    done = on_own_ranks(3, SCRIPT, fault, tmp_path / "last")
    assert time.monotonic() - begin < 60  # of a busy machine; a second or two of an idle one
    assert done.returncode != 0
    assert "steps" not in done.stdout
    if FAULTS[fault]:
        lines = done.stderr.splitlines()
        assert sum(line.startswith(FAULTS[fault]) for line in lines) == 1, done.stderr
    files = [path.name for path in tmp_path.iterdir()]
    assert files == ([] if fault == "nan" else ["last"])  # that of the first epoch, and no part of another


def test_the_first_interrupt_ends_training_after_the_batch_on_all_ranks(on_own_ranks, tmp_path):
    done = on_own_ranks(2, SCRIPT, "interrupt", tmp_path / "last")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout) == sorted("steps 5\n" * 2)  # the lines of two processes may mix


def test_the_checkpoint_of_a_training_that_died_can_be_resumed(on_own_ranks, tmp_path, monkeypatch):

    on_own_ranks(2, SCRIPT, "die", tmp_path / "last")
    made = trainings.trainer()
    made.fit(*trainings.data(), **{**trainings.ARGUMENTS, "epochs": 2}, resume=tmp_path / "last")
    assert made.optimizer.steps == 6
