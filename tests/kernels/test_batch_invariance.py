"""The bits of a sample do not depend on the values, order or size of its batch."""

from functools import partial

import ml_dtypes
import numpy as np
import pytest
import trimtab as tt

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
ROWS = [
    (9, 1),
    (9, 2),
    (40, 7),
    (33, 64),
    (37, 123),
    (9, 300),
    (6, 4097),
    (3, 20_000),
    (3, 5, 31),
    (70, 8192),
]
CHANNELS = [
    ((5, 6, 1, 1), 1),
    ((5, 6, 2), 1),
    ((4, 12, 7, 7), 1),
    ((3, 12, 14, 14), 1),
    ((7, 6), 1),
    ((3, 6, 1000), 1),
    ((2, 12, 5000), 1),
    ((37, 18, 3), 1),
    ((4, 7, 7, 12), -1),
    ((5, 18), -1),
    ((3, 14, 14, 6), -1),
    ((19, 30, 5, 5), 1),
    ((3, 24, 224, 224), 1),
    ((3, 224, 224, 6), -1),
]


def assert_invariant(function, *arrays, axis=0):
    """function(arrays)[i:j] is function(of arrays[i:j]), and permuted samples give permuted results."""

    def results(select):
        return function(*(np.ascontiguousarray(a[select]) for a in arrays))

    whole, count = results(slice(None)), len(arrays[0])
    order = np.random.default_rng(count).permutation(count)
    parts = [slice(0, 1), slice(count - 1, count), slice(1, count), slice(count // 3, count // 2 + 1), order]
    for select in parts:
        for of_all, of_part in zip(whole, results(select), strict=True):
            assert of_all[select].tobytes() == of_part.tobytes(), select


def numbers(rng, shape, dtype):
    return rng.standard_normal(shape, np.float32).astype(dtype)


def samples(rng, shape, dtype):
    """Values that differ between samples in scale and location."""
    per_sample = (len(shape) - 1) * (1,)
    scale, place = rng.random((2, shape[0], *per_sample)) * 4
    return (numbers(rng, shape, np.float32) * scale + place).astype(dtype)


@pytest.fixture(params=[1, 2])
def threads(request):
    tt.set_num_threads(request.param)


@pytest.mark.parametrize("shape", ROWS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_of_rows_do_not_depend_on_the_batch(rng, threads, dtype, shape):
    x, dy = samples(rng, shape, dtype), numbers(rng, shape, dtype)
    gamma, beta = numbers(rng, (2, shape[-1]), dtype)

    def layer_norm(x, dy):
        y, mean, rstd = tt.layer_norm_forward(x, gamma, beta)
        return (
            y,
            mean,
            rstd,
            tt.layer_norm(x, gamma, beta),
            tt.layer_norm_backward(dy, x, mean, rstd, gamma).dx,
        )

    def rms_norm(x, dy):
        y, rstd = tt.rms_norm_forward(x, gamma)
        return y, rstd, tt.rms_norm(x, gamma), tt.rms_norm_backward(dy, x, rstd, gamma).dx

    def of_sums(x, dy):
        return *tt.add_layer_norm_forward(x, dy, gamma, beta), *tt.add_rms_norm_forward(x, dy, gamma)

    for function in (layer_norm, rms_norm, of_sums):
        assert_invariant(function, x, dy)


@pytest.mark.parametrize(("shape", "axis"), CHANNELS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_of_groups_do_not_depend_on_the_batch(rng, threads, dtype, shape, axis):
    channels = shape[axis]
    x, dy = samples(rng, shape, dtype), numbers(rng, shape, dtype)
    gamma, beta = numbers(rng, (2, channels), dtype)
    for groups in {1, 2, 3, channels // 2, channels}:

        def group_norm(x, dy, groups=groups):
            y, mean, rstd = tt.group_norm_forward(x, groups, gamma, beta, axis=axis)
            dx = tt.group_norm_backward(dy, x, mean, rstd, groups, gamma, axis=axis).dx
            return y, mean, rstd, tt.group_norm(x, groups, gamma, beta, axis=axis), dx

        assert_invariant(group_norm, x, dy)
    if len(shape) == 2:
        return

    def instance_norm(x, dy):
        y, mean, rstd = tt.instance_norm_forward(x, gamma, beta, axis=axis)
        dx = tt.instance_norm_backward(dy, x, mean, rstd, gamma, axis=axis).dx
        return y, mean, rstd, tt.instance_norm(x, gamma, beta, axis=axis), dx

    assert_invariant(instance_norm, x, dy)


@pytest.mark.parametrize("shape", [(5, 6, 7, 7), (7, 33, 2)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_of_groups_do_not_depend_on_the_memory(rng, dtype, shape):
    """Strided and transposed samples give the bits of contiguous ones."""
    x = samples(rng, shape, dtype)
    strided = np.empty((2 * shape[0], *shape[1:]), dtype)[::2]
    strided[...] = x
    transposed = np.asfortranarray(x)
    for function in (lambda x: tt.group_norm(x, 3), tt.instance_norm, tt.layer_norm, tt.rms_norm):
        y = np.asarray(function(x)).tobytes()
        assert np.asarray(function(strided)).tobytes() == y
        assert np.asarray(function(transposed)).tobytes() == y
        assert np.asarray(function(x[::-1])[::-1]).tobytes() == y


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_out_of_range_do_not_change_others(rng, dtype):
    """Whether a row needs wider arithmetic does not depend on its neighbors."""
    info = ml_dtypes.finfo(dtype)
    x = samples(rng, (40, 6, 50), np.float64)
    x[::3] *= 0.02 * float(info.max)
    x[1::7] *= 16 * float(info.tiny)
    x, dy = x.astype(dtype), numbers(rng, x.shape, dtype)

    def norms(x, dy):
        y, mean, rstd = tt.layer_norm_forward(x, eps=0)
        instances = tt.instance_norm_forward(x, eps=0)
        groups = tt.group_norm_forward(x, 2, eps=0)
        return (
            *(y, mean, rstd, tt.layer_norm_backward(dy, x, mean, rstd).dx),
            *(*instances, tt.instance_norm_backward(dy, x, *instances[1:]).dx),
            *(*groups, tt.group_norm_backward(dy, x, *groups[1:], 2).dx),
        )

    assert_invariant(norms, x, dy)


@pytest.mark.parametrize("shape", [(9, 1), (9, 7), (5, 300), (3, 4097), (3, 200_001)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_do_not_depend_on_the_batch(rng, threads, dtype, shape):
    x, dy = numbers(rng, shape, dtype), numbers(rng, shape, dtype)
    for function, backward in (
        (tt.relu, tt.relu_backward),
        (tt.leaky_relu, tt.leaky_relu_backward),
        (tt.sigmoid, tt.sigmoid_backward),
        (tt.tanh, tt.tanh_backward),
        (tt.softmax, tt.softmax_backward),
        (tt.log_softmax, tt.log_softmax_backward),
    ):
        assert_invariant(lambda x, dy, f=function, b=backward: (f(x), b(dy, f(x))), x, dy)
    for function, backward in ((tt.gelu, tt.gelu_backward), (tt.silu, tt.silu_backward)):
        assert_invariant(lambda x, dy, f=function, b=backward: (f(x), b(dy, x)), x, dy)


@pytest.mark.parametrize("classes", [2, 3, 10, 33, 1000, 5000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_of_samples_do_not_depend_on_the_batch(rng, threads, dtype, classes):
    pred, target = numbers(rng, (2, 11, classes), dtype)
    labels = rng.integers(classes, size=11)
    assert_invariant(
        lambda z, labels: tt.softmax_cross_entropy(z, labels, label_smoothing=0.1, reduction="none"),
        5 * pred,
        labels,
    )
    assert_invariant(lambda p, t: tt.mse(p, t, reduction="none"), pred, target)
    for loss in (tt.huber, tt.mae, partial(tt.binary_cross_entropy, pos_weight=2, label_smoothing=0.1)):
        assert_invariant(lambda p, t, f=loss: f(p, t, reduction="none"), pred, target > 0)
        assert_invariant(
            lambda p, t, w, f=loss: f(p, t, sample_weight=w, reduction="none"), pred, target > 0, labels
        )
    assert_invariant(
        lambda z, y, w: tt.softmax_cross_entropy(z, y, sample_weight=w, reduction="none"),
        pred,
        labels,
        labels,
    )


@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (3, 1, 28, 28), (9, 5, 7, 7), (2, 16, 33, 31)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_convolution_and_pooling_do_not_depend_on_the_batch(rng, threads, dtype, shape):
    convolution = tt.nn.Conv2d(shape[1], 6, 3, dtype=dtype, rng=0)
    pooling = tt.nn.MaxPool2d(2)
    x = numbers(rng, shape, dtype)
    for layer in (convolution, pooling):

        def both_ways(x, layer=layer):
            layer.train()
            y = layer.forward(x)
            return y, layer.backward(y)

        assert_invariant(both_ways, x)
