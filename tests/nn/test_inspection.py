"""Summaries, gradient norms and gradient checks of models, and residual blocks."""

import doctest

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.gradients import GradientError
from trimtab.nn import inspection, sequential

f64 = np.float64


def network():
    """A model with a layer of every kind that keeps or draws something."""
    return nn.Sequential(
        nn.Linear(4, 6, rng=0, dtype=f64),
        nn.BatchNorm(6, dtype=f64),
        nn.Residual(nn.Linear(6, 6, rng=1, dtype=f64), nn.Tanh(), nn.Dropout(0.3)),
        nn.Linear(6, 3, rng=2, dtype=f64),
    )


# ---- Residual ----


def test_residual_is_a_sum(rng):
    layers = nn.Linear(4, 4, rng=0, dtype=f64), nn.Tanh()
    x, dy = rng.standard_normal((2, 5, 4))
    block, plain = nn.Residual(*layers), nn.Sequential(*layers)
    y, dx = block(x), block.backward(dy)
    assert_array_equal(y, x + plain(x))
    assert_array_equal(dx, dy + plain.backward(dy))
    assert nn.gradcheck(block, x)


def test_residual_skips_dx(rng):
    block = nn.Residual(nn.Linear(4, 4, rng=0))
    block.wants_dx = False
    assert block.backward(np.ones_like(block(np.ones((2, 4), np.float32)))) is None


def test_residual_names_both_shapes():
    message = r"Residual\(Linear\(4, 3\)\): output of the last layer must have shape \(2, 4\), got \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        nn.Residual(nn.Linear(4, 3))(np.ones((2, 4), np.float32))
    with pytest.raises(TypeError, match="Residual: layers must be modules"):
        nn.Residual(np.tanh)


# ---- summary ----


def test_summary_shows_shapes_and_parameters():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding="same"), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10, bias=False)
    )
    assert model.summary((1, 8, 8)).splitlines() == [
        "layer  description                output     parameters",
        "0      Conv2d(1, 8, 3x3, axis=1)  (8, 8, 8)          80",
        "1      MaxPool2d(2x2, axis=1)     (8, 4, 4)           0",
        "2      Flatten()                  (128,)              0",
        "3      Linear(128, 10)            (10,)           1,280",
        "total                                             1,360",
    ]


def test_summary_counts_every_parameter_and_changes_nothing(rng):
    model = network()
    model.temperature = nn.Parameter(np.ones(1000))  # modules with submodules
    model[2].eval()
    before = model.state_dict()
    modes = [module.training for _, module in model.modules()]
    total = sum(parameter.value.size for parameter in model.parameters())
    text = model.summary((4,))
    assert text.splitlines()[-1].split() == ["total", f"{total:,}"]
    assert "2.2" in text
    assert [module.training for _, module in model.modules()] == modes
    assert all("forward" not in vars(module) for _, module in model.modules())
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])


def test_summary_of_a_wrong_shape_names_the_layer():
    model = network()
    with pytest.raises(ValueError, match=r"Linear\(4, 6\): x must have shape \(1, 4\), got \(1, 5\)"):
        model.summary((5,))
    assert all("forward" not in vars(module) for _, module in model.modules())


# ---- gradients ----


def test_gradient_norms_are_those_of_each_parameter(rng):
    model = network()
    model.backward(np.ones_like(model(rng.standard_normal((5, 4)))))
    norms = nn.gradient_norms(model)
    assert list(norms) == ["0", "1", "2.0", "3"]
    layer = model[2].layers[0]
    both = np.concatenate([layer.weight.grad.ravel(), layer.bias.grad])
    assert_allclose(norms["2.0"], np.linalg.norm(both), rtol=1e-14)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradcheck_passes_a_right_model(mode, rng):
    model = getattr(network(), mode)()
    generator = np.random.default_rng(0)
    model.use_rng(generator)
    before = model.state_dict()
    assert nn.gradcheck(model, rng.standard_normal((5, 4)))
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])
    assert all(module.rng is generator for _, module in model.modules())


def test_gradcheck_finds_wrong_gradients(rng):
    class Wrong(nn.Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            self.bias.grad *= 1.001
            return dx

    model = nn.Sequential(Wrong(3, 2, rng=0, dtype=f64), nn.Tanh())
    with pytest.raises(GradientError, match="gradient 2 must be"):
        nn.gradcheck(model, rng.standard_normal((4, 3)))


def test_gradcheck_needs_float64():
    with pytest.raises(TypeError, match=r"gradcheck: model must have float64 .*, got 0.weight of float32"):
        nn.gradcheck(nn.Sequential(nn.Linear(3, 2)), np.ones((4, 3)))


@pytest.mark.parametrize("module", [inspection, sequential])
def test_docstring_examples_run(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


# ---- inspection changes nothing ----


class Counting(nn.Module):
    """A layer that counts and draws in every mode."""

    buffer_names = ("calls",)

    def __init__(self):
        self.calls = np.zeros(())

    def forward(self, x):
        self.calls += 1
        self.saved = x
        return x * (1 + 0 * self.rng.standard_normal())

    def backward(self, dy):
        return dy


LOOKS = {
    "summary": lambda model, x: model.summary((4,)),
    "gradcheck": lambda model, x: nn.gradcheck(model, 2 * x),
    "gradient_norms": lambda model, x: nn.gradient_norms(model),
    "fold": lambda model, x: nn.fold(model)(x),
    "state_dict": lambda model, x: model.state_dict(),
    "repr": lambda model, x: repr(model),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("evaluating", [None, "1", "2.2"])
def test_inspection_between_forward_and_backward_changes_nothing(look, evaluating, rng):
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    results = []
    for looks in (False, True):
        model = nn.Sequential(*network().layers, Counting()).use_rng(4)
        if evaluating:
            dict(model.modules())[evaluating].eval()
        model(x)
        model.backward(dy)
        model(x)
        modes = [module.training for _, module in model.modules()]
        before = [parameter.grad.copy() for parameter in model.parameters()]
        if looks:
            LOOKS[look](model, x)
        assert [module.training for _, module in model.modules()] == modes
        for parameter, grad in zip(model.parameters(), before, strict=True):
            assert_array_equal(parameter.grad, grad)
        dx = model.backward(dy)
        grads = [parameter.grad for parameter in model.parameters()]
        state = model.state_dict()
        results.append([dx, *grads, *state.values(), model(x)])
    for plain, looked in zip(*results, strict=True):
        assert_array_equal(plain, looked)


def test_summary_leaves_dropout_switched_on():
    model = nn.Sequential(nn.Dropout(), nn.Linear(4, 3)).use_rng(1).eval(dropout=True)
    state = model.rng.bit_generator.state
    model.summary((4,))
    assert model.rng.bit_generator.state == state
    assert model[0].training


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_gradient_norms_of_any_scale_are_finite(scale):
    layer = nn.Linear(3, 4, dtype=f64)
    layer.weight.grad, layer.bias.grad = np.full((4, 3), scale), np.full(4, 2 * scale)
    assert_allclose(nn.gradient_norms(layer)[""], scale * np.sqrt(28), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["f2", ml_dtypes.bfloat16])
def test_gradient_norms_of_16_bits_are_accurate(dtype):
    layer = nn.Linear(300, 300, dtype=dtype)
    layer.weight.grad[...] = 256
    assert_allclose(nn.gradient_norms(layer)[""], 256 * 300, rtol=1e-12)


def test_gradient_norms_may_be_inf_or_nan():
    layer = nn.Linear(3, 4)
    layer.weight.grad[0, 0] = np.inf
    assert nn.gradient_norms(layer)[""] == np.inf
    layer.weight.grad[0, 0] = np.nan
    assert np.isnan(nn.gradient_norms(layer)[""])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_summary_of_one_parameter_or_none_works(dtype):
    layer = nn.Linear(3, 2, bias=False, dtype=dtype)
    seen = []
    with nn.forward_hook(layer, lambda module, inputs, output: seen.append(inputs[0].dtype)):
        assert layer.summary((3,)).splitlines()[-1].split() == ["total", "6"]
    assert seen == [np.dtype(dtype)]
    assert nn.ReLU().summary((3,)).splitlines()[-1].split() == ["total", "0"]
