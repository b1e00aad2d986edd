"""Every function under RLIMIT_AS: a failed allocation is a MemoryError and changes nothing."""

import numpy as np
import pytest
import trimtab as tt
from helpers.large_calls import every_call, takes_out, with_copies

resource = pytest.importorskip("resource")

MIB = 1 << 20
HEADROOMS = [0, MIB // 4, MIB, 3 * MIB, 6 * MIB, 12 * MIB, 24 * MIB]


def address_space():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def limited(headroom, call):
    """The bits of results and arguments of a call with so much more memory, or None if it was not enough."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + headroom, hard))
    try:
        results = call()
    except MemoryError:
        return None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return [np.asarray(result).tobytes() for result in results] + call.memory()


def variants(call):
    """The call with new results, with results in memory of the caller, and in place of the first argument."""
    yield "fresh", with_copies(call)
    if takes_out(call):
        copy = with_copies(call)
        first = next(iter(copy.arguments.values()))
        copy.arguments["out"] = np.full_like(first, 7)
        yield "out", copy
        copy = with_copies(call)
        name = next(iter(copy.arguments))
        copy.arguments["out"] = copy.arguments[name]
        yield "in place", copy


def walk(dtype, prefix=""):
    """Print every call that breaks the rule, and at the end how many calls were refused.

    Only calls whose names begin with `prefix`.
    """
    refused = 0
    for name, call in every_call(dtype).items():
        if not name.startswith(prefix):
            continue
        for (variant, expected_call), (_, limited_call) in zip(variants(call), variants(call), strict=True):
            expected = expected_call.bits()
            before = limited_call.memory()
            for headroom in HEADROOMS:
                tt.trim_memory()
                label = f"{name} {variant} {headroom >> 10} KiB"
                bits = limited(headroom, limited_call)
                if bits is None:
                    refused += 1
                    if limited_call.memory() != before:
                        print("changed its arguments:", label)
                        break
                else:
                    if bits != expected:
                        print("wrong:", label)
                    break
            if bits is None and limited_call.bits() != expected:
                print("wrong afterwards:", name, variant)
    print(refused, "refused")


@pytest.mark.parametrize("dtype", ["f4", "f2"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_every_function_raises_memory_error_at_a_limit(run_python, threads, dtype):
    code = f"from engine.test_memory_limits import walk; walk('{dtype}')"
    settings = {
        "TRIMTAB_NUM_THREADS": threads,
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "0",
    }
    *broken, refused = run_python(code, **settings).splitlines()
    assert not broken
    assert int(refused.split()[0]) > 200


def test_a_lack_of_memory_in_a_region_of_openmp_is_a_memory_error(run_python):
    try:
        tt.set_threading("openmp")
    except RuntimeError as error:
        pytest.skip(str(error))
    code = "from engine.test_memory_limits import walk; walk('f2', 'group_norm')"
    settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    *broken, refused = run_python(code, TRIMTAB_THREADING="openmp", **settings).splitlines()
    assert not broken
    assert int(refused.split()[0]) > 0
