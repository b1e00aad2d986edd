"""Batch norm folded into the previous layer: equal outputs for every kind of weight."""

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import assert_within
from helpers.strategies import DTYPES, LAYOUTS, PARAMETER_DTYPES


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("parameters", ["none", "same", "wider"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((7, 33), 0), ((5, 3, 3, 3), 0), ((33, 7), 1), ((3, 3, 4, 6), -1)]
)
def test_the_fold_is_accurate(rng, dtype, parameters, shape, axis):
    channels = shape[axis]
    weight = rng.standard_normal(shape).astype(dtype)
    parameter_dtype = PARAMETER_DTYPES[dtype][-1 if parameters == "wider" else 0]
    mean, bias, gamma, beta = rng.standard_normal((4, channels)).astype(parameter_dtype)
    var = rng.uniform(0.5, 2, channels).astype(parameter_dtype)
    given = (None,) * 3 if parameters == "none" else (bias, gamma, beta)
    expected = reference.fold_batch_norm(weight, given[0], mean, var, *given[1:], axis=axis, eps=1e-3)
    result = tt.fold_batch_norm(weight, given[0], mean, var, *given[1:], axis=axis, eps=1e-3)
    assert result._fields == ("weight", "bias")
    assert result.weight.dtype == dtype
    assert result.bias.dtype == (dtype if parameters == "none" else parameter_dtype)
    digits = {2: 2.0**-8, 4: 2.0**-23, 8: 2.0**-51}
    for got, value in zip(result, expected, strict=True):
        terms = np.abs(value) + (1 if got is result.bias else 0)  # the terms cancel in part
        assert_within(got, value, digits[got.dtype.itemsize] * terms, f"{dtype} {shape}")


def test_the_folded_layer_has_equal_outputs(rng):
    x, weight = rng.standard_normal((20, 9)), rng.standard_normal((5, 9))
    bias, mean, gamma, beta = rng.standard_normal((4, 5))
    var = rng.uniform(0.5, 2, 5)
    folded = tt.fold_batch_norm(weight, bias, mean, var, gamma, beta)
    expected = tt.batch_norm(x @ weight.T + bias, mean, var, gamma, beta)
    np.testing.assert_allclose(x @ folded.weight.T + folded.bias, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "broadcast"])
def test_the_weight_may_have_any_memory_order(rng, layout):
    weight, mean, var = rng.standard_normal((5, 9)), rng.standard_normal(5), rng.uniform(0.5, 2, 5)
    odd = LAYOUTS[layout](weight)
    folded = tt.fold_batch_norm(odd, None, mean, var)
    np.testing.assert_array_equal(odd, weight)
    np.testing.assert_allclose(folded.weight, weight / np.sqrt(var + 1e-5)[:, None], rtol=1e-15)


def test_a_weight_without_inputs_folds():
    weight, bias = tt.fold_batch_norm(np.ones((3, 0)), None, np.ones(3), np.ones(3), eps=0)
    assert weight.shape == (3, 0)
    np.testing.assert_array_equal(bias, -np.ones(3))
