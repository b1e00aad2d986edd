"""Scale without bias and the reverse, axes of row norms, running statistics of instance norm, shortcuts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn

f64 = np.float64
AFFINE = {
    "LayerNorm": lambda **options: nn.LayerNorm(4, dtype=f64, **options),
    "GroupNorm": lambda **options: nn.GroupNorm(2, 4, dtype=f64, **options),
    "InstanceNorm": lambda **options: nn.InstanceNorm(4, axis=-1, dtype=f64, **options),
    "tracking": lambda **options: nn.InstanceNorm(4, axis=-1, dtype=f64, track_running_stats=True, **options),
    "BatchNorm": lambda **options: nn.BatchNorm(4, axis=-1, dtype=f64, **options),
}


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("options", [{"scale": False}, {"bias": False}, {"affine": False}, {}])
def test_scale_and_bias_are_switches_of_their_own(name, options, rng):
    x, dy = rng.standard_normal((2, 4, 4)), rng.standard_normal((2, 4, 4))
    norm, whole = AFFINE[name](**options), AFFINE[name]()
    kept = {"gamma": "scale" not in options, "beta": "bias" not in options}
    for parameter in ("gamma", "beta"):
        learned = kept[parameter] and "affine" not in options
        assert (getattr(norm, parameter) is not None) is learned
        if learned:
            values = rng.standard_normal(4)
            getattr(norm, parameter).value = values
            getattr(whole, parameter).value = values
    assert_allclose(norm.forward(x), whole.forward(x), rtol=1e-12)
    assert_allclose(norm.backward(dy), whole.backward(dy), rtol=1e-12)
    for parameter in norm.parameters():
        assert_allclose(parameter.grad, getattr(whole, parameter.name).grad, rtol=1e-12)
    assert len(norm.parameters()) == (0 if "affine" in options else sum(kept.values()))


@pytest.mark.parametrize(("axis", "shape"), [(1, (3,)), (-3, (3,)), ((1, 2), (3, 4)), ((0, -1), (2, 5))])
@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_row_norms_of_any_axes(kind, axis, shape, rng):
    x = rng.standard_normal((2, 3, 4, 5))
    axes = (axis,) if isinstance(axis, int) else axis
    norm = kind(shape, axis=axis, eps=0.1, dtype=f64)
    norm.gamma.value = gamma = rng.standard_normal(shape)
    broadcast = [size if place in {a % 4 for a in axes} else 1 for place, size in enumerate(x.shape)]
    centered = x - x.mean(axis=axes, keepdims=True) if kind is nn.LayerNorm else x
    expected = centered / np.sqrt((centered**2).mean(axis=axes, keepdims=True) + 0.1)
    assert_allclose(norm.forward(x), expected * gamma.reshape(broadcast), rtol=1e-12)
    assert nn.gradcheck(norm, x)


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_wrong_axes_are_refused(kind):
    name = kind.__name__
    with pytest.raises(ValueError, match=f"^{name}: axis must be 2 different axes as shape has, got 1"):
        kind((2, 3), axis=1)
    with pytest.raises(
        ValueError, match=f"^{name}: axis must be 2 different axes as shape has, got \\(1, 1\\)"
    ):
        kind((2, 3), axis=(1, 1))
    for axis, x in (((1, 0), (2, 3)), ((0, 5), (2, 3)), ((0, -2), (2, 3)), ((0, 1), (3, 2))):
        with pytest.raises(ValueError, match=rf"^{name}\(.*: x must have sizes \(2, 3\) in the axes"):
            kind((2, 3), axis=axis)(np.ones(x))


@pytest.mark.parametrize("axis", [1, -1])
def test_running_statistics_of_instance_norm_follow_the_formula(axis, rng):
    norm = nn.InstanceNorm(3, axis=axis, track_running_stats=True, momentum=0.3, dtype=f64)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = rng.standard_normal((5, 3, 6)) * 2 + 1
        norm.forward(x if axis == 1 else x.transpose(0, 2, 1))
        mean = 0.7 * mean + 0.3 * x.mean(axis=2).mean(axis=0)
        var = 0.7 * var + 0.3 * x.var(axis=2, ddof=1).mean(axis=0)
    assert_allclose(norm.running_mean, mean, rtol=1e-12)
    assert_allclose(norm.running_var, var, rtol=1e-11)
    y = norm.eval().forward(x if axis == 1 else x.transpose(0, 2, 1))
    expected = (x - mean[:, None]) / np.sqrt(var[:, None] + norm.eps)
    assert_allclose(y if axis == 1 else y.transpose(0, 2, 1), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_tracking_instance_norm_agrees_with_torch(training, rng):
    torch = pytest.importorskip("torch")
    x, dy = (rng.standard_normal((4, 3, 5, 2)) for _ in range(2))
    norm = nn.InstanceNorm(3, track_running_stats=True, dtype=f64)
    other = torch.nn.InstanceNorm2d(3, affine=True, track_running_stats=True, dtype=torch.float64)
    for _ in range(2):
        norm.forward(x)
        other(torch.from_numpy(x))
    norm.train(training)
    other.train(training)
    given = torch.from_numpy(x).requires_grad_()
    expected = other(given)
    expected.backward(torch.from_numpy(dy))
    with nn.recording(norm):
        y = norm.forward(x)
    dx = norm.backward(dy)
    assert_allclose(y, expected.detach(), rtol=1e-10, atol=1e-12)
    assert_allclose(dx, given.grad, rtol=1e-9, atol=1e-11)
    assert_allclose(norm.gamma.grad, other.weight.grad, rtol=1e-10)
    assert_allclose(norm.beta.grad, other.bias.grad, rtol=1e-10)
    assert_allclose(norm.running_var, other.running_var, rtol=1e-10)


def test_tracking_needs_two_values():
    norm = nn.InstanceNorm(3, track_running_stats=True)
    with pytest.raises(
        ValueError, match=r"^InstanceNorm\(3, axis=1\): x must have two values .*, got shape \(4, 3\)"
    ):
        norm(np.ones((4, 3), np.float32))
    assert set(norm.state_dict()) == {"gamma", "beta", "running_mean", "running_var"}
    assert set(nn.InstanceNorm(3).state_dict()) == {"gamma", "beta"}


def test_a_residual_with_a_shortcut(rng):
    body, shortcut = nn.Linear(4, 3, rng=0, dtype=f64), nn.Linear(4, 3, rng=1, dtype=f64, bias=False)
    block = nn.Residual(body, nn.Tanh(), shortcut=shortcut)
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    expected = np.tanh(body.forward(x)) + shortcut.forward(x)
    assert_allclose(block.forward(x), expected, rtol=1e-14)
    dx = block.backward(dy)
    slope = dy * (1 - np.tanh(body.forward(x)) ** 2)
    assert_allclose(dx, slope @ body.weight.value + dy @ shortcut.weight.value, rtol=1e-12)
    assert nn.gradcheck(block, x)
    assert [parameter.name for parameter in block.parameters()] == ["shortcut.weight", "0.weight", "0.bias"]
    assert repr(block) == f"Residual({body!r}, Tanh(), shortcut={shortcut!r})"
    assert len(block) == 2


def test_a_residual_skips_dx_in_both_branches(rng):
    block = nn.Residual(nn.Linear(4, 3, rng=0), shortcut=nn.Linear(4, 3, rng=1))
    block.wants_dx = False
    assert [layer.wants_dx for layer in (block[0], block.shortcut)] == [False, False]
    block.forward(np.ones((2, 4), np.float32))
    assert block.backward(np.ones((2, 3), np.float32)) is None
    assert block.shortcut.weight.grad.any()
    block.wants_dx = True
    assert block.wants_dx
    block.shortcut.wants_dx = False
    assert not block.wants_dx


def test_a_batch_norm_in_a_shortcut_is_folded(rng):
    shortcut = nn.Sequential(nn.Conv2d(2, 3, 1, rng=0), nn.BatchNorm(3))
    block = nn.Residual(nn.Conv2d(2, 3, 3, padding=1, rng=1), nn.BatchNorm(3), shortcut=shortcut)
    x = rng.standard_normal((6, 2, 5, 5)).astype(np.float32)
    block.forward(x)
    folded = nn.fold(block)
    assert len(folded) == len(folded.shortcut) == 1
    assert_allclose(folded.forward(x), block.eval().forward(x), rtol=1e-4, atol=1e-5)


def test_wrong_shortcuts_are_refused():
    with pytest.raises(TypeError, match=r"^Residual: shortcut must be a module or None, got 3"):
        nn.Residual(nn.ReLU(), shortcut=3)
    layer = nn.ReLU()
    with pytest.raises(ValueError, match="each module must stand in one place"):
        nn.Residual(layer, shortcut=layer)
    block = nn.Residual(nn.Linear(4, 3), shortcut=nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"output of the last layer must have shape \(1, 2\), got \(1, 3\)"):
        block(np.ones((1, 4), np.float32))
    assert_array_equal(nn.Residual(nn.ReLU())(np.ones((1, 2), np.float32)), [[2, 2]])


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_shape_and_axes_of_row_norms_stay(kind):
    norm = kind(3, axis=1)
    for name, value, found in (("axis", 0, r"\(1,\)"), ("shape", 5, r"\(3,\)")):
        with pytest.raises(AttributeError, match=f"^{kind.__name__}: {name} must stay {found}, got {value}"):
            setattr(norm, name, value)
    assert norm(np.ones((2, 3, 4), np.float32)).shape == (2, 3, 4)
