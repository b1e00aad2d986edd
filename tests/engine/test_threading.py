"""The choice of the engine, and regions of OpenMP in programs that use OpenMP themselves."""

import ctypes
import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trimtab as tt
from helpers.interpreter import interpret
from helpers.large_calls import every_call

RUNTIMES = ("libgomp.so.1", "libomp.so.5", "libomp.so", "libiomp5.so")


@pytest.fixture
def openmp():
    """The runtime that the engine uses."""
    try:
        tt.set_threading("openmp")
    except RuntimeError as error:
        pytest.skip(str(error))
    return ctypes.CDLL(tt.show_config()["openmp_runtime"])


@pytest.mark.usefixtures("openmp")
def test_the_engine_is_the_chosen_one(capsys):
    for name in ("team", "openmp", "openmp", "team"):
        tt.set_threading(name)
        assert tt.get_threading() == tt.show_config()["threading"] == name
        assert re.search(rf"^threading +{name}$", capsys.readouterr().out, re.M)
        runtime = tt.show_config()["openmp_runtime"]
        assert os.path.isfile(runtime) if name == "openmp" else runtime == "none"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        *((text, ValueError) for text in ("", "x", "Team", "team ", "\ud800")),
        (None, TypeError),
        (1, TypeError),
    ],
)
def test_other_engines_are_refused(value, error):
    tt.set_threading("team")
    with pytest.raises(error, match=r"set_threading: threading must be 'team' or 'openmp', got "):
        tt.set_threading(value)
    assert tt.get_threading() == "team"


@pytest.mark.usefixtures("openmp")
def test_the_first_engine_is_read_from_the_environment(run_python):
    code = "import trimtab as tt; print(tt.get_threading())"
    for name in ("team", "openmp"):
        assert run_python(code, TRIMTAB_THREADING=name) == name


def test_a_missing_runtime_is_an_error(tmp_path):
    """At import, and of the function; the engine stays as it was."""
    for name in RUNTIMES:
        (tmp_path / name).write_text("not a library")
    code = """
import trimtab as tt
try:
    tt.set_threading("openmp")
except RuntimeError as error:
    print(error, tt.get_threading())
"""
    without = {"LD_LIBRARY_PATH": str(tmp_path)}
    shown = interpret(code, TRIMTAB_THREADING="team", **without).stdout
    reason = r"'openmp' needs an OpenMP runtime, and none is loaded or installed: install libgomp .*"
    assert re.fullmatch(f"set_threading: {reason} team\n", shown)
    child = interpret("import trimtab", check=False, TRIMTAB_THREADING="openmp", **without)
    assert re.fullmatch(f"ImportError: TRIMTAB_THREADING: {reason}", child.stderr.splitlines()[-1])


@pytest.mark.usefixtures("openmp")
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_both_engines_give_the_same_bits(threads):
    tt.set_num_threads(threads)
    bits = []
    for name in ("team", "openmp"):
        tt.set_threading(name)
        bits.append({name: call.bits() for name, call in every_call(np.dtype("f4")).items()})
    assert bits[0] == bits[1]


@pytest.mark.usefixtures("openmp")
def test_the_engine_may_change_while_others_compute(rng):
    x = rng.standard_normal((2000, 768)).astype(np.float32)
    expected = tt.layer_norm(x)
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(tt.layer_norm, x) for _ in range(30)]
        for turn in range(300):
            tt.set_threading(("team", "openmp")[turn % 2])
        assert all(np.array_equal(result.result(), expected) for result in results)


@pytest.mark.usefixtures("openmp")
def test_calls_within_a_region_compute(rng):
    """On each of its threads at once, whether or not a region may start threads within another one."""
    runtime = ctypes.PyDLL(tt.show_config()["openmp_runtime"])
    x = rng.standard_normal((1000, 768)).astype(np.float32)
    expected = tt.layer_norm(x)
    results = []
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: results.append(tt.layer_norm(x)))
    region = ctypes.CDLL(runtime._name).GOMP_parallel
    for levels in (1, 2):
        runtime.omp_set_max_active_levels(levels)
        region(body, None, 3, 0)
    runtime.omp_set_max_active_levels(1)
    assert len(results) == 6
    assert all(np.array_equal(y, expected) for y in results)


@pytest.mark.usefixtures("openmp")
@pytest.mark.parametrize("variable", ["OMP_THREAD_LIMIT=1", "OMP_DYNAMIC=true", "OMP_WAIT_POLICY=passive"])
def test_a_region_with_fewer_threads_does_all_tasks(run_python, variable):
    code = """
import numpy as np
import trimtab as tt
tt.set_num_threads(8)
x = np.random.default_rng(0).standard_normal((1000, 768)).astype("f4")
y = tt.layer_norm(x)
tt.set_threading("team")
print(np.array_equal(y, tt.layer_norm(x)))
"""
    name, value = variable.split("=")
    assert run_python(code, TRIMTAB_THREADING="openmp", **{name: value}) == "True"


@pytest.mark.usefixtures("openmp")
def test_a_child_of_fork_uses_the_team(run_python):
    code = """
import os, warnings, numpy as np, trimtab as tt
warnings.simplefilter("ignore", DeprecationWarning)
x = np.random.default_rng(0).standard_normal((2000, 768)).astype("f4")
y = tt.layer_norm(x)
child = os.fork()
if child == 0:
    try:
        tt.set_threading("openmp")
    except RuntimeError as error:
        print(tt.get_threading(), np.array_equal(tt.layer_norm(x), y), error, flush=True)
    tt.set_threading("team")
    os._exit(0)
print(os.waitpid(child, 0)[1], tt.get_threading())
"""
    child, parent = run_python(code, TRIMTAB_THREADING="openmp").splitlines()
    assert child.startswith("team True set_threading: 'openmp' would hang in a child of fork")
    assert parent == "0 openmp"


def test_the_limit_of_the_runtime_holds(openmp):
    tt.set_num_threads(8)
    initial = openmp.omp_get_max_threads()
    openmp.omp_set_num_threads(initial + 1)
    assert tt.get_num_threads() == initial + 1
    openmp.omp_set_num_threads(initial)
    assert tt.get_num_threads() == 8


def test_the_runtime_is_the_one_that_was_loaded_last(run_python):
    pytest.importorskip("sklearn")
    code = """
import trimtab as tt
import sklearn.utils._openmp_helpers
tt.set_threading("openmp")
print(tt.show_config()["openmp_runtime"])
"""
    assert "scikit_learn.libs" in run_python(code).splitlines()[-1]
