"""A fresh Python interpreter in the folder of the tests."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def interpret(code, *options, check=True, **environment):
    """Run code with additional environment variables; by default it must succeed."""
    child = subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, **environment},
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0 or not check, child.stderr
    return child
