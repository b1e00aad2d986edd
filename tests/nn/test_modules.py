"""The module protocol: gradients, names, modes, states, and errors that name the layer."""

import doctest
import importlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from trimtab import nn

f64 = np.float64


def network(dtype=np.float32):
    return nn.Sequential(
        nn.Linear(4, 5, rng=0, dtype=dtype),
        nn.BatchNorm(5, dtype=dtype),
        nn.ReLU(),
        nn.Sequential(nn.Linear(5, 3, rng=1, dtype=dtype), nn.LayerNorm(3, dtype=dtype)),
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (lambda: nn.Linear(3, 4, rng=0, dtype=f64), (5, 3)),
        (lambda: nn.Linear(3, 4, rng=0, dtype=f64, bias=False), (2, 2, 3)),
        (lambda: nn.ReLU(), (4, 3)),
        (lambda: nn.LeakyReLU(), (4, 3)),
        (lambda: nn.LeakyReLU(-0.3), (4, 3)),
        (lambda: nn.Sigmoid(), (4, 3)),
        (lambda: nn.Tanh(), (4, 3)),
        (lambda: nn.BatchNorm(3, dtype=f64), (5, 3)),
        (lambda: nn.BatchNorm(3, dtype=f64), (2, 3, 2, 2)),
        (lambda: nn.BatchNorm(3, axis=-1, dtype=f64), (2, 2, 2, 3)),
        (lambda: nn.BatchNorm(3, affine=False, dtype=f64), (5, 3)),
        (lambda: nn.LayerNorm(4, dtype=f64), (3, 4)),
        (lambda: nn.LayerNorm((2, 3), dtype=f64), (3, 2, 3)),
        (lambda: nn.LayerNorm(4, affine=False, dtype=f64), (3, 4)),
        (lambda: network(f64), (6, 4)),
    ],
)
def test_gradients_agree_with_central_differences(module, shape, training, rng):
    assert nn.gradcheck(module().train(training), rng.standard_normal(shape))


def test_relu_keeps_nan():
    assert_array_equal(nn.ReLU()(np.array([-1.0, 0.0, 2.0, np.nan])), [0.0, 0.0, 2.0, np.nan])


def test_parameters_have_dotted_names_and_a_decay_flag():
    named = {parameter.name: parameter for parameter in network().parameters()}
    expected = ["0.weight", "0.bias", "1.gamma", "1.beta", "3.0.weight", "3.0.bias", "3.1.gamma", "3.1.beta"]
    assert list(named) == expected
    assert [name for name, parameter in named.items() if parameter.decay] == ["0.weight", "3.0.weight"]


def test_backward_overwrites_gradients_in_place(rng):
    model = network()
    x, dy = rng.standard_normal((6, 4), np.float32), rng.standard_normal((6, 3), np.float32)
    grads = [parameter.grad for parameter in model.parameters()]
    runs = []
    for _ in range(2):
        model(x)
        model.backward(dy)
        runs.append([grad.copy() for grad in grads])
    for first, second, parameter, grad in zip(*runs, model.parameters(), grads, strict=True):
        assert parameter.grad is grad
        assert grad.any()
        assert_array_equal(first, second)


def test_modes_reach_every_module():
    model = network()
    assert model.eval() is model
    assert not any(module.training for _, module in model.modules())
    model.train()
    assert all(module.training for _, module in model.modules())


def test_one_generator_reaches_every_module():
    model = network().use_rng(3)
    assert len({id(module.rng) for _, module in model.modules()}) == 1
    assert model[0].rng.random() == np.random.default_rng(3).random()


def test_the_first_layer_skips_dx(rng):
    model = network()
    model.wants_dx = False
    model(rng.standard_normal((6, 4), np.float32))
    assert model.backward(np.ones((6, 3), np.float32)) is None
    assert model[0].weight.grad.any()
    assert model[3].wants_dx


def test_a_state_dict_restores_the_model(rng):
    trained, fresh = network(), network()
    x = rng.standard_normal((6, 4), np.float32)
    trained(x)
    for parameter in trained.parameters():
        parameter.value += 1
    state = trained.state_dict()
    assert {"1.running_mean", "1.running_var"} < state.keys()
    arrays = [parameter.value for parameter in fresh.parameters()]
    fresh.load_state_dict({name: array.astype(f64) for name, array in state.items()})
    assert_array_equal(fresh.eval()(x), trained.eval()(x))
    assert all(parameter.value is array for parameter, array in zip(fresh.parameters(), arrays, strict=True))


def test_state_dict_is_a_copy():
    model = network()
    model.state_dict()["0.weight"][...] = 7
    assert not (model[0].weight.value == 7).any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda state: state.pop("0.bias"), ValueError, "missing: 0.bias"),
        (lambda state: state.update(other=np.ones(2)), ValueError, "extra: other"),
        (
            lambda state: state.update({"1.gamma": np.ones(4)}),
            ValueError,
            r"misshapen: 1.gamma \(4,\) instead of \(5,\)",
        ),
        (
            lambda state: state.update({"3.1.beta": np.ones(3, complex)}),
            TypeError,
            "3.1.beta must be a real array",
        ),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(change, error, message):
    model = network()
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(error, match=message):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Linear(4, 5), (2, 3), r"Linear\(4, 5\): x must have shape \(2, 4\), got \(2, 3\)"),
        (nn.BatchNorm(4), (2, 3), r"BatchNorm\(4, axis=1\): x must have 4 channels, got shape \(2, 3\)"),
        (nn.BatchNorm(4), (4,), r"BatchNorm\(4, axis=1\): x must have 4 channels, got shape \(4,\)"),
        (nn.LayerNorm(4), (2, 3), r"LayerNorm\(\(4,\)\): x must have last axes \(4,\), got shape \(2, 3\)"),
        (nn.LayerNorm((2, 3)), (3,), r"x must have last axes \(2, 3\), got shape \(3,\)"),
    ],
)
def test_shape_errors_name_the_layer_and_both_shapes(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(4, 4, rng=0),
        nn.ReLU(),
        nn.LeakyReLU(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.Dropout(),
        nn.Dropout().eval(),
        nn.DropPath(),
        nn.AlphaDropout(),
        nn.GaussianDropout(),
        nn.BatchNorm(4),
        nn.LayerNorm(4),
    ],
)
def test_backward_refuses_another_shape(layer):
    with nn.recording(layer):
        layer(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="must have shape"):
        layer.backward(np.ones((1, 4), np.float32))


def test_backward_before_forward_is_refused():
    with pytest.raises(RuntimeError, match=r"Linear\(2, 3\): backward must come after forward"):
        nn.Linear(2, 3).backward(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("make", [nn.Linear, nn.BatchNorm, nn.LayerNorm])
def test_dtype_must_be_floating(make):
    sizes = (3, 3) if make is nn.Linear else (3,)
    with pytest.raises(TypeError, match="dtype must be a floating type, got int64"):
        make(*sizes, dtype=np.int64)


def test_sequential_takes_modules_only():
    with pytest.raises(TypeError, match="layers must be modules"):
        nn.Sequential(np.tanh)


def test_a_layer_written_as_the_docstring_says_works(rng):
    class Scale(nn.Module):
        buffer_names = ("calls",)

        def __init__(self, features):
            self.factor = nn.Parameter(np.full(features, 2.0))
            self.calls = np.zeros(())

        def forward(self, x):
            self.calls += 1
            self.saved = x
            return x * self.factor.value

        def backward(self, dy):
            np.sum(dy * self.saved, axis=0, out=self.factor.grad)
            return dy * self.factor.value

    model = nn.Sequential(nn.Linear(4, 3, rng=0, dtype=f64), Scale(3))
    assert nn.gradcheck(model, rng.standard_normal((5, 4)))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.factor", "1.calls"]


@pytest.mark.parametrize("name", ["nn.module", "nn.sequential", "trainer", "gradients"])
def test_docstring_examples_run(name):
    results = doctest.testmod(importlib.import_module(f"trimtab.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (lambda: nn.BatchNorm(3), "running_var"),
        (lambda: nn.BatchNorm(3, renorm=True), "running_std"),
        (lambda: nn.InstanceNorm(3, track_running_stats=True), "running_var"),
    ],
)
def test_negative_running_spreads_are_refused(layer, name):
    model = nn.Sequential(nn.Linear(2, 3, rng=0), layer())
    before = model.state_dict()
    wrong = before | {f"1.{name}": np.array([1, -0.5, 2]), "0.bias": np.ones(3)}
    with pytest.raises(ValueError, match=rf"^load_state_dict: 1.{name} must be >= 0, got -0.5$"):
        model.load_state_dict(wrong)
    for key, array in before.items():
        np.testing.assert_array_equal(model.state_dict()[key], array)
    model.load_state_dict(wrong | {f"1.{name}": np.zeros(3)})
