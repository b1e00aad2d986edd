"""Results that exceed the caches are stored with streaming stores and have the same bits."""

from pathlib import Path

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers import norms

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def last_cache_bytes():
    sizes = [path.read_text().strip() for path in CACHES.glob("index*/size")]
    return max((int(size.removesuffix("K")) << 10 for size in sizes if size.endswith("K")), default=32 << 20)


@pytest.fixture(scope="module")
def values():
    """The number of values that, with results of their size, fill the largest cache."""
    count = last_cache_bytes() // (2 * 4)
    if count > 1 << 27:
        pytest.skip(f"a cache of {last_cache_bytes()} bytes takes too long to fill")
    return np.random.default_rng(0).standard_normal(count + 20_000, dtype=np.float32)


def shaped(values, *shape):
    """An array whose shape ends with `shape` and that has about the given number of values."""
    rows = values.size // np.prod(shape)
    return values[: rows * np.prod(shape)].reshape(rows, *shape)


WAYS = {
    "rows": ([(769,), (768,)], lambda x, out: tt.layer_norm(x, out=out)),
    "long rows": ([(5003,), (5008,)], lambda x, out: tt.layer_norm(x, out=out)),
    "short rows": ([(9,), (16,)], lambda x, out: tt.layer_norm(x, out=out)),
    "columns": ([(67,), (64,)], lambda x, out: tt.batch_norm(x, *statistics(x), out=out)),
    "wide columns": ([(3001,), (3008,)], lambda x, out: tt.batch_norm(x, *statistics(x), out=out)),
    "planes": ([(3, 40, 41), (3, 40, 48)], lambda x, out: tt.batch_norm(x, *statistics(x), out=out)),
    "groups": ([(6, 19, 17), (6, 16, 16)], lambda x, out: tt.group_norm(x, 3, out=out)),
    "groups, channels last": (
        [(31, 37, 18), (32, 32, 16)],
        lambda x, out: tt.group_norm(x, 2, axis=-1, out=out),
    ),
    "dropout": ([(101,), (128,)], lambda x, out: tt.dropout_forward(x, 0.3, rng=1, out=out)[0]),
}
# Rows at any alignment, and rows aligned to cache lines.
CASES = [(way, shape) for way, (shapes, _) in WAYS.items() for shape in shapes]


def statistics(x):
    return np.linspace(-1, 1, x.shape[1]), np.linspace(0.5, 2, x.shape[1])


@pytest.mark.parametrize(("way", "shape"), CASES)
def test_forward_has_the_bits_of_results_in_place(way, shape, values):
    _, op = WAYS[way]
    x = shaped(values, *shape)
    in_place = x.copy()
    op(in_place, in_place)
    np.testing.assert_array_equal(op(x, None), in_place)


@pytest.mark.parametrize("way", WAYS)
def test_forward_of_16_bits_has_the_bits_of_results_in_place(way, values):
    (_, shape), op = WAYS[way]
    x = shaped(np.concatenate([values, values]).astype(np.float16), *shape)
    in_place = x.copy()
    op(in_place, in_place)
    np.testing.assert_array_equal(op(x, None), in_place)


NORMS = {
    "narrow columns": ((64,), norms.batch_norm),
    "odd columns": ((67,), norms.batch_norm),
    "wide columns": ((1056,), norms.batch_norm),
    "planes": ((32, 40, 40), norms.batch_norm),
    "rows": ((768,), norms.layer_norm),
    "groups, channels last": ((32, 32, 16), lambda shape: norms.group_norm(shape, 4, axis=-1)),
}


@pytest.mark.parametrize("name", NORMS)
def test_statistics_and_gradients_are_accurate(name, values):
    shape, norm_of = NORMS[name]
    x = shaped(values, *shape)
    norm = norm_of(x.shape)
    gamma, beta = np.random.default_rng(1).standard_normal((2, *norm.parameter_shape), dtype=np.float32)
    norms.check_forward(norm, x, gamma, beta)
    norms.check_backward(norm, x[::-1], x, gamma)


@pytest.mark.parametrize("shape", [(64,), (67,), (32, 40, 40)])
def test_the_gradient_of_the_residual_is_exact(shape, values):
    x = shaped(values, *shape)
    dy = x[::-1]
    y, mean, rstd = tt.batch_norm_forward(x, residual=x, activation="relu")[:3]
    result = tt.batch_norm_backward(dy, x, mean, rstd, y=y, activation="relu", residual=True)
    np.testing.assert_array_equal(result.dresidual, np.where(y > 0, dy, 0))


@pytest.mark.parametrize("channels", [64, 67, 1056])
def test_moments_of_arrays_that_exceed_all_caches_are_accurate(channels, values):
    x = shaped(np.concatenate([values, values]), channels)
    moments, expected = tt.batch_moments(x), reference.batch_moments(x)
    np.testing.assert_allclose(moments.mean, expected.mean, rtol=0, atol=2e-8)
    np.testing.assert_allclose(moments.var, expected.var, rtol=1e-7)


@pytest.mark.parametrize("shape", [(769,), (768,), (5003,), (5008,), (9,), (16,)])
def test_backward_of_rows_has_the_bits_of_parts(shape, values):
    """Rows are independent: those of a part that fits the caches are those of the whole."""
    x = shaped(values, *shape)
    dy = x[::-1]
    _, mean, rstd = tt.layer_norm_forward(x)
    dx = tt.layer_norm_backward(dy, x, mean, rstd).dx
    for part in (slice(0, 33), slice(len(x) // 2, len(x) // 2 + 33), slice(-33, None)):
        some = tt.layer_norm_backward(dy[part], x[part], mean[part], rstd[part]).dx
        np.testing.assert_array_equal(dx[part], some)
