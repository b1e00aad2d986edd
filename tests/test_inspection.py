"""Looking into models: summaries, norms of gradients, gradient checks; and the way around layers."""

import doctest

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.gradients import GradientError
from trimtab.nn import inspection, sequential

f64 = np.float64


def network():
    """With a layer of every kind that keeps or draws something."""
    return nn.Sequential(
        nn.Linear(4, 6, rng=0, dtype=f64),
        nn.BatchNorm(6, dtype=f64),
        nn.Residual(nn.Linear(6, 6, rng=1, dtype=f64), nn.Tanh(), nn.Dropout(0.3)),
        nn.Linear(6, 3, rng=2, dtype=f64),
    )


# Residual


def test_residual_is_a_sum(rng):
    layers = nn.Linear(4, 4, rng=0, dtype=f64), nn.Tanh()
    x, dy = rng.standard_normal((2, 5, 4))
    block, plain = nn.Residual(*layers), nn.Sequential(*layers)
    y, dx = block(x), block.backward(dy)
    assert_array_equal(y, x + plain(x))
    assert_array_equal(dx, dy + plain.backward(dy))
    assert nn.gradcheck(block, x)


def test_residual_spares_its_first_layer_the_dx(rng):
    block = nn.Residual(nn.Linear(4, 4, rng=0))
    block.wants_dx = False
    assert block.backward(np.ones_like(block(np.ones((2, 4), np.float32)))) is None


def test_residual_names_both_shapes():
    message = r"Residual\(Linear\(4, 3\)\): output of the last layer must have shape \(2, 4\), got \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        nn.Residual(nn.Linear(4, 3))(np.ones((2, 4), np.float32))
    with pytest.raises(TypeError, match="Residual: layers must be modules"):
        nn.Residual(np.tanh)


# Summary


def test_summary():
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
    model.temperature = nn.Parameter(np.ones(1000))  # of a module that has others below it
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


def test_summary_of_a_shape_that_does_not_fit():
    model = network()
    with pytest.raises(ValueError, match=r"Linear\(4, 6\): x must have shape \(1, 4\), got \(1, 5\)"):
        model.summary((5,))
    assert all("forward" not in vars(module) for _, module in model.modules())


# Gradients


def test_gradient_norms(rng):
    model = network()
    model.backward(np.ones_like(model(rng.standard_normal((5, 4)))))
    norms = nn.gradient_norms(model)
    assert list(norms) == ["0", "1", "2.0", "3"]
    layer = model[2].layers[0]
    both = np.concatenate([layer.weight.grad.ravel(), layer.bias.grad])
    assert_allclose(norms["2.0"], np.linalg.norm(both), rtol=1e-14)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradcheck_of_a_model(mode, rng):
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
def test_docstring_examples(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
