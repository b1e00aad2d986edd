"""Results too large for the caches go to memory another way, with the bits of those written in place."""

from pathlib import Path

import numpy as np
import pytest
import trimtab as tt

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def last_cache_bytes():
    sizes = [path.read_text().strip() for path in CACHES.glob("index*/size")]
    return max((int(size.removesuffix("K")) << 10 for size in sizes if size.endswith("K")), default=32 << 20)


@pytest.fixture(scope="module")
def values():
    """As many as, with results of their size, fill the largest cache."""
    count = last_cache_bytes() // (2 * 4)
    if count > 1 << 27:
        pytest.skip(f"a cache of {last_cache_bytes()} bytes takes too long to fill")
    return np.random.default_rng(0).standard_normal(count + 20_000, dtype=np.float32)


def shaped(values, *shape):
    """An array that ends with `shape`, of as many values as fit."""
    rows = values.size // np.prod(shape)
    return values[: rows * np.prod(shape)].reshape(rows, *shape)


WAYS = {
    "rows": ((769,), lambda x, out: tt.layer_norm(x, out=out)),
    "long rows": ((5003,), lambda x, out: tt.layer_norm(x, out=out)),
    "short rows": ((9,), lambda x, out: tt.layer_norm(x, out=out)),
    "columns": ((67,), lambda x, out: tt.batch_norm(x, *statistics(67), out=out)),
    "wide columns": ((3001,), lambda x, out: tt.batch_norm(x, *statistics(3001), out=out)),
    "planes": ((3, 40, 41), lambda x, out: tt.batch_norm(x, *statistics(3), out=out)),
    "groups": ((6, 19, 17), lambda x, out: tt.group_norm(x, 3, out=out)),
    "dropout": ((101,), lambda x, out: tt.dropout_forward(x, 0.3, rng=1, out=out)[0]),
}


def statistics(channels):
    return np.linspace(-1, 1, channels), np.linspace(0.5, 2, channels)


@pytest.mark.parametrize("way", WAYS)
def test_forward(way, values):
    shape, op = WAYS[way]
    x = shaped(values, *shape)
    in_place = x.copy()
    op(in_place, in_place)
    np.testing.assert_array_equal(op(x, None), in_place)


@pytest.mark.parametrize("shape", [(769,), (5003,), (9,)])
def test_backward_of_rows(shape, values):
    """Rows do not depend on each other: those of a part, which the caches hold, are those of the whole."""
    x = shaped(values, *shape)
    dy = x[::-1]
    _, mean, rstd = tt.layer_norm_forward(x)
    dx = tt.layer_norm_backward(dy, x, mean, rstd).dx
    for part in (slice(0, 33), slice(len(x) // 2, len(x) // 2 + 33), slice(-33, None)):
        some = tt.layer_norm_backward(dy[part], x[part], mean[part], rstd[part]).dx
        np.testing.assert_array_equal(dx[part], some)
