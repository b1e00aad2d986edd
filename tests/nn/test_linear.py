"""The linear layer: its formula, computed by either product."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from trimtab import nn
from trimtab.nn import linear


def test_linear_is_the_affine_map(rng):
    layer = nn.Linear(3, 4, rng=0)
    layer.bias.value[...] = rng.standard_normal(4)
    x = rng.standard_normal((2, 5, 3), np.float32)
    expected = np.einsum("abi,oi->abo", x.astype(np.float64), layer.weight.value) + layer.bias.value
    assert_allclose(layer(x), expected, atol=1e-5)
    assert layer(x).dtype == np.float32


@pytest.mark.parametrize(
    ("blas_uses_threads", "blas_is_faster"),
    [(-1, 10**9), (10**9, 10**9), (-1, -1)],
    ids=["kernel", "BLAS", "large"],
)
@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_both_products_are_accurate(blas_uses_threads, blas_is_faster, shape, dtype, rng, monkeypatch):
    """A kernel of the library, and BLAS, which writes large gradients in place."""
    monkeypatch.setattr(linear, "BLAS_USES_THREADS", blas_uses_threads)
    monkeypatch.setattr(linear, "BLAS_IS_FASTER", blas_is_faster)
    layer = nn.Linear(5, 4, rng=0, dtype=dtype)
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal((*shape[:-1], 4)).astype(dtype)
    weight = layer.weight.value.astype("f8")
    y, dx = layer(x), layer.backward(dy)
    assert y.dtype == dx.dtype == dtype
    tolerance = {"f2": 2e-2, "f4": 1e-5, "f8": 1e-13}[dtype]
    np.testing.assert_allclose(y, x.astype("f8") @ weight.T, atol=tolerance)
    np.testing.assert_allclose(dx, dy.astype("f8") @ weight, atol=tolerance)
    expected = dy.astype("f8").reshape(-1, 4).T @ x.astype("f8").reshape(-1, 5)
    np.testing.assert_allclose(layer.weight.grad, expected, atol=tolerance)
