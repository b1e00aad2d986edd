"""Layers for images, in both layouts: convolution, pooling, flattening."""

from itertools import product

import numpy as np
import pytest
from helpers.strategies import DTYPES
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import _core, nn

f64 = np.float64
CONVOLUTIONS = [  # inputs, outputs, kernel, stride, padding, groups, image
    (3, 4, 3, 1, 0, 1, (5, 6)),
    (1, 2, (2, 3), 1, (1, 0), 1, (5, 5)),
    (4, 6, 3, 2, 1, 2, (6, 5)),
    (4, 4, 3, 1, "same", 4, (4, 5)),
    (2, 3, (4, 2), (3, 2), "same", 1, (7, 5)),
    (3, 2, 1, 1, 0, 1, (3, 4)),
    (2, 2, 2, 3, 0, 1, (6, 7)),
]
POOLINGS = [  # kernel, stride, padding, image
    (2, None, 0, (4, 6)),
    (2, None, 0, (5, 7)),
    (3, 2, 1, (6, 5)),
    ((2, 3), (1, 2), "same", (5, 6)),
]
AXES = [1, -1]


def images(rng, samples, channels, size, axis):
    return rng.standard_normal((samples, channels, *size) if axis == 1 else (samples, *size, channels))


def before(length, kernel, stride, padding, axis):
    """Rows of padding before the image, and positions of the kernel."""
    if padding != "same":
        pad = padding if isinstance(padding, int) else padding[axis]
        return pad, (length + 2 * pad - kernel) // stride + 1
    places = -(-length // stride)
    return max((places - 1) * stride + kernel - length, 0) // 2, places


def windows(x, kernel, stride, padding, value):
    """Yield (row, column, window (N, C, kernel)) of images (N, C, H, W), by their definition."""
    kernel, stride = (np.broadcast_to(item, 2) for item in (kernel, stride))
    pads, places = zip(
        *(before(x.shape[2 + a], kernel[a], stride[a], padding, a) for a in (0, 1)), strict=True
    )
    room = np.full((*x.shape[:2], *(x.shape[2 + a] + 2 * kernel[a] + 2 * stride[a] for a in (0, 1))), value)
    room[:, :, pads[0] : pads[0] + x.shape[2], pads[1] : pads[1] + x.shape[3]] = x
    for i, j in product(*map(range, places)):
        top, left = i * stride[0], j * stride[1]
        yield i, j, room[:, :, top : top + kernel[0], left : left + kernel[1]]


def convolved(x, weight, bias, stride, padding, groups):
    """y (N, O, H, W) by the definition, window by window."""
    outputs, kernel = len(weight), weight.shape[2:]
    places = {}
    for i, j, window in windows(x, kernel, stride, padding, 0.0):
        of_groups = np.split(window, groups, axis=1)
        y = [
            np.einsum("ncab,ocab->no", part, w)
            for part, w in zip(of_groups, np.split(weight, groups), strict=True)
        ]
        places[i, j] = np.concatenate(y, axis=1) + bias
    rows, columns = np.max([*places], axis=0) + 1
    return np.stack([places[place] for place in places], -1).reshape(len(x), outputs, rows, columns)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "padding", "groups", "image"), CONVOLUTIONS
)
def test_convolution_and_its_gradients_equal_the_definition(
    inputs, outputs, kernel, stride, padding, groups, image, axis, rng
):
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, axis=axis, rng=0, dtype=f64)
    layer.bias.value[...] = rng.standard_normal(outputs)
    x = images(rng, 3, inputs, image, axis)
    first = np.moveaxis(x, axis, 1)
    expected = convolved(first, layer.weight.value, layer.bias.value, stride, padding, groups)
    y = layer(x)
    assert y.flags.c_contiguous
    assert_allclose(np.moveaxis(y, axis, 1), expected, atol=1e-13)
    assert nn.gradcheck(layer, x[:2])


def test_both_layouts_give_the_same_results(rng):
    first = nn.Conv2d(3, 5, 3, 2, "same", rng=0)
    last = nn.Conv2d(3, 5, 3, 2, "same", axis=-1, rng=1)
    last.load_state_dict(first.state_dict())
    x = images(rng, 4, 3, (8, 9), 1).astype(np.float32)
    y = first(x)
    assert y.dtype == np.float32
    assert_allclose(np.moveaxis(last(np.moveaxis(x, 1, -1)), -1, 1), y, atol=1e-5)


def test_convolution_reads_strided_images(rng):
    layer = nn.Conv2d(3, 2, 3, rng=0, dtype=f64)
    x = images(rng, 4, 3, (8, 9), -1)
    assert_allclose(layer(np.moveaxis(x, -1, 1)), layer(np.moveaxis(x, -1, 1).copy()), atol=1e-14)
    dy = rng.standard_normal((4, 6, 7, 2))
    strided = layer.backward(np.moveaxis(dy, -1, 1))
    layer(np.moveaxis(x, -1, 1))
    assert_allclose(strided, layer.backward(np.moveaxis(dy, -1, 1).copy()), atol=1e-14)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("parameters", ["f4", "f8"])
def test_images_may_have_another_dtype_than_the_weight(dtype, parameters, rng):
    """The result has the dtype of the images, the gradient that of the weight."""
    layer = nn.Conv2d(2, 3, 3, rng=0, dtype=parameters)
    x = images(rng, 2, 2, (4, 5), 1).astype(dtype)
    y = layer(x)
    assert y.dtype == layer.backward(y).dtype == dtype
    expected = convolved(x.astype(f64), layer.weight.value, layer.bias.value, 1, 0, 1)
    assert_allclose(y, expected, atol=4e-3 if dtype == "f2" else 1e-5)


def test_the_first_convolution_skips_dx(rng):
    layer = nn.Conv2d(1, 2, 3, rng=0)
    layer.wants_dx = False
    dy = np.ones_like(layer(np.ones((2, 1, 5, 5), np.float32)))
    assert layer.backward(dy) is None
    assert layer.weight.grad.any()


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("kernel", "stride", "padding", "image"), POOLINGS)
@pytest.mark.parametrize("kind", ["max", "mean"])
def test_pooling_equals_the_definition(kind, kernel, stride, padding, image, axis, rng):
    make = nn.MaxPool2d if kind == "max" else nn.AvgPool2d
    layer = make(kernel, stride, padding, axis=axis)
    x = images(rng, 2, 3, image, axis)
    value = -np.inf if kind == "max" else 0.0
    found = windows(np.moveaxis(x, axis, 1), kernel, kernel if stride is None else stride, padding, value)
    places = {(i, j): getattr(np, kind)(window, axis=(2, 3)) for i, j, window in found}
    rows, columns = np.max([*places], axis=0) + 1
    expected = np.stack([*places.values()], -1).reshape(2, 3, rows, columns)
    assert_allclose(np.moveaxis(layer(x), axis, 1), expected, atol=1e-14)
    assert nn.gradcheck(layer, x)


def test_max_pooling_takes_the_first_of_equal_values_and_nan():
    layer = nn.MaxPool2d(2)
    x = np.array([[3.0, 3, np.nan, 1], [3, 1, 5, 2]])[None, None]
    assert_array_equal(layer(x), [[[[3, np.nan]]]])
    dx = layer.backward(np.array([[[[7.0, 9.0]]]]))
    assert_array_equal(dx, [[[[7, 0, 0, 0], [0, 0, 0, 0]]]])


def test_flatten_joins_all_axes_but_the_first(rng):
    layer = nn.Flatten()
    x = rng.standard_normal((2, 3, 4, 5))
    assert_array_equal(layer(x), x.reshape(2, 60))
    assert nn.gradcheck(layer, x[:, :2, :2, :2])
    assert layer(np.ones((0, 3, 4))).shape == (0, 12)


def test_a_small_convnet_has_right_gradients(rng):
    """In both layouts."""
    for axis in AXES:
        options = {"rng": 0, "dtype": f64}
        model = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding="same", axis=axis, bias=False, **options),
            nn.BatchNorm(2, axis=axis, dtype=f64),
            nn.Tanh(),
            nn.MaxPool2d(2, axis=axis),
            nn.Residual(nn.Conv2d(2, 2, 3, padding=1, axis=axis, **options), nn.DropPath(0.3)),
            nn.AvgPool2d(2, axis=axis),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(2, 3, **options),
        )
        assert nn.gradcheck(model, images(rng, 3, 1, (4, 4), axis))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 17, 50), (40, 33, 64), (2, 1, 5), (0, 3, 4), (2, 0, 4)])
def test_transpose_swaps_the_last_two_axes(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    y = _core.transpose(x)
    assert y.flags.c_contiguous
    assert_array_equal(y, x.swapaxes(1, 2))


def test_transpose_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"^transpose: x must have shape \(N, A, B\), got \(3, 4\)$"):
        _core.transpose(np.ones((3, 4)))


CONV = nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            CONV,
            (2, 4, 5, 5),
            r"Conv2d\(3, 4, 3x3, axis=1\): x must have shape \(N, 3, H, W\), got \(2, 4, 5, 5\)",
        ),
        (CONV, (3, 5, 5), r"x must have shape \(N, 3, H, W\), got \(3, 5, 5\)"),
        (nn.Conv2d(3, 4, 3, axis=-1), (2, 3, 5, 5), r"x must have shape \(N, H, W, 3\), got \(2, 3, 5, 5\)"),
        (CONV, (2, 3, 2, 5), r"at least as large as the kernel \(3, 3\), got shape \(2, 3, 2, 5\)"),
        (
            nn.MaxPool2d(3),
            (2, 3, 2, 5),
            r"MaxPool2d\(3x3, axis=1\): x must be at least as large as the kernel",
        ),
        (
            nn.AvgPool2d(2),
            (2, 3),
            r"AvgPool2d\(2x2, axis=1\): x must have shape \(N, C, H, W\), got \(2, 3\)",
        ),
    ],
)
def test_shape_errors_name_the_layer_and_both_shapes(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(np.ones(shape, np.float32))


@pytest.mark.parametrize("layer", [CONV, nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten()])
def test_backward_refuses_another_shape(layer):
    layer(np.ones((2, 3, 4, 4), np.float32))
    with pytest.raises(ValueError, match="dy must have shape"):
        layer.backward(np.ones((1, 3, 2, 2), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": 0}, "inputs must be at least 1, got 0"),
        ({"groups": 2}, "groups must divide 3 and 4 channels, got 2"),
        ({"groups": 0}, "groups must divide 3 and 4 channels, got 0"),
        ({"kernel_size": 0}, "kernel_size must be one or two ints >= 1, got 0"),
        ({"kernel_size": (1, 2, 3)}, r"kernel_size must be one or two ints >= 1, got \(1, 2, 3\)"),
        ({"stride": 0}, "stride must be one or two ints >= 1, got 0"),
        ({"padding": -1}, "padding must be 'same', or one or two ints >= 0, got -1"),
        ({"padding": "valid"}, "padding must be 'same', or one or two ints >= 0, got 'valid'"),
        ({"axis": 2}, "axis must be 1 or -1, got 2"),
        ({"init": "ones"}, "init must be one of"),
    ],
)
def test_wrong_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^Conv2d: {message}"):
        nn.Conv2d(**{"inputs": 3, "outputs": 4, "kernel_size": 3} | arguments)


def test_flatten_needs_an_axis_of_samples():
    with pytest.raises(ValueError, match=r"^Flatten\(\): x must have an axis of samples, got shape \(\)$"):
        nn.Flatten()(np.float32(1))
