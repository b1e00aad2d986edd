"""Members of a model: where they are found, members in two places, assignments, copies."""

import copy
import pickle
from collections import OrderedDict, UserList, deque, namedtuple
from types import MappingProxyType, SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from helpers.layers import LAYERS
from numpy.testing import assert_array_equal
from trimtab import Trainer, losses, nn, optim

f64 = np.float64
Pair = namedtuple("Pair", "left right")


def linear():
    return nn.Linear(2, 2, rng=0)


class Holding(nn.Module):
    """A module that holds a given value and a layer."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.head = linear()


def names(model):
    return [parameter.name for parameter in model.parameters()]


# ---- where members are found ----


@pytest.mark.parametrize(
    ("blocks", "paths"),
    [
        ([linear(), nn.ReLU(), linear()], ["0", "2"]),
        ((linear(), linear()), ["0", "1"]),
        (Pair(linear(), linear()), ["0", "1"]),
        ({"a": linear(), "b": linear()}, ["a", "b"]),
        (OrderedDict(b=linear(), a=linear()), ["b", "a"]),
        ({"a": [linear(), {1: (linear(),)}]}, ["a.0", "a.1.1.0"]),
        ([nn.Sequential(linear()), 3, None, "text"], ["0.0"]),
    ],
    ids=str,
)
def test_modules_in_lists_tuples_and_dicts_are_found(blocks, paths):
    model = Holding(blocks)
    expected = [f"blocks.{path}.{name}" for path in paths for name in ("weight", "bias")]
    assert names(model) == [*expected, "head.weight", "head.bias"]
    assert list(model.state_dict()) == names(model)
    assert {f"blocks.{path}" for path in paths} <= dict(model.modules()).keys()
    model.eval().use_rng(3)
    assert not any(module.training for _, module in model.modules())
    assert len({id(module.rng) for _, module in model.modules()}) == 1


def test_parameters_in_containers_are_found():
    class Own(nn.Module):
        def __init__(self):
            self.scales = [nn.Parameter(np.ones(2)), {"b": nn.Parameter(np.ones(3))}]

    assert names(Own()) == ["scales.0", "scales.1.b"]
    state = {"scales.0": [5.0, 5], "scales.1.b": [6.0, 6, 6]}
    own = Own()
    own.load_state_dict(state)
    assert_array_equal(own.scales[1]["b"].value, [6, 6, 6])


def test_lists_that_grow_or_contain_themselves_are_followed():
    model = Holding([])
    assert len(model.parameters()) == 2
    model.blocks.append(linear())
    model.blocks.append(model.blocks)
    assert names(model) == ["blocks.0.weight", "blocks.0.bias", "head.weight", "head.bias"]


def test_attributes_of_a_sequential_are_found():
    class Net(nn.Sequential):
        def __init__(self):
            self.first = linear()
            super().__init__(linear())
            self.scale = nn.Parameter(np.ones(2))

    assert {*names(Net())} == {"first.weight", "first.bias", "0.weight", "0.bias", "scale"}


@pytest.mark.parametrize(
    "hold",
    [
        lambda module: {module},
        lambda module: frozenset([module]),
        lambda module: deque([module]),
        lambda module: UserList([module]),
        lambda module: [{module}],
        lambda module: MappingProxyType({"a": module}),
        lambda module: {"a": module}.values(),
        lambda module: SimpleNamespace(a=module),
        lambda module: np.array([module, None]),
        lambda module: {module.weight},
    ],
)
def test_unknown_containers_are_refused_by_name(hold):
    model = Holding(hold(linear()))
    message = r"^Holding: blocks must hold modules and parameters in a list, tuple or dict, got .* in a \w+"
    for use in (nn.Module.parameters, nn.Module.eval, nn.Module.state_dict, lambda m: optim.SGD(m, 0.1)):
        with pytest.raises(TypeError, match=message):
            use(model)
    assert model.training
    model.blocks = [{1, "a"}, deque([2.0]), np.array([None, "x"])]  # of other things
    assert len(model.parameters()) == 2


def test_one_name_for_two_members_is_refused():
    with pytest.raises(
        ValueError, match=r"^Holding: names must be of one member each, got blocks\.1 for two"
    ):
        Holding({1: linear(), "1": linear()}).parameters()


# ---- members in two places ----


SHARED = linear()


def tied():
    first, second = linear(), linear()
    second.weight = first.weight
    return Holding([first, second])


MODELS = {  # with a member in two places, and the message
    "in one list": (lambda: Holding([SHARED, SHARED]), r"Linear\(2, 2\) at blocks\.0 and at blocks\.1"),
    "list and attribute": (
        lambda: setattr(model := Holding([]), "blocks", [model.head]) or model,
        r"each module must stand in one place, got Linear\(2, 2\) at blocks\.0 and at head",
    ),
    "nested": (
        lambda: Holding([nn.Sequential(SHARED), {"a": nn.Residual(SHARED)}]),
        r"at blocks\.0\.0 and at blocks\.1\.a\.0",
    ),
    "its own part": (
        lambda: setattr(model := Holding([]), "blocks", model) or model,
        r"at (the top|1) and at blocks",
    ),
    "of its part": (
        lambda: setattr((model := Holding([])).head, "parent", model) or model,
        r"at (the top|1) and at head\.parent",
    ),
}
USES = {
    "parameters": nn.Module.parameters,
    "state_dict": nn.Module.state_dict,
    "eval": nn.Module.eval,
    "use_rng": lambda model: model.use_rng(0),
    "summary": lambda model: model.summary((2,)),
    "SGD": lambda model: optim.SGD(model, 0.1),
    "Trainer": lambda model: Trainer(model, losses.MSE(), optim.SGD(linear(), 0.1)),
    "fold": nn.fold,
    "gradcheck": lambda model: nn.gradcheck(model, np.ones((2, 2))),
    "gradient_norms": nn.gradient_norms,
    "Sequential": lambda model: nn.Sequential(nn.ReLU(), model),
    "recording": lambda model: nn.recording(model).__enter__(),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("where", MODELS)
def test_a_module_in_two_places_is_refused_by_name(where, use):
    make, message = MODELS[where]
    model = make()
    with pytest.raises(
        ValueError, match=message.replace("blocks", r"(1\.)?blocks").replace("at head", r"at (1\.)?head")
    ):
        USES[use](model)
    assert model.training
    assert model.rng is None


@pytest.mark.parametrize("use", [use for use in USES if use not in ("eval", "use_rng", "recording")])
def test_a_parameter_in_two_places_is_refused_by_name(use):
    places = [rf"at (1\.)?blocks\.{number}\.weight" for number in (0, 1)]
    message = "each parameter must stand in one place, got .* " + " and ".join(places)
    with pytest.raises(ValueError, match=message):
        USES[use](tied())


def test_a_layer_twice_in_a_sequential_is_refused_when_it_is_made():
    layer, relu = linear(), nn.ReLU()
    with pytest.raises(ValueError, match=r"^Sequential: each module .*, got Linear\(2, 2\) at 0 and at 2"):
        nn.Sequential(layer, nn.ReLU(), layer)
    with pytest.raises(ValueError, match=r"^Residual: each module .*, got ReLU\(\) at 0 and at 1\.0"):
        nn.Residual(relu, nn.Sequential(relu))


# ---- assignments ----


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ml_dtypes.bfloat16])
def test_assigned_values_are_copied_into_the_array(dtype):
    parameter = nn.Linear(2, 3, dtype=dtype).weight
    for name in ("value", "grad"):
        array = getattr(parameter, name)
        for new in (np.arange(6.0).reshape(3, 2), [[1, 2], [3, 4], [5, 6]], np.ones((3, 2), bool)):
            setattr(parameter, name, new)
            assert getattr(parameter, name) is array
            assert_array_equal(array, np.asarray(new))
        array[...] = 2
        exec(f"parameter.{name} -= 1")
        assert getattr(parameter, name) is array
        assert_array_equal(array, np.ones((3, 2)))
    assert parameter.assignments == 4


@pytest.mark.parametrize(
    ("new", "error", "message"),
    [
        (np.ones((2, 3)), ValueError, r"must have shape \(3, 2\), got \(2, 3\)"),
        (np.ones(2), ValueError, r"must have shape \(3, 2\), got \(2,\)"),
        (0.0, ValueError, r"must have shape \(3, 2\), got \(\)"),
        (
            np.ones((3, 2), complex),
            TypeError,
            "must be a real array castable to float32, got dtype complex128",
        ),
        (None, TypeError, "must be a real array"),
        (np.ma.array(np.ones((3, 2))), TypeError, "must be a plain array, got a MaskedArray"),
    ],
    ids=repr,
)
def test_values_that_cannot_be_copied_are_refused_by_name(new, error, message):
    model = nn.Sequential(nn.Linear(2, 3, rng=0))
    parameter = model.parameters()[0]
    before = parameter.value.copy()
    for name in ("value", "grad"):
        with pytest.raises(error, match=rf"^Parameter\('0\.weight', .*\): {name} {message}"):
            setattr(parameter, name, new)
    assert_array_equal(parameter.value, before)
    assert parameter.assignments == 0


def test_an_array_assigned_to_a_parameter_is_copied():
    layer = nn.Linear(2, 2, rng=0)
    weight, bias = layer.weight, layer.bias
    layer.weight, layer.bias = [[1, 2], [3, 4]], np.array([5, 6])
    assert layer.weight is weight
    assert_array_equal(weight.value, [[1, 2], [3, 4]])
    assert_array_equal(bias.value, [5, 6])
    with pytest.raises(
        ValueError, match=r"Parameter\('weight', .*\): value must have shape \(2, 2\), got \(3,\)"
    ):
        layer.weight = np.ones(3)
    with pytest.raises(TypeError, match=r"Parameter\('weight', .*\): value must be"):
        layer.weight = "text"
    layer.weight, layer.bias = nn.Parameter(np.zeros((2, 2))), None
    assert names(layer) == ["weight"]


def test_an_array_assigned_to_a_buffer_is_copied():
    norm = nn.BatchNorm(2)
    array = norm.running_mean
    norm.running_mean = np.array([1.0, 2.0])
    assert norm.running_mean is array
    assert_array_equal(norm.state_dict()["running_mean"], [1, 2])
    with pytest.raises(
        ValueError, match=r"BatchNorm\(2, axis=1\): running_mean must have shape \(2,\), got \(3,\)"
    ):
        norm.running_mean = np.ones(3)
    assert_array_equal(array, [1, 2])


@pytest.mark.parametrize(
    "value", [3, [1, 2], np.ones(2, int), np.ones(2, bool), np.ones(2, complex), "text", None]
)
def test_parameters_are_floating(value):
    with pytest.raises(TypeError, match=r"^Parameter: "):
        nn.Parameter(value)


# ---- copies ----


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("when", ["new", "forward", "backward", "eval"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_copy_is_independent_and_has_the_same_bits(name, when, how, rng):
    make, shape = LAYERS[name]
    model = make().use_rng(7)
    model.train(when != "eval")
    if when != "new":
        y = model(rng.standard_normal(shape))
    if when == "backward":
        model.backward(np.ones_like(y))
    other = how(model)
    assert other.training == model.training
    originals = [*model.state_dict(), *model._state().values()]
    for array in other._state().values():
        assert not any(np.shares_memory(array, one) for one in originals if isinstance(one, np.ndarray))
    x = rng.standard_normal(shape)
    for _ in range(2):
        y, other_y = model(x), other(x)
        assert_array_equal(y, other_y)
        if when != "eval":
            assert_array_equal(model.backward(y), other.backward(y))
    for parameter, other_parameter in zip(model.parameters(), other.parameters(), strict=True):
        assert_array_equal(parameter.grad, other_parameter.grad)


@pytest.mark.parametrize("name", LAYERS)
def test_copies_do_not_contain_saved_activations(name):
    make, shape = LAYERS[name]
    model = make().use_rng(7)
    size = len(pickle.dumps(model))
    y = model(np.ones((1000, *shape[1:])))
    assert len(pickle.dumps(model)) < size + 200
    assert not any(hasattr(module, "saved") for _, module in copy.deepcopy(model).modules())
    model.backward(np.ones_like(y))
    assert len(pickle.dumps(model)) < size + 200
