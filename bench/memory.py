"""Measure how much memory a call takes above its arguments at its peak, in multiples of its first result.

The kernel of the system counts resident pages, so libraries with allocators of their own are measured, too.
"""

import argparse
import ctypes
import re
from pathlib import Path

import trimtab as tt
from trimtab.bench.cases import CASES, Inputs
from trimtab.bench.peers import installed
from trimtab.terminal import print_table

LARGE, LARGEST = 2**20, 2**23  # elements: results are returned to the system afterwards
RESET_PEAK = "5"


def status(name: str) -> int:
    """Return a value of /proc/self/status in bytes."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def peak(call) -> int:
    """Return the bytes that a call takes at its peak beyond those that are resident before."""
    call()
    tt.trim_memory()
    ctypes.CDLL(None).malloc_trim(0)  # what glibc keeps would count as resident before the call
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    before = status("VmRSS")
    call()
    return max(0, status("VmHWM") - before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", nargs="+", default=[""], metavar="OP", help="parts of names")
    options = parser.parse_args()
    libraries = installed(quick=True)
    rows = []
    for case in CASES:
        if not LARGE < case.size <= LARGEST or case.weights or not any(op in case.op for op in options.ops):
            continue
        inputs, row = Inputs(case), [f"{case.op} {case.label}"]
        for library in libraries:
            cell = ""
            if library.has(case):
                call = library.prepare(case, inputs)
                result = library.as_arrays(call())[0].nbytes
                cell = f"{peak(call) / result:.1f}"
            row.append(cell)
        rows.append(row)
    print_table(["multiples of the first result", *(library.name for library in libraries)], rows)
