"""Layers of every dtype: 16-bit storage, sums and means in float32 or wider, refused inputs."""

import ml_dtypes
import numpy as np
import pytest
from helpers.layers import LAYERS
from helpers.strategies import DTYPES
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import losses, nn, optim

f64 = np.float64
NARROW = [np.dtype("f2"), np.dtype(ml_dtypes.bfloat16)]
UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}

CASES = LAYERS | {
    "channels last": (lambda dtype: nn.Conv2d(4, 2, 2, axis=-1, rng=0, dtype=dtype), (6, 3, 3, 4)),
    "BatchNorm": (lambda dtype: nn.BatchNorm(4, dtype=dtype), (6, 4)),
    "ghosts": (lambda dtype: nn.BatchNorm(4, virtual_batch_size=3, strided=True, dtype=dtype), (6, 4)),
    "adjustment": (
        lambda dtype: nn.BatchNorm(4, adjustment=lambda shape, rng: (1.25, 0.5), dtype=dtype),
        (6, 4),
    ),
    "classical": (lambda dtype: nn.Dropout(0.3, classical=True), (6, 4)),
}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_layer_of_any_dtype_is_the_float64_layer_rounded(name, dtype, mode, rng):
    make, shape = CASES[name]
    layer, wide = make(dtype).use_rng(1), make(f64).use_rng(1)
    for parameter, other in zip(layer.parameters(), wide.parameters(), strict=True):
        other.value = parameter.value
    x = rng.standard_normal(shape).astype(dtype)
    getattr(layer, mode)(), getattr(wide, mode)()
    tolerance = 32 * UNIT[dtype.name]
    with nn.recording(layer), nn.recording(wide):
        y, expected = layer(x), wide(x.astype(f64))
    assert (y.dtype, y.shape) == (dtype, expected.shape)
    assert_allclose(y.astype(f64), expected, rtol=tolerance, atol=tolerance)
    dy = rng.standard_normal(y.shape).astype(dtype)
    if name == "ReLU":
        dy[np.abs(y.astype(f64)) < tolerance] = 0
    dx, expected = layer.backward(dy), wide.backward(dy.astype(f64))
    assert dx.dtype == dtype
    assert_allclose(dx.astype(f64), expected, rtol=tolerance, atol=4 * tolerance)
    for parameter, other in zip(layer.parameters(), wide.parameters(), strict=True):
        assert parameter.grad.dtype == dtype
        assert_allclose(parameter.grad.astype(f64), other.grad, rtol=tolerance, atol=8 * tolerance)
    for array, other in zip(layer.buffers().values(), wide.buffers().values(), strict=True):
        assert_allclose(array.astype(f64), other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_a_model_of_16_bits_trains(dtype, rng):
    model = nn.Sequential(
        nn.Linear(2, 16, rng=0, dtype=dtype),
        nn.BatchNorm(16, dtype=dtype),
        nn.ReLU(),
        nn.Linear(16, 2, rng=1, dtype=dtype),
    )
    x = rng.standard_normal((256, 2)).astype(dtype)
    labels = (x[:, 0].astype("f4") * x[:, 1].astype("f4") > 0).astype(int)
    optimizer, loss = optim.SGD(model, 0.2, momentum=0.9, masters=True), losses.CrossEntropy()
    first = None
    for _ in range(60):
        value, gradient = loss(model(x), labels)[:2]
        first = first or value
        model.backward(gradient)
        optimizer.step()
    assert value < first / 3
    assert f"{dtype}" in repr(model.parameters()[0])
    assert "total" in model.summary((2,))
    other = nn.Sequential(
        *nn.Sequential(nn.Linear(2, 16), nn.BatchNorm(16), nn.ReLU(), nn.Linear(16, 2)).layers
    )
    other.load_state_dict(model.state_dict())
    assert_array_equal(other[0].weight.value, model[0].weight.value.astype("f4"))
    half = nn.Linear(2, 16, dtype="f2")
    half.load_state_dict(model[0].state_dict())
    assert_array_equal(half.weight.value, model[0].weight.value.astype("f4").astype("f2"))


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("rows", [10_000, 70_000])
def test_sums_over_many_rows_are_exact(dtype, rows):
    """Sums of ones stop at 2048 in float16 and at 256 in bfloat16."""
    layer = nn.Linear(2, 3, dtype=dtype)
    ones = np.ones((rows, 3), dtype)
    layer(ones[:, :2])
    with np.errstate(over="ignore"):
        expected = np.float32(rows).astype(dtype)
        layer.backward(ones)
    assert_array_equal(layer.bias.grad, expected)
    assert_array_equal(layer.weight.grad, expected)
    layer = nn.Linear(10_000, 1, bias=False, dtype=dtype)
    layer.weight.value[...] = 1
    assert_array_equal(layer(np.ones((2, 10_000), dtype)), np.float32(10_000).astype(dtype))


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("axis", [1, -1])
def test_sums_over_many_pixels_are_exact(dtype, axis):
    layer = nn.Conv2d(1, 4, 1, axis=axis, dtype=dtype)
    x = np.ones((10, 1, 32, 32) if axis == 1 else (10, 32, 32, 1), dtype)
    y = layer(x)
    layer.backward(np.ones_like(y))
    assert_array_equal(layer.bias.grad, np.float32(10_240).astype(dtype))
    assert_array_equal(layer.weight.grad.ravel(), np.float32(10_240).astype(dtype))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("f2", 40_000), ("f4", 3e38), ("f8", 1.5e308), (ml_dtypes.bfloat16, 3e38), ("f8", 5e-324)],
)
def test_means_do_not_overflow(dtype, value):
    x = np.full((1, 1, 3, 3), value, dtype)
    layer = nn.AvgPool2d(3)
    assert_array_equal(layer(x), x[..., :1, :1])
    assert_array_equal(nn.AvgPool2d(2, 1)(-x), -x[..., :2, :2])


def test_a_mean_of_16_bits_is_rounded_once():
    x = np.array([2048, 1, 1, 1], "f2").reshape(1, 1, 2, 2)  # 2048 + 1 is 2048 in float16
    assert_array_equal(nn.AvgPool2d(2)(x).ravel(), np.float16(2051 / 4))
    dy = np.full((1, 1, 3, 3), 0.1, "f2")
    layer = nn.AvgPool2d(3, 1)
    layer(np.zeros((1, 1, 5, 5), "f2"))
    assert layer.backward(dy)[0, 0, 2, 2] == dy[0, 0, 0, 0]


def test_means_of_nan_and_inf_are_nan_or_inf():
    x = np.array([[np.inf, 1, np.nan, 1, -np.inf, np.inf, 1, 2]]).reshape(1, 1, 1, 8)
    with np.errstate(invalid="ignore"):
        assert_array_equal(nn.AvgPool2d((1, 2))(x).ravel(), [np.inf, np.nan, np.nan, 1.5])


@pytest.mark.parametrize("parameters", ["f2", ml_dtypes.bfloat16, "f4", "f8"])
@pytest.mark.parametrize("dtype", ["f2", ml_dtypes.bfloat16, "f4", "f8"])
def test_linear_takes_another_dtype_than_its_own(dtype, parameters, rng):
    """The result has the dtype of x, the gradients that of the parameters."""
    layer = nn.Linear(5, 4, rng=0, dtype=parameters)
    layer.bias.value[...] = rng.standard_normal(4)
    x, dy = rng.standard_normal((7, 5)).astype(dtype), rng.standard_normal((7, 4)).astype(dtype)
    y, dx = layer(x), layer.backward(dy)
    assert y.dtype == dx.dtype == dtype
    weight = layer.weight.value.astype(f64)
    tolerance = 16 * UNIT[np.dtype(dtype).name]
    expected = x.astype(f64) @ weight.T + layer.bias.value.astype(f64)
    assert_allclose(y.astype(f64), expected, rtol=tolerance, atol=tolerance)
    assert_allclose(dx.astype(f64), dy.astype(f64) @ weight, rtol=tolerance, atol=tolerance)
    assert layer.weight.grad.dtype == parameters
    worst = 16 * max(UNIT[np.dtype(parameters).name], 2.0**-24 if np.dtype(dtype) != f64 else 0)
    assert_allclose(layer.weight.grad.astype(f64), dy.astype(f64).T @ x.astype(f64), rtol=worst, atol=worst)


INPUTS = {name: case for name, case in CASES.items() if name not in ("Flatten", "Residual")}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", INPUTS)
def test_other_inputs_than_float_arrays_are_refused(name, mode, rng):
    make, shape = INPUTS[name]
    layer = getattr(make(f64).use_rng(0), mode)()
    x = rng.standard_normal(shape)
    for bad in (
        np.ones(shape, int),
        np.ones(shape, bool),
        np.ones(shape, complex),
        np.ma.array(x),
        np.ones(shape, int).tolist(),
    ):
        before = layer.state_dict()
        with pytest.raises(TypeError, match=r"x must be a (float32|plain)"):
            layer(bad)
        for key, array in layer.state_dict().items():
            assert_array_equal(array, before[key])
    state = layer.rng.bit_generator.state
    expected = layer(x)
    layer.rng.bit_generator.state = state
    if mode == "eval":
        assert_array_equal(layer(x.tolist()), expected)


@pytest.mark.parametrize("name", INPUTS)
def test_an_empty_batch_in_evaluation_gives_an_empty_result(name):
    make, shape = INPUTS[name]
    layer = make(np.float32).eval()
    expected = layer(np.ones(shape, np.float32)).shape
    y = layer(np.ones((0, *shape[1:]), np.float32))
    assert (y.shape, y.dtype) == ((0, *expected[1:]), np.float32)


@pytest.mark.parametrize("bad", [np.ones((6, 3), int), np.ones((6, 3), complex), np.ma.ones((6, 3))], ids=str)
def test_gradients_of_other_dtypes_are_refused(bad):
    layer = nn.Linear(4, 3, dtype=f64)
    layer(np.ones((6, 4)))
    with pytest.raises(TypeError, match=r"^Linear\(4, 3\): dy must be a"):
        layer.backward(bad)
    dx = layer.backward(np.ones((6, 3)).tolist())
    assert_allclose(dx, np.ones((6, 3)) @ layer.weight.value, rtol=1e-12)


def test_whitening_in_evaluation_computes_in_wider_arithmetic():
    layer = nn.Whitening(2, dtype="f2").eval()
    layer.running_mean = [-4e4, 0]
    layer.running_matrix = [[[1e-3, 0], [0, 1]]]
    expected = [8e4 * float(np.float16(1e-3)), 1]
    assert_allclose(layer(np.array([[4e4, 1]], "f2"))[0], expected, rtol=1e-3)
