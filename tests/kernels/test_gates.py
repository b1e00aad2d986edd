"""GELU and SiLU: values and gradients within ulps, the ends of the range, NaN in every lane, PyTorch."""

import math
from functools import partial

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import arithmetic, assert_within, storage_error, ulp
from helpers.strategies import DTYPES, OVERLAPS, overlapping
from numpy.testing import assert_allclose, assert_array_equal

FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]
GATES = {
    "silu": (tt.silu, tt.silu_backward),
    "gelu": (tt.gelu, tt.gelu_backward),
    "approximate gelu": (partial(tt.gelu, approximate=True), partial(tt.gelu_backward, approximate=True)),
}


def exact(gate, x):
    """P(x) and x P'(x), as floats that are within an ulp of float64, or in NumPy's widest type."""
    z = np.asarray(x, np.longdouble)
    if gate == "gelu":
        p = np.vectorize(math.erfc, otypes=[float])(-np.asarray(x, float) / math.sqrt(2)) / 2
        return p.astype(np.longdouble), z * np.exp(-z * z / 2) / np.sqrt(2 * np.longdouble(np.pi))
    scale = 2 * np.sqrt(2 / np.longdouble(np.pi)) if gate != "silu" else 1
    cubic = np.longdouble("0.044715") if gate != "silu" else 0
    u = scale * (z + cubic * z**3)
    e = np.exp(-np.abs(u))
    return np.where(u < 0, e, 1) / (1 + e), z * e / (1 + e) ** 2 * scale * (1 + 3 * cubic * z * z)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gate", GATES)
def test_values_and_gradients_are_within_ulps(gate, dtype, rng):
    forward, backward = GATES[gate]
    work = arithmetic(dtype)
    for low, high in ((-0.01, 0.01), (-3, 3), (-8, -3), (3, 30)):
        x, dy = rng.uniform(low, high, (2, 20_000)).astype(dtype)
        p, slope = exact(gate, x)
        ulps = 6 + np.abs(x.astype(float)) ** 3 if gate.startswith("approx") else 6
        if work == np.float64 and gate == "gelu":
            ulps = 6 + 2 * np.abs(x) ** 2  # of the argument that erfc gets
        expected = np.asarray(x, np.longdouble) * p
        y = forward(x)
        assert y.dtype == dtype
        assert_within(y, expected, ulps * ulp(expected, work) + storage_error(expected, y.dtype), gate)
        expected = np.asarray(dy, np.longdouble) * (p + slope)
        size = np.abs(np.asarray(dy, np.longdouble)) * (p + np.abs(slope))
        dx = backward(dy, x)
        assert_within(dx, expected, (2 + ulps) * ulp(size, work) + storage_error(expected, dx.dtype), gate)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_results_go_to_zero_through_the_subnormal_numbers(dtype, gate):
    end = {"silu": 800, "gelu": 40, "approximate gelu": 30}[gate]
    x = np.linspace(-end, -1.4, 20_001).astype(dtype)
    y = GATES[gate][0](x)
    assert y[0] == 0
    assert np.all(y <= 0)
    assert_within(y, x * exact(gate, x)[0], 1e-3 * np.abs(y) + end * np.finfo(dtype).smallest_subnormal, gate)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_ends_of_the_range_are_exact(dtype, gate):
    forward, backward = GATES[gate]
    x = np.array([-np.inf, -2e4, -0.0, 0.0, 2e4, np.inf], dtype)
    assert_array_equal(forward(x), np.array([0, 0, 0, 0, 2e4, np.inf], dtype))
    assert_array_equal(np.signbit(forward(x).astype(float)), [True, True, True, False, False, False])
    assert_array_equal(backward(np.ones(6, dtype), x), np.array([0, 0, 0.5, 0.5, 1, 1], dtype))


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_is_kept_in_every_lane(dtype, gate, rng):
    forward, backward = GATES[gate]
    x, dy = rng.standard_normal((2, 33)).astype(dtype)
    for lane in range(33):
        changed = x.copy()
        changed[lane] = np.nan
        for result, plain in ((forward(changed), forward(x)), (backward(dy, changed), backward(dy, x))):
            expected = plain.astype(float)
            expected[lane] = np.nan
            assert_array_equal(result.astype(float), expected)


@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("gate", GATES)
def test_the_output_may_overlap_an_input(gate, kind, rng):
    forward, backward = GATES[gate]
    values, other = rng.standard_normal((2, 6, 37)).astype(np.float32)
    x, out = overlapping(kind, values)
    assert forward(x, out=out) is out
    assert_array_equal(out, forward(values))
    for place in (0, 1):
        inputs = [other, other]
        inputs[place], out = overlapping(kind, values)
        expected = backward(*(array.copy() for array in inputs))
        assert backward(*inputs, out=out) is out
        assert_array_equal(out, expected)


def test_the_approximation_is_another_function():
    x = np.linspace(-4, 4, 1001)
    difference = np.abs(tt.gelu(x) - tt.gelu(x, approximate=True))
    assert 1e-4 < difference.max() < 5e-4
    assert_allclose(tt.gelu(x, True), reference.gelu(x, True), rtol=1e-12)


@pytest.mark.parametrize("gate", GATES)
def test_results_agree_with_torch(gate, rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, dy = 3 * rng.standard_normal((8, 33)), rng.standard_normal((8, 33))
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    result = (
        functional.silu(leaf)
        if gate == "silu"
        else functional.gelu(leaf, approximate="none" if gate == "gelu" else "tanh")
    )
    result.backward(torch.from_numpy(dy))
    forward, backward = GATES[gate]
    assert_allclose(forward(x), result.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert_allclose(backward(dy, x), leaf.grad.numpy(), rtol=1e-12, atol=1e-14)
