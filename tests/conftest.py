"""Fixtures of every test: seeded randomness, the library's settings as they were, and a fresh interpreter."""

import os
import signal
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import trimtab as tt
from helpers.interpreter import interpret

# The same examples in every run, and no folder of examples in the source tree.
hypothesis.settings.register_profile(
    "trimtab", deadline=None, derandomize=True, database=None, max_examples=60
)
# Many random examples: pytest --hypothesis-profile=nightly
hypothesis.settings.register_profile("nightly", deadline=None, database=None, max_examples=3000)
hypothesis.settings.load_profile("trimtab")


# Tests interrupt themselves, but processes in the background of a shell ignore SIGINT, as do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests use real data if they are in this folder next to the checkout.
DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
if DATA.is_dir():
    os.environ.setdefault("TRIMTAB_DATA", str(DATA))


@pytest.fixture
def rng():
    return np.random.default_rng(20150211)


@pytest.fixture(autouse=True)
def settings_restored():
    threads, memory_cap, engine = tt.get_num_threads(), tt.get_memory_cap(), tt.get_threading()
    yield
    tt.set_threading(engine)
    tt.set_num_threads(threads)
    tt.set_memory_cap(memory_cap)


@pytest.fixture
def run_python():
    """A function that runs code in a fresh interpreter with warnings as errors, and returns its output."""

    def run(code, **environment):
        return interpret(code, "-W", "error", **environment).stdout.strip()

    return run
