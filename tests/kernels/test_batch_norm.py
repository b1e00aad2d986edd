"""Batch norm: any channel axis, shapes, dtypes and memory; running statistics; inference; where it writes."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import (
    BATCH_NORMS,
    FLOAT64_ERROR,
    STATISTIC_ERROR,
    arithmetic,
    assert_normalized,
    assert_within,
    batch_norm,
    batch_norms,
    check_backward,
    check_forward,
    check_overlaps,
    float64_error,
    largest,
    rounding,
    terms_of_result,
    ulp,
)
from helpers.strategies import DTYPES, OVERLAPS, WRITEABLE_LAYOUTS, arrays, overlapping, parameters
from hypothesis import assume, given
from hypothesis import strategies as st

TYPICAL = [batch_norm((37, 300)), batch_norm((3, 5, 3, 5)), batch_norm((3, 5, 5, 7), axis=-1)]


@given(st.data(), batch_norms(), st.sampled_from(DTYPES), st.sampled_from([1e-5, 0.1]))
def test_forward_is_accurate(data, norm, dtype, eps):
    x = data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    beta = data.draw(parameters(norm.parameter_shape, dtype))
    check_forward(norm, x, gamma, beta, eps=eps)


@given(st.data(), batch_norms(), st.sampled_from(DTYPES))
def test_backward_is_accurate(data, norm, dtype):
    dy, x = data.draw(arrays(norm.shape, dtype)), data.draw(arrays(norm.shape, dtype))
    check_backward(norm, dy, x, data.draw(parameters(norm.parameter_shape, dtype)))


def check_inference(norm, x, mean, var, gamma, beta, *, ulps=2, out=None, residual=None, activation=None):
    arguments = {"mean": mean, "var": var, "gamma": gamma, **norm.options}
    terms = terms_of_result(norm, reference.batch_norm(x, **arguments), beta, residual)
    arguments |= {"beta": beta, "residual": residual, "activation": activation}
    expected = reference.batch_norm(x, **arguments)
    relative = float64_error(x, 1 / np.sqrt(reference.wide(var) + 1e-5))

    y = tt.batch_norm(x, out=out, **arguments)
    assert_normalized(y, expected, terms, x.dtype, ulps, relative, f"{norm} inference")
    return y


@given(st.data(), batch_norms(), st.sampled_from(DTYPES))
def test_inference_is_accurate(data, norm, dtype):
    x = data.draw(arrays(norm.shape, dtype))
    mean, var = (data.draw(parameters(norm.parameter_shape, dtype)) for _ in range(2))
    assume(mean is not None and var is not None)
    gamma, beta = (data.draw(parameters(norm.parameter_shape, dtype)) for _ in range(2))
    check_inference(norm, x, mean, np.abs(var), gamma, beta)


@st.composite
def fused_options(draw, norm, dtype):
    """Any combination of activation, residual and virtual batches that the shape allows."""
    sizes = (2, 3, 5, 64) if norm.parameter_axes != (0,) else ()
    return {
        "activation": draw(st.sampled_from([None, "relu"])),
        "residual": draw(st.one_of(st.none(), arrays(norm.shape, dtype))),
        "virtual_batch_size": draw(st.sampled_from([None, *sizes])),
    }


@given(st.data(), batch_norms(), st.sampled_from(DTYPES))
def test_fused_forward_is_accurate(data, norm, dtype):
    x = data.draw(arrays(norm.shape, dtype))
    gamma, beta = (data.draw(parameters(norm.parameter_shape, dtype)) for _ in range(2))
    options = data.draw(fused_options(norm, dtype))
    check_forward(norm, x, gamma, beta, ulps=3, **options)  # the residual adds a rounding
    del options["virtual_batch_size"]
    mean, var = reference.batch_moments(x, **norm.options)[:2]
    check_inference(norm, x, mean, var, gamma, beta, ulps=3, **options)


@given(st.data(), batch_norms(), st.sampled_from(DTYPES), st.booleans())
def test_fused_backward_is_accurate(data, norm, dtype, training):
    dy, x = data.draw(arrays(norm.shape, dtype)), data.draw(arrays(norm.shape, dtype))
    gamma = data.draw(parameters(norm.parameter_shape, dtype))
    options = data.draw(fused_options(norm, dtype)) | norm.options
    y, mean, rstd = reference.batch_norm_forward(x, gamma, **options)
    options |= {"residual": options["residual"] is not None, "training": training, "y": y.astype(dtype)}

    expected = reference.batch_norm_backward(dy, x, mean, rstd, gamma, **options)
    result = tt.batch_norm_backward(dy, x, mean, rstd, gamma, **options)
    digits = 1e-10 if dtype.itemsize == 8 else 1e-5
    steepest = np.max(rstd) * (1 if gamma is None else largest(gamma))
    assert (result.dresidual is None) == (expected.dresidual is None)
    for name, value in expected._asdict().items():
        if value is not None:
            actual = getattr(result, name)
            scale = max(largest(value), largest(dy), largest(dy) * steepest)
            if name in ("dgamma", "dbeta"):  # sums: their roundings add up as a random walk
                scale *= np.sqrt(x.size / value.size)
            allowed = digits * scale * (1 + float64_error(x, rstd)) + rounding(value, actual.dtype)
            assert_within(actual, value, allowed, f"{norm} {name}")


def test_one_virtual_batch_is_the_batch(rng):
    x, dy = rng.standard_normal((2, 20, 6, 5))
    y, mean, rstd = tt.batch_norm_forward(x)
    blocked = tt.batch_norm_forward(x, virtual_batch_size=20)
    np.testing.assert_array_equal(blocked.y, y)
    np.testing.assert_array_equal(blocked.mean, mean[None])
    np.testing.assert_array_equal(blocked.rstd, rstd[None])
    one = tt.batch_norm_backward(dy, x, blocked.mean, blocked.rstd, virtual_batch_size=99)
    for got, value in zip(one[:3], tt.batch_norm_backward(dy, x, mean, rstd)[:3], strict=True):
        np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize(("shape", "blocks"), [((9, 3), [4, 5]), ((5, 3, 1), [5]), ((9, 3, 2), [4, 4, 1])])
def test_a_single_value_joins_the_previous_block(rng, shape, blocks):
    dy, x = rng.standard_normal((2, *shape))
    y, mean, rstd = tt.batch_norm_forward(x, virtual_batch_size=4)
    dx = tt.batch_norm_backward(dy, x, mean, rstd, virtual_batch_size=4).dx
    ends = np.cumsum(blocks)
    for i, block in enumerate(map(slice, ends - blocks, ends)):
        expected = reference.batch_norm_forward(x[block])
        np.testing.assert_allclose(y[block], expected.y, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(mean[i], expected.mean, rtol=1e-12)
        gradient = reference.batch_norm_backward(dy[block], x[block], *expected[1:]).dx
        np.testing.assert_allclose(dx[block], gradient, rtol=1e-10, atol=1e-12)
    assert len(mean) == len(blocks)


@pytest.mark.parametrize("samples", [11, 9])
@pytest.mark.parametrize("unbiased", [True, False])
def test_running_statistics_of_virtual_batches_are_those_of_the_batch(rng, unbiased, samples):
    x = rng.standard_normal((samples, 6)) + 100
    running = {"running_mean": np.zeros(6), "running_var": np.zeros(6)}
    tt.batch_norm_forward(x, **running, momentum=1, unbiased=unbiased, virtual_batch_size=4)
    np.testing.assert_allclose(running["running_mean"], x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(running["running_var"], x.var(0, ddof=int(unbiased)), rtol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("norm", BATCH_NORMS, ids=str)
def test_every_layout_of_channels_is_accurate(rng, norm, dtype):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    gamma, beta = rng.standard_normal((2, *norm.parameter_shape)).astype(dtype)
    check_forward(norm, x, gamma, beta)
    check_backward(norm, dy, x, gamma)
    check_inference(norm, x, gamma, np.abs(beta), beta, gamma)


def test_arguments_and_results_have_the_documented_order_and_names(rng):
    x = rng.standard_normal((3, 4, 4))
    gamma, beta, start_mean = rng.standard_normal((3, 4))
    y, mean, rstd = expected = reference.batch_norm_forward(x, gamma, beta, eps=0.5)
    result = tt.batch_norm_forward(
        x, gamma, beta, axis=1, eps=0.5, running_mean=None, running_var=None, out=None
    )
    assert result._fields == ("y", "mean", "rstd")
    for got, value in zip(result, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-13)

    inference = tt.batch_norm(x, start_mean, gamma**2, gamma, beta)
    expected = reference.batch_norm(x, start_mean, gamma**2, gamma, beta)
    np.testing.assert_allclose(inference, expected, rtol=1e-11, atol=1e-13)
    by_name = tt.batch_norm(beta=beta, gamma=gamma, var=gamma**2, mean=start_mean, x=x)
    np.testing.assert_array_equal(inference, by_name)

    gradients = tt.batch_norm_backward(y, x, mean, rstd, gamma)
    assert gradients._fields == ("dx", "dgamma", "dbeta", "dresidual")
    assert gradients.dresidual is None
    by_name = tt.batch_norm_backward(rstd=rstd, mean=mean, gamma=gamma, x=x, dy=y)
    expected = reference.batch_norm_backward(y, x, mean, rstd, gamma)
    for got, value in zip(by_name[:3], expected[:3], strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
@pytest.mark.parametrize("norm", TYPICAL, ids=str)
def test_out_in_any_memory_is_written_and_returned(rng, dtype, layout, norm):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    mean, var = rng.uniform(1, 2, (2, *norm.parameter_shape))
    out = WRITEABLE_LAYOUTS[layout](np.zeros_like(x))
    assert check_forward(norm, x, None, None, out=out).y is out
    assert check_inference(norm, x, mean, var, None, None, out=out) is out
    assert check_backward(norm, dy, x, None, out=out).dx is out


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("norm", TYPICAL, ids=str)
def test_out_may_overlap_an_input(rng, dtype, kind, norm):
    x, dy = rng.standard_normal((2, *norm.shape)).astype(dtype)
    mean, var = rng.uniform(1, 2, (2, *norm.parameter_shape))
    check_overlaps(
        kind,
        x,
        dy,
        lambda x, out: check_forward(norm, x, None, None, out=out).y,
        lambda dy, x, out: check_backward(norm, dy, x, None, out=out).dx,
    )
    source, out = overlapping(kind, x)
    assert check_inference(norm, source, mean, var, None, None, out=out) is out


def test_out_may_overlap_parameters_and_statistics(rng):
    """They are read before the output is written."""
    norm = batch_norm((9, 40))
    x, out = rng.uniform(1, 2, (2, 9, 40)).astype(np.float32)
    check_forward(norm, x, out[0], out[4], out=out)
    out[...] = rng.uniform(1, 2, out.shape)
    check_inference(norm, x, out[0], out[8], out[3], out[4], out=out)


@pytest.mark.parametrize("running_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("momentum", [0, 0.1, 0.25, 1])
def test_running_statistics_are_averaged_in_place(rng, dtype, running_dtype, unbiased, momentum):
    """In their own dtype, within an ulp of the larger term; y does not depend on them."""
    norm = batch_norm((5, 37, 3))
    x = (3 * rng.standard_normal(norm.shape) + 1).astype(dtype)
    running_mean = rng.standard_normal(37).astype(running_dtype)
    running_var = rng.uniform(1, 9, 37).astype(running_dtype)
    before = {"mean": running_mean.copy(), "var": running_var.copy()}
    wide = reference.wide(x)
    batch = {"mean": wide.mean((0, 2)), "var": wide.var((0, 2), ddof=int(unbiased))}

    options = {"momentum": momentum, "unbiased": unbiased}
    y = tt.batch_norm_forward(x, running_mean=running_mean, running_var=running_var, **options).y
    np.testing.assert_array_equal(y, check_forward(norm, x, None, None).y)
    for name, running in (("mean", running_mean), ("var", running_var)):
        kept, new = (1 - momentum) * reference.wide(before[name]), momentum * batch[name]
        terms = np.maximum(np.abs(kept), np.abs(new))
        error = STATISTIC_ERROR[arithmetic(x.dtype)] + FLOAT64_ERROR
        allowed = ulp(terms, running.dtype) + momentum * error * largest(wide) ** 2
        assert running.dtype == running_dtype
        assert_within(running, kept + new, allowed, f"running {name}")
        if momentum == 0:
            np.testing.assert_array_equal(running, before[name])


def test_running_statistics_may_have_any_memory_order(rng):
    x = rng.standard_normal((20, 6))
    for layout in WRITEABLE_LAYOUTS:
        mean, var = (WRITEABLE_LAYOUTS[layout](start) for start in (np.zeros(6), np.ones(6)))
        tt.batch_norm_forward(x, running_mean=mean, running_var=var, momentum=1.0)
        np.testing.assert_allclose(mean, reference.wide(x).mean(0), rtol=1e-12, atol=1e-14, err_msg=layout)
        np.testing.assert_allclose(var, reference.wide(x).var(0, ddof=1), rtol=1e-12, err_msg=layout)


def test_averages_over_many_batches_are_exponential(rng):
    mean, var = np.zeros(3), np.ones(3)
    expected_mean, expected_var = mean.copy(), var.copy()
    for _ in range(50):
        x = rng.standard_normal((8, 3)) * [1, 2, 3] + 5
        tt.batch_norm_forward(x, running_mean=mean, running_var=var)
        expected_mean = 0.9 * expected_mean + 0.1 * x.mean(0)
        expected_var = 0.9 * expected_var + 0.1 * x.var(0, ddof=1)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-12)
    np.testing.assert_allclose(var, expected_var, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "axis"), [((0, 5), 1), ((0, 5, 3), 1), ((2, 5, 0), 1), ((0, 3, 5), -1)])
def test_inference_of_an_empty_batch_is_empty(dtype, shape, axis):
    y = tt.batch_norm(np.empty(shape, dtype), np.zeros(5, dtype), np.ones(5, dtype), axis=axis)
    assert (y.shape, y.dtype) == (shape, dtype)


def test_the_result_does_not_depend_on_the_scale_of_the_input(rng):
    """BN(a x) = BN(x), and the gradient with respect to a x is 1/a of that with respect to x."""
    x, dy = rng.standard_normal((2, 30, 7))
    gamma = rng.standard_normal(7)
    a = 1024.0  # powers of two are exact
    y, mean, rstd = tt.batch_norm_forward(x, gamma, eps=0.0)
    scaled_y, scaled_mean, scaled_rstd = tt.batch_norm_forward(a * x, gamma, eps=0.0)
    np.testing.assert_array_equal(scaled_y, y)
    np.testing.assert_array_equal(scaled_mean, a * mean)
    np.testing.assert_allclose(scaled_rstd, rstd / a, rtol=1e-15)
    dx = tt.batch_norm_backward(dy, x, mean, rstd, gamma).dx
    scaled_dx = tt.batch_norm_backward(dy, a * x, scaled_mean, scaled_rstd, gamma).dx
    np.testing.assert_allclose(scaled_dx, dx / a, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(37, 5), (4, 33, 7, 6), (2, 3, 4, 5, 6)])
def test_results_agree_with_torch(rng, dtype, shape):
    torch = pytest.importorskip("torch")
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-11}
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    gamma, beta, running_mean = rng.standard_normal((3, shape[1])).astype(dtype)
    running_var = rng.uniform(1, 2, shape[1]).astype(dtype)
    tensors = [torch.tensor(value, requires_grad=True) for value in (x, gamma, beta)]
    torch_mean, torch_var = torch.tensor(running_mean), torch.tensor(running_var)
    statistics = {"running_mean": torch_mean, "running_var": torch_var}

    def torch_batch_norm(training):
        x, weight, bias = tensors
        return torch.nn.functional.batch_norm(x, **statistics, weight=weight, bias=bias, training=training)

    inference = tt.batch_norm(x, running_mean, running_var, gamma, beta)
    np.testing.assert_allclose(inference, torch_batch_norm(training=False).detach().numpy(), **tolerance)

    torch_y = torch_batch_norm(training=True)
    torch_y.backward(torch.tensor(dy))
    y, mean, rstd = tt.batch_norm_forward(x, gamma, beta, running_mean=running_mean, running_var=running_var)
    np.testing.assert_allclose(y, torch_y.detach().numpy(), **tolerance)
    np.testing.assert_allclose(running_mean, torch_mean.numpy(), **tolerance)
    np.testing.assert_allclose(running_var, torch_var.numpy(), **tolerance)
    gradients = tt.batch_norm_backward(dy, x, mean, rstd, gamma)
    for ours, tensor in zip(gradients[:3], tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad.numpy(), **tolerance)
