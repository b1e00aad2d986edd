"""The norm layers and their options, against the specification and central differences."""

import copy

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn

f64 = np.float64


def trained(layer, *batches):
    """The layer after some batches in training, with parameters that say something."""
    rng = np.random.default_rng(5)
    for parameter in layer.parameters():
        parameter.value[...] = rng.uniform(0.5, 2, parameter.value.shape)
    for batch in batches:
        layer.train()(batch)
    return layer


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
def test_gradients(make, shape, training, rng):
    layer = trained(make(), rng.standard_normal(shape) + 0.3)
    assert nn.gradcheck(layer.train(training), rng.standard_normal(shape))


def test_rms_norm_is_the_specification(rng):
    layer = trained(nn.RMSNorm((2, 3), eps=1e-3))
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    expected = reference.rms_norm(x, layer.gamma.value, axis=(-2, -1), eps=1e-3)
    assert_allclose(layer(x), expected, atol=1e-5)
    assert list(layer.state_dict()) == ["gamma"]
    assert not layer.gamma.decay


@pytest.mark.parametrize("axis", [1, -1])
def test_group_and_instance_norm_are_the_specification(axis, rng):
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
def test_what_does_not_fit_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- batch norm ----


def test_cumulative_average(rng):
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


def test_frozen_statistics(rng):
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
def test_adjustment(rng, affine, renorm):
    """In training only, on xhat, and on the way back."""
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
def test_strided_ghost_batches(rng, axis):
    """Those that tf-keras makes by a reshape: sample i * blocks + j belongs to block j."""
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
def test_residual_and_activation(rng, training, strided):
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
    """Batch norm to begin with, then more and more of the running statistics."""
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


def test_renorm_gradients(rng):
    """Without limits to reach, training at any batch is a map with constant r and d."""
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


def test_whitening_averages_and_applies_them(rng):
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


# ---- fold ----


def test_fold_makes_an_inference_model_with_equal_outputs(rng):
    x = rng.standard_normal((20, 4))
    model = nn.Sequential(
        nn.Linear(4, 5, rng=0, dtype=f64),
        nn.BatchNorm(5, dtype=f64, activation="relu"),
        nn.Sequential(
            nn.Linear(5, 6, bias=False, rng=1, dtype=f64), nn.BatchNorm(6, affine=False, dtype=f64)
        ),
        nn.ReLU(),
        nn.BatchNorm(6, dtype=f64),
        nn.Linear(6, 3, rng=2, dtype=f64),
        nn.BatchNorm(3, renorm=True, dtype=f64, axis=-1),
    )
    trained(model, x, 2 * x + 1)
    state = model.state_dict()
    folded = nn.fold(model)
    kinds = [type(module).__name__ for _, module in folded.modules()]
    assert kinds == ["Sequential", "Linear", "ReLU", "Sequential", "Linear", "ReLU", "BatchNorm", "Linear"]
    assert not any(module.training for _, module in folded.modules())
    assert model.training
    for name, array in model.state_dict().items():
        assert_array_equal(array, state[name])
    assert_allclose(folded(x), model.eval()(x), rtol=1e-12, atol=1e-12)
    folded[0].weight.value += 1
    assert_array_equal(model[0].weight.value, state["0.weight"])


@pytest.mark.parametrize("axis", [1, -1])
def test_fold_convolutions(rng, axis):
    def convolution(inputs, outputs, **options):
        return nn.Conv2d(inputs, outputs, 3, padding=1, axis=axis, rng=outputs, dtype=f64, **options)

    def norm(channels, axis=axis):
        return nn.BatchNorm(channels, axis=axis, dtype=f64)

    x = rng.standard_normal((3, 4, 4, 4))
    model = nn.Sequential(
        convolution(4, 6, groups=2),
        norm(6),
        nn.Residual(convolution(6, 4, bias=False), norm(4, axis % 4), nn.ReLU(), convolution(4, 6), norm(6)),
        convolution(6, 4),
        norm(4, axis=2),
    )
    trained(model, x, x + 1)
    folded = nn.fold(model)
    kinds = [type(module).__name__ for _, module in folded.modules()]
    inside = ["Conv2d", "ReLU", "Conv2d"]
    assert kinds == ["Sequential", "Conv2d", "Residual", *inside, "Conv2d", "BatchNorm"]
    assert_allclose(folded(x), model.eval()(x), rtol=1e-11, atol=1e-11)


def alike(model, folded, *inputs):
    for x in inputs:
        assert_allclose(folded(x), model.eval()(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("axis", [1, -1])
def test_fold_of_linear_layers_is_right_for_arrays_of_any_rank(axis, rng):
    """Where the outputs are on axis 2, a norm of axis 1 is one of something else."""
    rows, stacks = rng.standard_normal((6, 3)), rng.standard_normal((4, 5, 3))
    norm = nn.BatchNorm(5, axis=axis, activation="relu", dtype=f64)
    model = trained(nn.Sequential(nn.Linear(3, 5, rng=0, dtype=f64), norm, nn.ReLU()), rows, rows + 1)
    folded = nn.fold(model)
    assert "BatchNorm" not in repr(folded)
    alike(model, folded, rows, stacks)
    again = copy.deepcopy(folded)
    alike(model, again, rows, stacks)
    with nn.recording(folded), nn.recording(model):
        dy = np.ones_like(model(rows))
        folded(rows)
    assert_allclose(folded.backward(dy), model.backward(dy), rtol=1e-11)
    assert list(folded.state_dict()) == ["0.weight", "0.bias"]
    if axis == 1:
        folded.load_state_dict(folded.state_dict())
        alike(model, folded, rows)
        with pytest.raises(ValueError, match=r"^Linear\(3, 5\): x must have shape \(N, 3\)"):
            folded(stacks)


def test_fold_leaves_alone_what_may_differ(rng):
    class OwnNorm(nn.BatchNorm):
        def forward(self, x, residual=None):
            return 2 * super().forward(x, residual)

    class OwnLinear(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    class Backwards(nn.Sequential):
        def forward(self, x):
            for layer in reversed(self.layers):
                x = layer(x)
            return x

    def linear(inputs=3, outputs=3, kind=nn.Linear):
        return kind(inputs, outputs, rng=0, dtype=f64)

    def norm(channels=3, kind=nn.BatchNorm, **options):
        return kind(channels, dtype=f64, **options)

    rows, stacks, images = (rng.standard_normal(shape) for shape in ((6, 3), (3, 5, 3), (2, 3, 4, 5)))
    for model, x in (
        (nn.Sequential(linear(), norm(kind=OwnNorm)), rows),
        (nn.Sequential(linear(kind=OwnLinear), norm()), rows),
        (Backwards(linear(), norm()), rows),
        (nn.Sequential(linear(), nn.Tanh(), norm()), rows),
        (nn.Sequential(linear(outputs=7), norm(5)), stacks),
        (nn.Sequential(linear(), norm(axis=0)), rows[:3]),
        (nn.Sequential(linear(), norm(5, axis=-2)), stacks),
        (nn.Sequential(nn.Conv2d(3, 2, 1, rng=0, dtype=f64), norm(4, axis=2)), images),
    ):
        trained(model, x, 2 * x + 1)
        folded = nn.fold(model)
        assert len(folded.layers) == len(model.layers)
        alike(model, folded, x)


@pytest.mark.parametrize(
    "options",
    [
        {"frozen": True},
        {"renorm": True},
        {"momentum": None},
        {"virtual_batch_size": 2},
        {"virtual_batch_size": 3, "strided": True},
        {"adjustment": lambda shape, rng: (2.0, 1.0)},
        {"affine": False},
        {"unbiased": False, "eps": 0.5},
    ],
    ids=lambda options: " ".join(options),
)
def test_fold_of_every_kind_of_batch_norm(options, rng):
    x = rng.standard_normal((6, 3))
    model = nn.Sequential(nn.Linear(3, 4, rng=0, dtype=f64), nn.BatchNorm(4, dtype=f64, **options))
    trained(model, x, 2 * x + 1)
    folded = nn.fold(model)
    assert len(folded.layers) == 1
    alike(model, folded, x)


def test_fold_of_layers_in_lists_and_of_ones_own_modules(rng):
    class Own(nn.Module):
        def __init__(self):
            self.blocks = [
                nn.Sequential(nn.Linear(3, 3, rng=seed, dtype=f64), nn.BatchNorm(3, dtype=f64))
                for seed in (0, 1)
            ]

        def forward(self, x):
            return self.blocks[1](self.blocks[0](x))

    x = rng.standard_normal((6, 3))
    model = trained(Own(), x, 2 * x + 1)
    folded = nn.fold(model)
    assert [len(block) for block in folded.blocks] == [1, 1]
    alike(model, folded, x)
    assert [len(block) for block in model.blocks] == [2, 2]


# ---- options by their effect ----


@pytest.mark.parametrize("affine", [True, False])
def test_every_norm_learns_what_affine_says(affine):
    for layer in (
        nn.BatchNorm(4, affine=affine),
        nn.LayerNorm(4, affine=affine),
        nn.RMSNorm(4, affine=affine),
        nn.GroupNorm(2, 4, affine=affine),
        nn.InstanceNorm(4, affine=affine),
    ):
        assert bool(layer.parameters()) is affine
        assert not any(parameter.decay for parameter in layer.parameters())


def test_limits_of_renormalization_as_numbers_and_functions(rng):
    """The two options, one by one, against the formula with exactly these limits."""
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
def test_options_of_whitening(eps, momentum, rng):
    x = rng.standard_normal((20, 4)) + 1
    layer = nn.Whitening(4, num_groups=2, eps=eps, momentum=momentum, dtype=f64)
    running = {"running_mean": np.zeros(4), "running_matrix": np.tile(np.eye(2), (2, 1, 1))}
    expected = reference.whiten_forward(x, num_groups=2, eps=eps, momentum=momentum, **running)
    assert_allclose(layer(x), expected.y, rtol=1e-10, atol=1e-12)
    for name, array in running.items():
        assert_allclose(getattr(layer, name), array, rtol=1e-10)


def test_ghost_batches_are_the_specification(rng):
    x = rng.standard_normal((6, 3, 2))
    layer = nn.BatchNorm(3, virtual_batch_size=2, dtype=f64)
    blocks = [reference.batch_norm_forward(x[i : i + 2]).y for i in (0, 2, 4)]
    assert_allclose(layer(x), np.concatenate(blocks), rtol=1e-12, atol=1e-13)
