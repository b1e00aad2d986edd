"""Environment variables and external limits of threads and memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.interpreter import interpret

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
needs_two_cpus = pytest.mark.skipif(CPUS < 2, reason="needs two CPUs")
MIB = 1 << 20

# ---- environment variables ----


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("TRIMTAB_NUM_THREADS", value) for value in ("x", "0", "-1", "2.0", "1e3", "2 3", "9" * 30, "0x2")],
        *[("TRIMTAB_MEMORY_CAP", value) for value in ("x", "-1", "1.5G", "1e9", "G", "1GB", "1P", "9" * 30)],
        *[("TRIMTAB_MEMORY_CAP", value) for value in ("99999999999G", "1 G G", "1Gi2")],
        *[("TRIMTAB_ISA", value) for value in ("x", "AVX512", "avx2,avx512")],
        *[("TRIMTAB_THREADING", value) for value in ("x", "Team", "openmp,team")],
    ],
)
def test_invalid_values_are_refused_by_name(name, value):
    child = interpret("import trimtab", check=False, **{name: value})
    assert child.returncode == 1
    message = child.stderr.splitlines()[-1]
    assert message.startswith(f"ImportError: {name} must be ")
    assert message.endswith(f", got '{value}'")


@pytest.mark.parametrize(
    ("value", "cap"),
    [
        ("0", 0),
        ("12345", 12345),
        ("64k", 64 << 10),
        ("64K", 64 << 10),
        ("512M", 512 << 20),
        ("1G", 1 << 30),
        ("1GiB", 1 << 30),
        ("3 Mi", 3 << 20),
        (" 2g ", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes_have_units(run_python, value, cap):
    code = "import trimtab as tt; print(tt.get_memory_cap())"
    assert run_python(code, TRIMTAB_MEMORY_CAP=value) == str(cap)


def test_an_empty_value_counts_as_not_set(run_python):
    code = (
        "import trimtab as tt; print(tt.get_num_threads(), tt.get_memory_cap(), tt.isa(), tt.get_threading())"
    )
    names = ("TRIMTAB_NUM_THREADS", "TRIMTAB_MEMORY_CAP", "TRIMTAB_ISA", "TRIMTAB_THREADING")
    without = {name: value for name, value in os.environ.items() if name not in names}
    expected = subprocess.run(
        [sys.executable, "-c", code], env=without, capture_output=True, text=True, check=True
    )
    assert run_python(code, **dict.fromkeys(names, "")) == expected.stdout.strip()


# ---- memory ----


def test_the_default_cap_is_a_fraction_of_the_address_space(run_python):
    resource = pytest.importorskip("resource")
    code = f"""
import numpy, resource
resource.setrlimit(resource.RLIMIT_AS, ({4000 * MIB}, resource.RLIM_INFINITY))
import trimtab as tt
from helpers.interpreter import interpret
print(tt.get_memory_cap())
"""
    assert resource.getrlimit(resource.RLIMIT_AS)[1] == resource.RLIM_INFINITY
    assert run_python(code, TRIMTAB_MEMORY_CAP="") == str(500 * MIB)


def control_group(tmp_name):
    """A memory control group, version 1 or 2, and the name of its limit."""
    for root, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        folder = f"{root}/{tmp_name}"
        try:
            os.mkdir(folder)
        except OSError:
            continue
        if os.path.exists(f"{folder}/{limit}"):
            return folder, f"{folder}/{limit}"
        os.rmdir(folder)
    pytest.skip("no control group for memory can be made here")


def test_the_default_cap_is_a_fraction_of_the_limit_of_the_control_group(run_python):
    """The limit of a parent group counts, too."""
    folder, limit = control_group(f"trimtab-{os.getpid()}")
    child = f"{folder}/child"
    code = f"""
import os
with open("{child}/cgroup.procs", "w") as processes:
    processes.write(str(os.getpid()))
import trimtab as tt
from helpers.interpreter import interpret
print(tt.get_memory_cap())
"""
    try:
        os.mkdir(child)
        with open(limit, "w") as file:
            file.write(str(4000 * MIB))
        assert run_python(code, TRIMTAB_MEMORY_CAP="") == str(500 * MIB)
    finally:
        os.rmdir(child)
        os.rmdir(folder)


# ---- threads ----

IMPORTS = {
    "trimtab first": "import trimtab as tt; from threadpoolctl import threadpool_limits as limit",
    "threadpoolctl first": "from threadpoolctl import threadpool_limits as limit; import trimtab as tt",
}
LOAD_OPENMP = "import ctypes; openmp = ctypes.CDLL('libgomp.so.1', mode=ctypes.RTLD_GLOBAL)\n"


def needs_openmp():
    import ctypes

    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("needs libgomp")


@pytest.mark.parametrize("environment", ["", "1", "2", "7"])
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("order", IMPORTS)
def test_limits_of_threadpoolctl_end_with_their_block(run_python, order, loaded, environment):
    pytest.importorskip("threadpoolctl")
    if loaded:
        needs_openmp()
    code = f"""
{LOAD_OPENMP if loaded else ""}{IMPORTS[order]}
counts = []
def count():
    counts.append(tt.get_num_threads())
tt.set_num_threads(6)
count()
for k in (1, 2, 3):
    with limit(k):
        count()
        with limit(4, "openmp"):
            count()
            tt.set_num_threads(5)
            count()
        count()
        with limit(1, "blas"):
            count()
    count()
    tt.set_num_threads(6)
print(*counts)
"""
    expected = [6]
    for k in (1, 2, 3):
        expected += [k, 4, 4, k, k, 5]
    assert run_python(code, OMP_NUM_THREADS=environment) == " ".join(map(str, expected))


@needs_two_cpus
@pytest.mark.parametrize("loaded", [False, True])
def test_a_limit_set_during_import_ends_with_its_block(run_python, loaded):
    pytest.importorskip("threadpoolctl")
    if loaded:
        needs_openmp()
    code = f"""
{LOAD_OPENMP if loaded else ""}from threadpoolctl import threadpool_limits as limit
with limit(1):
    import trimtab as tt
from helpers.interpreter import interpret
print(tt.get_num_threads())
"""
    assert run_python(code, OMP_NUM_THREADS="", TRIMTAB_NUM_THREADS="") == str(CPUS)


@needs_two_cpus
def test_omp_num_threads_is_the_initial_limit(run_python):
    """Later settings replace it, with more or fewer threads."""
    pytest.importorskip("threadpoolctl")
    needs_openmp()
    code = f"""
{LOAD_OPENMP}import trimtab as tt
from helpers.interpreter import interpret
from threadpoolctl import threadpool_limits as limit
print(tt.get_num_threads(), end=" ")
with limit(2):
    print(tt.get_num_threads(), end=" ")
print(tt.get_num_threads(), end=" ")
openmp.omp_set_num_threads(2)
print(tt.get_num_threads(), end=" ")
tt.set_num_threads(4)
print(tt.get_num_threads(), end=" ")
openmp.omp_set_num_threads(3)
print(tt.get_num_threads())
"""
    assert run_python(code, OMP_NUM_THREADS="1", TRIMTAB_NUM_THREADS="") == "1 2 1 2 2 3"


@needs_two_cpus
@pytest.mark.parametrize("limit", [-1, -(2**31)])
def test_a_negative_limit_leaves_one_thread(limit):
    """With fewer than one thread, no work would be done."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    x = np.random.default_rng(0).standard_normal((2000, 500))
    with threadpoolctl.threadpool_limits(limit):
        assert tt.get_num_threads() >= 1  # other OpenMP runtimes may read it as 1
        np.testing.assert_allclose(tt.layer_norm(x), reference.layer_norm(x), atol=1e-9)


def test_threadpoolctl_lists_the_library():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    (ours,) = (pool for pool in threadpoolctl.threadpool_info() if pool["internal_api"] == "trimtab")
    assert (ours["user_api"], ours["version"]) == ("openmp", tt.__version__)
    assert ours["num_threads"] == tt.get_num_threads()


def test_other_packages_import_threadpoolctl_as_before(run_python):
    """Also where it cannot be imported."""
    code = """
import sys
finders = [*sys.meta_path]
import trimtab
sys.path[:] = []
try:
    import threadpoolctl
except ModuleNotFoundError as error:
    print(error.name, sys.meta_path == finders)
"""
    assert run_python(code) == "threadpoolctl True"
