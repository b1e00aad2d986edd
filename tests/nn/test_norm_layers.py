"""The norm layers and their options, against the specification and central differences."""

import numpy as np
import pytest
import reference
from helpers.layers import trained
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn

f64 = np.float64


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.RMSNorm(4, dtype=f64), (3, 4)),
        (lambda: nn.RMSNorm((2, 3), dtype=f64), (3, 2, 3)),
        (lambda: nn.RMSNorm(4, affine=False, dtype=f64), (3, 4)),
        (lambda: nn.GroupNorm(2, 6, dtype=f64), (3, 6)),
        (lambda: nn.GroupNorm(3, 6, dtype=f64), (2, 6, 2, 2)),
        (lambda: nn.GroupNorm(3, 6, axis=-1, dtype=f64), (2, 2, 2, 6)),
        (lambda: nn.GroupNorm(1, 4, affine=False, dtype=f64), (3, 4)),
        (lambda: nn.InstanceNorm(3, dtype=f64), (2, 3, 4)),
        (lambda: nn.InstanceNorm(3, axis=-1, affine=False, dtype=f64), (2, 4, 3)),
        (lambda: nn.Whitening(3, dtype=f64), (6, 3)),
        (lambda: nn.Whitening(4, num_groups=2, axis=-1, dtype=f64), (3, 2, 4)),
        (lambda: nn.BatchNorm(3, virtual_batch_size=2, dtype=f64), (6, 3, 2)),
        (lambda: nn.BatchNorm(3, virtual_batch_size=2, dtype=f64), (5, 3)),  # the last sample joins a block
        (lambda: nn.BatchNorm(3, virtual_batch_size=2, strided=True, dtype=f64), (6, 3, 2)),
        (lambda: nn.BatchNorm(3, activation="relu", dtype=f64), (5, 3, 2)),
        (lambda: nn.BatchNorm(3, frozen=True, dtype=f64), (5, 3)),
    ],
)
def test_gradients_agree_with_central_differences(make, shape, training, rng):
    layer = trained(make(), rng.standard_normal(shape) + 0.3)
    assert nn.gradcheck(layer.train(training), rng.standard_normal(shape))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("shape", "axis"), [((6, 3), 1), ((4, 3, 2), 1), ((4, 2, 3), -1)])
def test_batch_norm_equals_the_specification(shape, axis, unbiased, rng):
    layer = nn.BatchNorm(3, axis=axis, momentum=0.3, eps=1e-3, unbiased=unbiased)
    gamma, beta = rng.standard_normal((2, 3))
    layer.gamma.value[...], layer.beta.value[...] = gamma, beta
    x = rng.standard_normal(shape).astype(np.float32)
    expected = reference.batch_norm_forward(x, layer.gamma.value, layer.beta.value, axis=axis, eps=1e-3)
    assert_allclose(layer(x), expected.y, atol=1e-5)

    others = tuple(np.delete(range(len(shape)), axis))
    assert_allclose(layer.running_mean, 0.3 * x.mean(axis=others, dtype=f64), atol=1e-6)
    assert_allclose(
        layer.running_var, 0.7 + 0.3 * x.astype(f64).var(axis=others, ddof=int(unbiased)), atol=1e-6
    )

    running = layer.running_mean.copy()
    expected = reference.batch_norm(
        x, layer.running_mean, layer.running_var, layer.gamma.value, layer.beta.value, axis=axis, eps=1e-3
    )
    assert_allclose(layer.eval()(x), expected, atol=1e-5)
    assert_array_equal(layer.running_mean, running)


def test_layer_norm_equals_the_specification(rng):
    layer = nn.LayerNorm((2, 3), eps=1e-3)
    layer.gamma.value[...] = rng.standard_normal((2, 3))
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    expected = reference.layer_norm(x, layer.gamma.value, layer.beta.value, axis=(-2, -1), eps=1e-3)
    assert_allclose(layer(x), expected, atol=1e-5)


def test_rms_norm_equals_the_specification(rng):
    layer = trained(nn.RMSNorm((2, 3), eps=1e-3))
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    expected = reference.rms_norm(x, layer.gamma.value, axis=(-2, -1), eps=1e-3)
    assert_allclose(layer(x), expected, atol=1e-5)
    assert list(layer.state_dict()) == ["gamma"]
    assert not layer.gamma.decay


@pytest.mark.parametrize("axis", [1, -1])
def test_group_and_instance_norm_equal_the_specification(axis, rng):
    x = rng.standard_normal((2, 6, 5, 6)).astype(np.float32)
    for layer, name, groups in (
        (nn.GroupNorm(3, 6, axis=axis, eps=1e-3), "group_norm", (3,)),
        (nn.InstanceNorm(6, axis=axis, eps=1e-3), "instance_norm", ()),
    ):
        gamma, beta = trained(layer).affine
        expected = getattr(reference, name)(x, *groups, gamma, beta, axis=axis, eps=1e-3)
        assert_allclose(layer(x), expected, atol=1e-5)
        assert_array_equal(layer.eval()(x), layer.train()(x))
        assert list(layer.state_dict()) == ["gamma", "beta"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.GroupNorm(4, 6), "GroupNorm: num_groups must divide the 6 channels, got 4"),
        (lambda: nn.GroupNorm(0, 6), "GroupNorm: num_groups must divide the 6 channels, got 0"),
        (lambda: nn.Whitening(6, num_groups=4), "Whitening: num_groups must divide the 6 channels, got 4"),
        (
            lambda: nn.RMSNorm(4)(np.ones((2, 3), np.float32)),
            r"RMSNorm\(\(4,\)\): x must have last axes \(4,\), got shape \(2, 3\)",
        ),
        (lambda: nn.BatchNorm(3, strided=True), "BatchNorm: strided must be False without"),
        (lambda: nn.BatchNorm(3, renorm=True, activation="relu"), "BatchNorm: renorm must be False with"),
        (lambda: nn.BatchNorm(3, renorm=True, virtual_batch_size=2), "BatchNorm: renorm must be False with"),
        (
            lambda: nn.BatchNorm(3, virtual_batch_size=4, strided=True)(np.ones((6, 3), np.float32)),
            r"BatchNorm\(3, axis=1\): x must have a multiple of 4 samples, got 6",
        ),
        (
            lambda: nn.BatchNorm(3, renorm=True).forward(*np.ones((2, 6, 3), np.float32)),
            r"BatchNorm\(3, axis=1\): residual must be None with renorm, got an array",
        ),
        (
            lambda: nn.GroupNorm(2, 4)(np.ones((3, 5), np.float32)),
            r"GroupNorm\(2, 4, axis=1\): x must have 4 channels, got shape \(3, 5\)",
        ),
        (
            lambda: nn.Whitening(4)(np.ones((3, 5), np.float32)),
            r"Whitening\(4, num_groups=1, axis=1\): x must have 4 channels, got shape \(3, 5\)",
        ),
    ],
)
def test_inputs_of_wrong_shapes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- batch norm ----


def test_without_momentum_statistics_are_cumulative_averages(rng):
    layer = nn.BatchNorm(3, momentum=None, dtype=f64)
    batches = rng.standard_normal((5, 8, 3))
    for batch in batches:
        layer(batch)
    assert_allclose(layer.running_mean, batches.mean((0, 1)), rtol=1e-12)
    assert_allclose(layer.running_var, batches.var(1, ddof=1).mean(0), rtol=1e-12)
    again = nn.BatchNorm(3, momentum=None, dtype=f64)
    again.load_state_dict(layer.state_dict())
    for one in (layer, again):
        one(batches[0])
    assert_array_equal(again.running_mean, layer.running_mean)
    assert layer.batches == 6


def test_frozen_statistics_normalize_training(rng):
    x, other = rng.standard_normal((2, 8, 3))
    layer = trained(nn.BatchNorm(3, dtype=f64), x)
    state, expected = layer.state_dict(), layer.eval()(other)
    layer.train().frozen = True
    assert_array_equal(layer(other), expected)
    for name, array in layer.state_dict().items():
        assert_array_equal(array, state[name])
    layer.backward(x)
    assert layer.gamma.grad.all()


@pytest.mark.parametrize("renorm", [False, True])
@pytest.mark.parametrize("affine", [True, False])
def test_adjustment_changes_xhat_in_training_only(rng, affine, renorm):
    """Backward takes it into account."""
    x, dy = rng.standard_normal((2, 8, 3))
    scale, bias = rng.uniform(0.5, 2, (2, 3))
    options = {"affine": affine, "dtype": f64, "renorm": renorm, "r_max": 1.0, "d_max": 0.0}
    plain = trained(nn.BatchNorm(3, **options), x)
    layer = trained(nn.BatchNorm(3, adjustment=lambda shape, rng: (scale, bias), **options), x)
    assert_array_equal(layer.eval()(x), plain.eval()(x))
    xhat = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    gamma, beta = (1, 0) if layer.gamma is None else layer.affine
    assert_allclose(layer.train()(x), gamma * (scale * xhat + bias) + beta, rtol=1e-12, atol=1e-12)
    dx = layer.backward(dy)
    plain.train()(x)
    assert_allclose(dx, plain.backward(dy * scale), rtol=1e-10, atol=1e-12)
    if affine:
        assert_allclose(layer.gamma.grad, (dy * (scale * xhat + bias)).sum(0), rtol=1e-10)
        assert_allclose(layer.beta.grad, dy.sum(0), rtol=1e-12)


def test_adjustment_draws_from_the_generator_of_the_layer(rng):
    def adjustment(shape, rng):
        return rng.uniform(0.9, 1.1, shape), rng.uniform(-0.1, 0.1, shape)

    x = rng.standard_normal((8, 3)).astype(np.float32)
    layers = [nn.BatchNorm(3, adjustment=adjustment).use_rng(seed) for seed in (1, 1, 2)]
    first, same, other = (layer(x) for layer in layers)
    assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert not np.array_equal(layers[0](x), first)
    assert nn.BatchNorm(3, adjustment=adjustment)(x).shape == x.shape


@pytest.mark.parametrize("axis", [1, -1])
def test_strided_ghost_batches_are_those_of_tf_keras(rng, axis):
    """A reshape makes them there: sample i * blocks + j belongs to block j."""
    shape = (6, 3, 4) if axis == 1 else (6, 4, 3)
    x, dy = rng.standard_normal((2, *shape))
    layer = nn.BatchNorm(3, axis=axis, virtual_batch_size=2, strided=True, dtype=f64)
    whole = nn.BatchNorm(3, axis=axis, dtype=f64)
    y = layer(x)
    whole(x)
    assert_allclose(layer.running_mean, whole.running_mean, rtol=1e-12)
    assert_allclose(layer.running_var, whole.running_var, rtol=1e-12)
    dx = layer.backward(dy)
    for block in range(3):
        one = nn.BatchNorm(3, axis=axis, dtype=f64)
        samples = slice(block, None, 3)
        assert_allclose(y[samples], one(x[samples]), rtol=1e-12, atol=1e-13)
        assert_allclose(dx[samples], one.backward(dy[samples]), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_residual_and_activation_are_fused(rng, training, strided):
    x, residual, dy = rng.standard_normal((3, 6, 4, 3))
    ghost = {"virtual_batch_size": 2, "strided": True} if strided else {}
    layer, plain = (
        trained(nn.BatchNorm(4, dtype=f64, **ghost, **fused), x).train(training)
        for fused in ({"activation": "relu"}, {})
    )
    with nn.recording(plain), nn.recording(layer):
        summed = plain(x) + residual
        y = layer(x, residual)
    assert_allclose(y, np.maximum(summed, 0), rtol=1e-12, atol=1e-12)
    g = dy * (summed > 0)
    assert_allclose(layer.backward(dy), plain.backward(g), rtol=1e-10, atol=1e-12)
    assert_array_equal(layer.dresidual, g)
    assert plain.dresidual is None
    assert_allclose(layer.gamma.grad, plain.gamma.grad, rtol=1e-10)


def test_renorm_follows_its_schedule(rng):
    """Batch norm at first, then the running statistics count more and more."""
    layer = nn.BatchNorm(
        3, renorm=True, momentum=0.01, r_max=nn.Ramp(1, 3, 2, 4), d_max=nn.Ramp(0, 5, 2, 6), dtype=f64
    )
    batches = 5 * rng.standard_normal((6, 20, 3)) + 2
    running = {"running_mean": np.zeros(3), "running_std": np.ones(3)}
    limits = [(1, 0), (1, 0), (1, 0), (2, 1.25), (3, 2.5), (3, 3.75)]
    for batch, (r_max, d_max) in zip(batches, limits, strict=True):
        expected = reference.batch_renorm_forward(batch, **running, r_max=r_max, d_max=d_max)
        assert_allclose(layer(batch), expected.y, rtol=1e-11, atol=1e-12)
    for name, array in running.items():
        assert_allclose(getattr(layer, name), array, rtol=1e-12)
    names = ["gamma", "beta", "running_mean", "running_std", "batches"]
    assert list(layer.state_dict()) == names
    mean, std = running.values()
    assert_allclose(layer.eval()(batches[0]), (batches[0] - mean) / std, rtol=1e-12, atol=1e-12)
    fixed = nn.BatchNorm(3, renorm=True, r_max=2.0, d_max=1.0)
    assert list(fixed.state_dict()) == names[:-1]


@pytest.mark.parametrize("count", [np.int64(-1), np.int8(-1), np.int64(-(2**63))])
def test_the_number_of_batches_is_not_negative(count):
    """Such a count would be read as a large one, or divide by 0."""
    layer = nn.BatchNorm(3, momentum=None)
    state = {**layer.state_dict(), "batches": count, "running_mean": np.ones(3)}
    with pytest.raises(
        ValueError, match=rf"^load_state_dict: batches must be between 0 and .*, got {count}$"
    ):
        layer.load_state_dict(state)
    assert_array_equal(layer.running_mean, 0)
    layer.load_state_dict({**state, "batches": np.int64(7)})
    assert layer.batches == 7


def test_renorm_gradients_agree_with_central_differences(rng):
    """Without limits, training is a map with constant r and d."""
    x, dy = rng.standard_normal((2, 9, 3))
    layer = nn.BatchNorm(3, renorm=True, r_max=1.0, d_max=0.0, dtype=f64)
    assert nn.gradcheck(layer, x)
    layer = trained(nn.BatchNorm(3, renorm=True, r_max=10.0, d_max=10.0, momentum=0.0, dtype=f64))
    layer(x)
    saved = reference.batch_renorm_forward(x, running_mean=np.zeros(3), running_std=np.ones(3))
    expected = reference.batch_renorm_backward(dy, x, *saved[1:], layer.gamma.value)
    assert_allclose(layer.backward(dy), expected.dx, rtol=1e-10, atol=1e-12)
    assert_allclose(layer.gamma.grad, expected.dgamma, rtol=1e-10)
    assert_allclose(layer.beta.grad, expected.dbeta, rtol=1e-10)


# ---- whitening ----


def test_whitening_averages_its_statistics_and_applies_them(rng):
    mixing = rng.standard_normal((6, 6))
    batches = rng.standard_normal((40, 200, 6)) @ mixing + 3
    layer = nn.Whitening(6, num_groups=2, dtype=f64)
    for batch in batches:
        layer(batch)
    running = {"running_mean": np.zeros(6), "running_matrix": np.tile(np.eye(3), (2, 1, 1))}
    for batch in batches:
        reference.whiten_forward(batch, num_groups=2, **running)
    assert list(layer.state_dict()) == list(running)
    for name, array in running.items():
        assert_allclose(getattr(layer, name), array, rtol=1e-9, atol=1e-12)
    values = batches.reshape(-1, 6)
    y = layer.eval()(values)
    groups = (values - running["running_mean"]).reshape(-1, 2, 3)
    assert_allclose(y.reshape(-1, 2, 3), np.einsum("gij,ngj->ngi", running["running_matrix"], groups))
    for group in (slice(0, 3), slice(3, 6)):
        assert_allclose(np.cov(y[:, group].T), np.eye(3), atol=0.1)
    assert_allclose(y.mean(0), 0, atol=0.1)


# ---- effects of options ----


@pytest.mark.parametrize("affine", [True, False])
def test_affine_gives_every_norm_its_parameters(affine):
    for layer in (
        nn.BatchNorm(4, affine=affine),
        nn.LayerNorm(4, affine=affine),
        nn.RMSNorm(4, affine=affine),
        nn.GroupNorm(2, 4, affine=affine),
        nn.InstanceNorm(4, affine=affine),
    ):
        assert bool(layer.parameters()) is affine
        assert not any(parameter.decay for parameter in layer.parameters())


def test_limits_of_renorm_are_numbers_or_functions(rng):
    """Each of them, against the formula with these limits."""
    x = 3 * rng.standard_normal((9, 3)) + 2
    seen = []
    for r_max, d_max in ((1.5, 0.25), (2.0, 0.5), (np.inf, np.inf)):
        layer = nn.BatchNorm(3, renorm=True, r_max=r_max, d_max=d_max, momentum=0.3, eps=1e-3, dtype=f64)
        running = {"running_mean": np.zeros(3), "running_std": np.ones(3)}
        expected = reference.batch_renorm_forward(
            x, **running, r_max=r_max, d_max=d_max, momentum=0.3, eps=1e-3
        )
        assert_allclose(layer(x), expected.y, rtol=1e-11)
        by_call = nn.BatchNorm(
            3,
            renorm=True,
            r_max=lambda batch, limit=r_max: seen.append(batch) or limit,
            d_max=lambda batch, limit=d_max: limit,
            momentum=0.3,
            eps=1e-3,
            dtype=f64,
        )
        assert_allclose(by_call(x), expected.y, rtol=1e-11)
        for name, array in running.items():
            assert_allclose(getattr(by_call, name), array, rtol=1e-12)
    assert seen == [0, 0, 0]


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("momentum", [0.1, 0.6])
def test_options_of_whitening_take_effect(eps, momentum, rng):
    x = rng.standard_normal((20, 4)) + 1
    layer = nn.Whitening(4, num_groups=2, eps=eps, momentum=momentum, dtype=f64)
    running = {"running_mean": np.zeros(4), "running_matrix": np.tile(np.eye(2), (2, 1, 1))}
    expected = reference.whiten_forward(x, num_groups=2, eps=eps, momentum=momentum, **running)
    assert_allclose(layer(x), expected.y, rtol=1e-10, atol=1e-12)
    for name, array in running.items():
        assert_allclose(getattr(layer, name), array, rtol=1e-10)


def test_ghost_batches_equal_the_specification(rng):
    x = rng.standard_normal((6, 3, 2))
    layer = nn.BatchNorm(3, virtual_batch_size=2, dtype=f64)
    blocks = [reference.batch_norm_forward(x[i : i + 2]).y for i in (0, 2, 4)]
    assert_allclose(layer(x), np.concatenate(blocks), rtol=1e-12, atol=1e-13)
