"""Runs all programs of `programs.py` on the ranks, and writes what they return to a file."""

import pickle
import sys
import traceback
from pathlib import Path

import programs
from mpi4py import MPI

comm = MPI.COMM_WORLD
folder = Path(sys.argv[1])
results = {}
for name, program in programs.PROGRAMS.items():
    try:
        value = program(comm, folder)
    except Exception:
        value = traceback.format_exc()
    values = comm.gather(value)
    if comm.rank == 0:
        results[name] = next((value for value in values if isinstance(value, str)), values)
if comm.rank == 0:
    (folder / "results").write_bytes(pickle.dumps(results))
