"""Record which test runs which line. Every interpreter that has this folder on its path imports this file.

Child processes of a test are traced, too: pytest puts the name of the test into the environment.
In pytest itself this file is also a plugin (PYTEST_DONT_REWRITE: it is imported before).
"""

import os
import sys
import threading
from contextlib import suppress

PACKAGE = os.environ["TRACED_PACKAGE"] + os.sep
LOG = os.open(f"{os.environ['TRACE_FOLDER']}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
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
            with suppress(OSError):  # a test may limit the size of files
                os.write(LOG, f"{path[len(PACKAGE) :]}\t{frame.f_lineno}\t{test}\n".encode())
        return trace_line

    return trace_line(frame, event, argument)


def pytest_runtest_logstart():
    """Trace each test anew: an exception in `trace`, such as KeyboardInterrupt, ends the tracing."""
    sys.settrace(trace)


threading.settrace(trace)
sys.settrace(trace)
