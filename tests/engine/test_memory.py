"""Recycled memory of large results: aligned, bounded, released on request, never shared between results."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
import trimtab as tt

LARGE = (64, 256)  # of float32: 64 KiB, the smallest size that is recycled
SMALL = (63, 256)


@pytest.fixture(autouse=True)
def empty_store():
    tt.set_memory_cap(2**28)
    tt.trim_memory()
    yield
    tt.trim_memory()


def normalized(shape=LARGE):
    return tt.layer_norm(np.ones(shape, np.float32))


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [LARGE, (65, 257), (1000, 1001), (3, 5, 7, 11, 100)])
def test_large_results_are_aligned_to_pages(rng, shape):
    x = rng.standard_normal(shape).astype(np.float32)
    y, mean, rstd = tt.layer_norm_forward(x)
    dx = tt.layer_norm_backward(x, x, mean, rstd).dx
    for result in (y, dx, tt.batch_norm_forward(x, axis=-1).y):
        assert address(result) % 4096 == 0
        assert result.flags.c_contiguous
        assert result.flags.owndata
        assert result.flags.writeable


def test_the_memory_of_a_deleted_result_is_recycled():
    y = normalized()
    place = address(y)
    del y
    assert address(normalized()) == place


def test_the_memory_of_a_result_in_use_is_not_recycled():
    first = normalized()
    view = first[5:, ::2]
    first[...] = 7
    del first
    gc.collect()
    others = [normalized() for _ in range(8)]
    assert all(not np.shares_memory(view, other) for other in others)
    np.testing.assert_array_equal(view, 7)


def test_trim_releases_kept_memory():
    assert tt.trim_memory() == 0
    y = normalized()
    assert tt.trim_memory() < y.nbytes  # in use; working memory of the call may be kept
    nbytes = y.nbytes
    del y
    assert tt.trim_memory() >= nbytes
    assert tt.trim_memory() == 0


def test_small_results_are_not_kept():
    y = normalized(SMALL)
    tt.trim_memory()
    nbytes = y.nbytes
    del y
    assert tt.trim_memory() < nbytes


def test_the_cap_bounds_kept_memory():
    tt.set_memory_cap(300_000)
    assert tt.get_memory_cap() == 300_000
    results = [normalized() for _ in range(20)]
    del results
    assert LARGE[0] * LARGE[1] * 4 <= tt.trim_memory() <= 300_000


def test_a_lower_cap_releases_memory_at_once():
    results = [normalized() for _ in range(20)]
    del results
    tt.set_memory_cap(100_000)
    assert tt.trim_memory() <= 100_000


def test_a_cap_of_zero_keeps_nothing():
    tt.set_memory_cap(0)
    assert tt.get_memory_cap() == 0
    np.testing.assert_array_equal(normalized(), 0)
    assert tt.trim_memory() == 0


@pytest.mark.parametrize("cap", [0, 12_345_678])
def test_the_cap_is_read_from_the_environment(run_python, cap):
    code = "import trimtab as tt; print(tt.get_memory_cap())"
    assert run_python(code, TRIMTAB_MEMORY_CAP=str(cap)) == str(cap)


def test_results_in_recycled_memory_are_written_completely(rng):
    """No value of the previous owner remains."""
    x = rng.standard_normal((100, 301)).astype(np.float32)
    for _ in range(3):
        y = tt.layer_norm(x)
        np.testing.assert_allclose(y, reference.layer_norm(x), rtol=0, atol=1e-5)
        y[...] = np.nan
        del y


def test_results_of_several_threads_do_not_share_memory():
    """Eight threads take, check and drop results."""

    def work(seed):
        rng = np.random.default_rng(seed)
        kept = []
        for _ in range(30):
            x = rng.standard_normal((int(rng.integers(60, 200)), 257)).astype(np.float32)
            kept.append((tt.layer_norm(x), x))
            if len(kept) > 3:
                y, x = kept.pop(int(rng.integers(3)))
                np.testing.assert_allclose(y, reference.layer_norm(x), rtol=0, atol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, seed) for seed in range(8)]:
            future.result()


def test_results_outlive_the_thread_that_made_them():
    with ThreadPoolExecutor(1) as pool:
        y = pool.submit(normalized).result()
    np.testing.assert_array_equal(y, 0)
    del y
    assert tt.trim_memory() >= LARGE[0] * LARGE[1] * 4
