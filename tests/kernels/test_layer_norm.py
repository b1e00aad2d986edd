"""Layer norm: any axes, shapes, dtypes and memory; what it returns and where it writes."""

import array
import os

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.foreign_arrays import OnlyArray, OnlyDLPack
from helpers.norms import check_backward, check_forward, check_overlaps, layer_norm, layer_norms
from helpers.strategies import (
    BFLOAT16,
    DTYPES,
    OVERLAPS,
    WRITEABLE_LAYOUTS,
    arrays,
    parameters,
)
from hypothesis import assume, given
from hypothesis import strategies as st


@given(st.data(), layer_norms(), st.sampled_from(DTYPES), st.sampled_from([0, 1e-5, 0.1]))
def test_forward_is_accurate(data, norm, dtype, eps):
    x = data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    beta = data.draw(parameters(norm.parameter_shape, dtype))
    assume(eps > 0 or np.all(norm.var(x) > 0))  # otherwise rstd is infinite
    check_forward(norm, x, gamma, beta, eps=eps)


@given(st.data(), layer_norms(), st.sampled_from(DTYPES))
def test_backward_is_accurate(data, norm, dtype):
    dy, x = data.draw(arrays(norm.shape, dtype)), data.draw(arrays(norm.shape, dtype))
    check_backward(norm, dy, x, data.draw(parameters(norm.parameter_shape, dtype)))


@given(st.data(), layer_norms(), st.sampled_from(DTYPES))
def test_layer_norm_gives_the_y_of_forward(data, norm, dtype):
    x = data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    y = tt.layer_norm(x, gamma, **norm.options)
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, check_forward(norm, x, gamma, None).y)


def test_arguments_and_results_have_the_documented_order_and_names(rng):
    x, gamma, beta = rng.standard_normal((3, 4, 4))
    gamma, beta = gamma[0], beta[0]
    y, mean, rstd = expected = reference.layer_norm_forward(x, gamma, beta, eps=0.5)
    result = tt.layer_norm_forward(x, gamma, beta, axis=-1, eps=0.5, out=None)
    assert result._fields == ("y", "mean", "rstd")
    for got, value in zip(result, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12)
    np.testing.assert_allclose(tt.layer_norm(beta=beta, gamma=gamma, x=x, eps=0.5), y, rtol=1e-12)
    gradients = tt.layer_norm_backward(y, x, mean, rstd, gamma)
    assert gradients._fields == ("dx", "dgamma", "dbeta")
    by_name = tt.layer_norm_backward(rstd=rstd, mean=mean, gamma=gamma, x=x, dy=y)
    for got, value in zip(by_name, reference.layer_norm_backward(y, x, mean, rstd, gamma), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
def test_out_in_any_memory_is_written_and_returned(rng, dtype, layout):
    norm = layer_norm((7, 37))
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    out = WRITEABLE_LAYOUTS[layout](np.zeros_like(x))
    assert check_forward(norm, x, None, None, out=out).y is out
    assert tt.layer_norm(x, out=out) is out
    assert check_backward(norm, dy, x, None, out=out).dx is out


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize(
    "norm", [layer_norm((3, 5)), layer_norm((37, 300)), layer_norm((5, 6, 7), axis=1)], ids=str
)
def test_out_may_overlap_an_input(rng, dtype, kind, norm):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    check_overlaps(
        kind,
        x,
        dy,
        lambda x, out: check_forward(norm, x, None, None, out=out).y,
        lambda dy, x, out: check_backward(norm, dy, x, None, out=out).dx,
    )


def test_out_may_overlap_gamma_and_beta(rng):
    """They are read before the output is written."""
    x, out = rng.standard_normal((2, 9, 40)).astype(np.float32)
    check_forward(layer_norm(x.shape), x, out[0], out[4], out=out)


@pytest.mark.parametrize(
    "wrap",
    [
        OnlyDLPack,
        OnlyArray,
        memoryview,
        np.ndarray.tolist,
        lambda x: tuple(map(tuple, x.tolist())),
        lambda x: [array.array("d", row) for row in x],
    ],
)
def test_foreign_arrays_and_sequences_are_taken(rng, wrap):
    x, dy = rng.standard_normal((2, 3, 5))
    gamma, beta = rng.standard_normal((2, 1, 5))
    expected = reference.layer_norm_forward(x, gamma[0], beta[0])
    result = tt.layer_norm_forward(wrap(x), gamma[0].tolist(), OnlyArray(beta[0]))
    for got, value in zip(result, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-13)
    gradients = tt.layer_norm_backward(wrap(dy), wrap(x), expected.mean.tolist(), OnlyDLPack(expected.rstd))
    for got, value in zip(gradients, reference.layer_norm_backward(dy, x, *expected[1:]), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-11, atol=1e-13)


def test_subclasses_of_arrays_are_arrays(rng):
    x = rng.standard_normal((3, 5)).view(np.recarray)
    y = tt.layer_norm(x)
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, reference.layer_norm(x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5), (0,) * 3 + (4,)])
def test_a_batch_without_rows_is_empty(dtype, shape):
    x = np.empty(shape, dtype)
    y, mean, rstd = tt.layer_norm_forward(x)
    assert (y.shape, y.dtype) == (shape, dtype)
    assert mean.shape == rstd.shape == shape[:-1]
    dx, dgamma, dbeta = tt.layer_norm_backward(x, x, mean, rstd)
    assert (dx.shape, dx.dtype) == (shape, dtype)
    np.testing.assert_array_equal(dgamma, np.zeros(shape[-1], dtype))
    np.testing.assert_array_equal(dbeta, np.zeros(shape[-1], dtype))


def test_rows_of_one_value_give_beta(rng):
    x = rng.standard_normal((5, 1)).astype(np.float32)
    np.testing.assert_array_equal(tt.layer_norm(x, beta=np.float32([7])), np.full((5, 1), 7))


def test_a_sample_does_not_depend_on_its_batch(rng):
    x = rng.standard_normal((64, 123)).astype(np.float32)
    whole = tt.layer_norm(x)
    for row in (0, 17, 63):
        np.testing.assert_array_equal(tt.layer_norm(x[row : row + 1])[0], whole[row])


def available_memory():
    """Bytes of memory that are available without swapping."""
    with open("/proc/meminfo") as lines:
        sizes = dict(line.split(":") for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024


@pytest.mark.skipif(
    not os.path.exists("/proc/meminfo") or available_memory() < 16 * 2**30,
    reason="needs 16 GiB of free memory",
)
def test_more_elements_than_32_bits_count(rng):
    width = 2**16 + 3
    rows = 2**31 // width + 2
    row = rng.standard_normal(width).astype(np.float16)
    x = np.broadcast_to(row, (rows, width))
    assert x.size > 2**31
    y, mean, rstd = tt.layer_norm_forward(x)
    expected, expected_mean, expected_rstd = reference.layer_norm_forward(row)
    np.testing.assert_allclose(mean, np.full(rows, expected_mean), rtol=0, atol=1e-7)
    np.testing.assert_allclose(rstd, np.full(rows, expected_rstd), rtol=1e-6)
    for index in (0, 1, rows // 2, rows - 2, rows - 1):
        np.testing.assert_allclose(y[index], expected, rtol=2**-10, atol=1e-6)
    del y
    tt.trim_memory()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((37, 129), (-1,)), ((5, 6, 7, 8), (-2, -1)), ((4, 3, 2), (0, 1, 2))]
)
def test_results_agree_with_torch(rng, dtype, shape, axes):
    torch = pytest.importorskip("torch")
    parameter_shape = shape[len(shape) - len(axes) :]
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, *parameter_shape)).astype(dtype)
    tensors = [torch.tensor(value, requires_grad=True) for value in (x, gamma, beta)]
    torch_y = torch.nn.functional.layer_norm(tensors[0], parameter_shape, *tensors[1:], eps=1e-5)
    torch_y.backward(torch.tensor(dy))

    y, mean, rstd = tt.layer_norm_forward(x, gamma, beta, axis=axes)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(y, torch_y.detach().numpy(), **tolerance)
    gradients = tt.layer_norm_backward(dy, x, mean, rstd, gamma, axis=axes)
    for ours, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), **tolerance)


def test_bfloat16_is_the_dtype_of_ml_dtypes(rng):
    x = rng.standard_normal((3, 40)).astype(BFLOAT16)
    assert tt.layer_norm(x).dtype == BFLOAT16
