"""Group norm and instance norm: any channel axis, shape, dtype and memory; relations to other norms."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import (
    batch_norm,
    check_backward,
    check_forward,
    check_overlaps,
    group_norm,
    group_norms,
    instance_norm,
    layer_norm,
)
from helpers.strategies import DTYPES, OVERLAPS, WRITEABLE_LAYOUTS, arrays, parameters
from hypothesis import given
from hypothesis import strategies as st

# Short and long channels, few and many groups; channels first, last and in between.
CHANNELS = [
    group_norm((9, 66), 3),
    group_norm((40, 64), 32),
    group_norm((3, 70, 7, 7), 7),
    group_norm((20, 12, 7, 7), 1),
    group_norm((8, 6, 28, 29), 3),
    group_norm((2, 6, 40, 41), 2),
    group_norm((3, 7, 7, 70), 10, axis=-1),
    group_norm((2, 28, 29, 6), 3, axis=3),
    group_norm((2, 3, 4, 5, 6), 2, axis=2),
    group_norm((2, 3, 4, 20, 16), 2, axis=2),
    group_norm((2, 3, 4, 40, 30), 4, axis=2),
    instance_norm((8, 37, 2, 1)),
    instance_norm((3, 70, 7, 7)),
    instance_norm((2, 5, 28, 29)),
    instance_norm((2, 5, 61, 70)),
    instance_norm((3, 7, 7, 70), axis=-1),
    instance_norm((2, 28, 29, 5), axis=3),
    instance_norm((2, 3, 4, 5, 6), axis=-2),
]
TYPICAL = [group_norm((3, 8, 3, 5), 4), group_norm((3, 5, 5, 8), 2, axis=-1), instance_norm((3, 5, 5, 7))]


@given(st.data(), group_norms(), st.sampled_from(DTYPES), st.sampled_from([1e-5, 0.1]))
def test_forward_is_accurate(data, norm, dtype, eps):
    x = data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    beta = data.draw(parameters(norm.parameter_shape, dtype))
    y = check_forward(norm, x, gamma, beta, eps=eps).y
    alone = getattr(tt, norm.name)(x, gamma=gamma, beta=beta, eps=eps, **norm.options)
    assert type(alone) is np.ndarray
    np.testing.assert_array_equal(alone, y)


@given(st.data(), group_norms(), st.sampled_from(DTYPES))
def test_backward_is_accurate(data, norm, dtype):
    dy, x = data.draw(arrays(norm.shape, dtype)), data.draw(arrays(norm.shape, dtype))
    check_backward(norm, dy, x, data.draw(parameters(norm.parameter_shape, dtype)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", CHANNELS, ids=str)
def test_every_layout_of_channels_is_accurate(rng, norm, dtype):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, *norm.parameter_shape)).astype(dtype)
    check_forward(norm, x, gamma, beta)
    check_backward(norm, dy, x, gamma)


def test_arguments_and_results_have_the_documented_order_and_names(rng):
    x = rng.standard_normal((3, 4, 5))
    gamma, beta = rng.standard_normal((2, 4))
    for name, groups in (("group_norm", (2,)), ("instance_norm", ())):
        y, mean, rstd = expected = getattr(reference, f"{name}_forward")(x, *groups, gamma, beta, eps=0.5)
        result = getattr(tt, f"{name}_forward")(x, *groups, gamma, beta, axis=1, eps=0.5, out=None)
        assert result._fields == ("y", "mean", "rstd")
        for got, value in zip(result, expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(getattr(tt, name)(x, *groups, gamma, beta, eps=0.5), result.y)
        gradients = getattr(tt, f"{name}_backward")(y, x, mean, rstd, *groups, gamma)
        assert gradients._fields == ("dx", "dgamma", "dbeta")
        expected = getattr(reference, f"{name}_backward")(y, x, mean, rstd, *groups, gamma)
        for got, value in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
@pytest.mark.parametrize("norm", TYPICAL, ids=str)
def test_out_in_any_memory_is_written_and_returned(rng, dtype, layout, norm):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    out = WRITEABLE_LAYOUTS[layout](np.zeros_like(x))
    assert check_forward(norm, x, None, None, out=out).y is out
    assert check_backward(norm, dy, x, None, out=out).dx is out


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("norm", TYPICAL, ids=str)
def test_out_may_overlap_an_input(rng, dtype, kind, norm):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    check_overlaps(
        kind,
        x,
        dy,
        lambda x, out: check_forward(norm, x, None, None, out=out).y,
        lambda dy, x, out: check_backward(norm, dy, x, None, out=out).dx,
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "axis"), [((0, 6), 1), ((0, 6, 3), 1), ((0, 3, 6), -1)])
def test_a_batch_without_samples_is_empty(dtype, shape, axis):
    x, gamma = np.empty(shape, dtype), np.ones(6, dtype)
    for name, groups in (("group_norm", (2,)), ("instance_norm", ())):
        y, mean, rstd = getattr(tt, f"{name}_forward")(x, *groups, axis=axis)
        assert (y.shape, y.dtype) == (shape, dtype)
        assert mean.shape == rstd.shape == (0, 2 if groups else 6)
        backward = getattr(tt, f"{name}_backward")
        dx, dgamma, dbeta = backward(x, x, mean, rstd, *groups, gamma, axis=axis)
        assert (dx.shape, dx.dtype) == (shape, dtype)
        for gradient in (dgamma, dbeta):
            np.testing.assert_array_equal(gradient, np.zeros(6, dtype))


@pytest.mark.parametrize(("shape", "axis"), [((4, 6, 5, 7), 1), ((4, 5, 7, 6), -1)])
def test_one_group_is_layer_norm_with_parameters_of_channels(rng, shape, axis):
    norm, rows = group_norm(shape, 1, axis), layer_norm(shape, (1, 2, 3))
    x, dy = rng.standard_normal((2, *shape))
    gamma, beta = rng.standard_normal((2, 6))
    spread_gamma, spread_beta = (
        np.broadcast_to(reference.along(p, axis, 4)[0], shape[1:]) for p in (gamma, beta)
    )
    y, mean, rstd = tt.group_norm_forward(x, gamma=gamma, beta=beta, **norm.options)
    expected = tt.layer_norm_forward(x, spread_gamma, spread_beta, **rows.options)
    np.testing.assert_allclose(y, expected.y, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(mean[:, 0], expected.mean, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(rstd[:, 0], expected.rstd, rtol=1e-13)
    gradients = tt.group_norm_backward(dy, x, mean, rstd, gamma=gamma, **norm.options)
    of_values = tt.layer_norm_backward(dy, x, mean[:, 0], rstd[:, 0], spread_gamma, **rows.options)
    np.testing.assert_allclose(gradients.dx, of_values.dx, rtol=1e-12, atol=1e-13)
    for gradient, of_each in zip(gradients[1:], of_values[1:], strict=True):
        space = tuple(a - 1 for a in reference.others((0, axis), 4))
        np.testing.assert_allclose(gradient, of_each.sum(space), rtol=1e-11)


@pytest.mark.parametrize(("shape", "axis"), [((1, 6, 5, 7), 1), ((1, 30, 40, 6), -1)])
def test_instance_norm_of_one_sample_is_batch_norm(rng, shape, axis):
    norm = batch_norm(shape, axis)
    x, dy = rng.standard_normal((2, *shape))
    gamma, beta = rng.standard_normal((2, 6))
    y, mean, rstd = tt.instance_norm_forward(x, gamma, beta, axis=axis)
    expected = tt.batch_norm_forward(x, gamma, beta, **norm.options)
    for value, of_batch in zip((y, mean[0], rstd[0]), expected, strict=True):
        np.testing.assert_allclose(value, of_batch, rtol=1e-12, atol=1e-13)
    gradients = tt.instance_norm_backward(dy, x, mean, rstd, gamma, axis=axis)
    of_batch = tt.batch_norm_backward(dy, x, mean[0], rstd[0], gamma, **norm.options)
    for value, other in zip(gradients, of_batch[:3], strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (3, 6, 9), (2, 6, 5, 7), (8, 6, 30, 31)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_agree_with_torch(rng, dtype, shape):
    torch = pytest.importorskip("torch")
    exact = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-10}
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, 6)).astype(dtype)
    functional = torch.nn.functional
    forms = [("group_norm", (2,), lambda x, *p: functional.group_norm(x, 2, *p))]
    if len(shape) > 2:
        forms += [("instance_norm", (), lambda x, *p: functional.instance_norm(x, weight=p[0], bias=p[1]))]
    for name, groups, of_torch in forms:
        tensors = [torch.tensor(value, requires_grad=True) for value in (x, gamma, beta)]
        expected = of_torch(*tensors)
        expected.backward(torch.tensor(dy))
        y, mean, rstd = getattr(tt, f"{name}_forward")(x, *groups, gamma, beta)
        np.testing.assert_allclose(y, expected.detach().numpy(), **exact)
        gradients = getattr(tt, f"{name}_backward")(dy, x, mean, rstd, *groups, gamma)
        for ours, tensor in zip(gradients, tensors, strict=True):
            np.testing.assert_allclose(ours, tensor.grad.numpy(), **exact)
