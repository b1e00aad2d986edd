"""Record which test runs which line. Every interpreter that has this folder on its path imports this file.

Child processes of a test are traced, too: pytest puts the name of the test into the environment.
"""

import os
import sys
import threading

PACKAGE = os.environ["TRACED_PACKAGE"] + os.sep
LOG = open(f"{os.environ['TRACE_FOLDER']}/{os.getpid()}", "w", buffering=1)  # noqa: SIM115 - as long as the interpreter
seen: dict[str, set[tuple[str, int]]] = {}


def trace(frame, event, argument):
    path = frame.f_code.co_filename
    if not path.startswith(PACKAGE):
        return None
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    lines = seen.setdefault(test, set())

    def trace_line(frame, event, argument):
        line = (path, frame.f_lineno)
        if line not in lines:
            lines.add(line)
            LOG.write(f"{path[len(PACKAGE) :]}\t{frame.f_lineno}\t{test}\n")
        return trace_line

    return trace_line(frame, event, argument)


threading.settrace(trace)
sys.settrace(trace)
