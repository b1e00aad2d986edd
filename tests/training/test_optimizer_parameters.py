"""The parameters of an optimizer: every form is understood, or the error names what is wrong."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from trimtab import nn
from trimtab.optim import SGD

LAYERS = [nn.Linear(2, 3, rng=0), nn.Linear(3, 2, rng=1)]
PARAMETERS = [parameter for layer in LAYERS for parameter in layer.parameters()]
MODEL = nn.Sequential(*LAYERS)

FORMS = {
    "a module": lambda: MODEL,
    "a list of parameters": lambda: PARAMETERS,
    "a tuple of parameters": lambda: tuple(PARAMETERS),
    "a generator of parameters": lambda: (parameter for parameter in PARAMETERS),
    "a set of parameters": lambda: dict.fromkeys(PARAMETERS).keys(),
    "a list of modules": lambda: LAYERS,
    "a generator of modules": lambda: iter(LAYERS),
    "modules and parameters": lambda: [LAYERS[0], *LAYERS[1].parameters()],
    "a mapping of parameters": lambda: {parameter.name: parameter for parameter in MODEL.parameters()},
    "a mapping of modules": MODEL.children,
    "one group": lambda: {"parameters": MODEL},
    "groups of modules": lambda: [{"parameters": layer} for layer in LAYERS],
    "groups of lists of modules": lambda: [{"parameters": [layer, nn.ReLU()]} for layer in LAYERS],
    "groups of generators": lambda: ({"parameters": iter(layer.parameters())} for layer in LAYERS),
    "groups of mappings": lambda: [{"parameters": {"a": LAYERS[0]}}, {"parameters": {"b": LAYERS[1]}}],
    "groups by name": lambda: {"a": {"parameters": LAYERS[0]}, "b": {"parameters": LAYERS[1]}},
    "groups of parameters": lambda: [{"parameters": parameter} for parameter in PARAMETERS],
    "a group without parameters": lambda: [{"parameters": MODEL}, {"parameters": nn.ReLU()}],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_parameters_is_understood(form):
    optimizer = SGD(FORMS[form](), lr=0.5)
    assert optimizer.parameters == PARAMETERS
    before = [parameter.value.copy() for parameter in PARAMETERS]
    for parameter in PARAMETERS:
        parameter.grad[...] = 1
    optimizer.step()
    for parameter, value in zip(PARAMETERS, before, strict=True):
        assert_array_equal(parameter.value, value - np.float32(0.5))


def test_a_single_parameter_is_trained():
    weight = nn.Parameter(np.ones(3))
    assert SGD(weight, lr=0.5).parameters == [weight]


def test_one_group_may_have_its_own_options():
    weight = nn.Parameter(np.ones(3))
    optimizer = SGD({"parameters": weight, "lr": 0.25}, lr=0.5)
    assert optimizer.lr == 0.25


NOT_UNDERSTOOD = {
    "None": (lambda: None, TypeError, "parameters must be a Module, .*, got None"),
    "a number": (lambda: 3, TypeError, "parameters must be .*, got 3"),
    "a string": (lambda: "model", TypeError, "parameters must be .*, got 'model'"),
    "the method that lists them": (
        lambda: MODEL.parameters,
        TypeError,
        "parameters must be .*, got <bound method",
    ),
    "a class": (lambda: nn.Linear, TypeError, "parameters must be .*, got <class .*Linear'>"),
    "an array": (lambda: np.ones(3), TypeError, r"parameters\[0\] must be a Parameter or a Module, got "),
    "arrays": (lambda: [PARAMETERS[0], np.ones(3)], TypeError, r"parameters\[1\] must be .*, got ndarray"),
    "classes": (lambda: [nn.Linear], TypeError, r"parameters\[0\] must be .*, got <class"),
    "a list in a list": (lambda: [PARAMETERS], TypeError, r"parameters\[0\] must be .*, got list"),
    "names beside them": (lambda: [("weight", PARAMETERS[0])], TypeError, r"parameters\[0\] .*, got tuple"),
    "a mapping of arrays": (lambda: MODEL.state_dict(), TypeError, "0.weight must be .*, got ndarray"),
    "nothing": (list, ValueError, "parameters must not be empty, got none"),
    "no names": (dict, ValueError, "parameters must not be empty, got none"),
    "a used generator": (lambda: iter(()), ValueError, "parameters must not be empty, got none"),
    "nothing to train": (nn.ReLU, ValueError, "parameters must not be empty, got none"),
    "modules without any": (lambda: [nn.ReLU()], ValueError, "parameters must not be empty, got none"),
    "an empty group": (
        lambda: [{"parameters": MODEL}, {"parameters": []}],
        ValueError,
        r"parameters\[1\] must not be empty, got none",
    ),
    "another word for parameters": (
        lambda: [{"params": PARAMETERS}],
        ValueError,
        r"parameters must be groups of 'parameters' and lr, .*, got \['params'\] in \[0\]",
    ),
    "an unknown option": (
        lambda: [{"parameters": MODEL, "learning_rate": 1}],
        ValueError,
        r"parameters must be groups .*, got \['learning_rate', 'parameters'\] in \[0\]",
    ),
    "an option of the optimizer": (
        lambda: {"parameters": MODEL, "max_grad_norm": 1},
        ValueError,
        r"parameters must be groups .*, got \['max_grad_norm', 'parameters'\] in \[0\]",
    ),
    "groups and parameters": (
        lambda: [{"parameters": LAYERS[0]}, PARAMETERS[2]],
        ValueError,
        r"parameters must be groups .*, got Parameter in \[1\]",
    ),
    "groups and parameters by name": (
        lambda: {"a": {"parameters": LAYERS[0]}, "b": PARAMETERS[2]},
        ValueError,
        r"parameters must be groups .*, got Parameter in \['b'\]",
    ),
    "a name twice": (
        lambda: [{"parameters": layer, "name": "same"} for layer in LAYERS],
        ValueError,
        "names of groups must differ, got 'same' twice",
    ),
    "a name that is a number of another": (
        lambda: [{"parameters": LAYERS[0], "name": "1"}, {"parameters": LAYERS[1]}],
        ValueError,
        "names of groups must differ, got '1' twice",
    ),
    "a name that is no text": (
        lambda: [{"parameters": LAYERS[0], "name": 3}],
        TypeError,
        r"the name of a group must be text, got 3 in \[0\]",
    ),
    "an empty name": (
        lambda: {"": {"parameters": LAYERS[0]}},
        TypeError,
        r"the name of a group must be text, got '' in \[''\]",
    ),
    "a group of None": (lambda: [{"parameters": None}], TypeError, r"parameters\[0\] must be .*, got None"),
    "a group of arrays": (
        lambda: [{"parameters": MODEL}, {"parameters": [np.ones(2)]}],
        TypeError,
        r"parameters\[1\]\[0\] must be .*, got ndarray",
    ),
    "one twice": (
        lambda: [*PARAMETERS, PARAMETERS[1]],
        ValueError,
        r"parameters must be given once each, got the same one as parameters\[1\] and parameters\[4\]",
    ),
    "one in two groups": (
        lambda: [{"parameters": MODEL}, {"parameters": [PARAMETERS[0]]}],
        ValueError,
        r"parameters must be given once each, got the same one as parameters\[0\].0.weight and par",
    ),
    "a layer and its model": (
        lambda: {"model": MODEL, "layer": LAYERS[1]},
        ValueError,
        "parameters must be given once each, got the same one as model.1.weight and layer.weight",
    ),
}


@pytest.mark.parametrize("form", NOT_UNDERSTOOD)
def test_other_values_are_refused_by_name(form):
    make, error, message = NOT_UNDERSTOOD[form]
    with pytest.raises(error, match=f"^SGD: {message}"):
        SGD(make(), lr=0.1)


def test_a_dtype_that_cannot_be_trained_is_named():
    with pytest.raises(TypeError, match="int64"):
        SGD({"a": LAYERS[0], "b": nn.Parameter(np.ones(2, np.int64))}, lr=0.1)


@pytest.mark.parametrize("which", ["value", "grad"])
def test_a_read_only_array_is_named(which):
    layer = nn.Linear(2, 3, rng=0)
    getattr(layer.bias, which).flags.writeable = False
    with pytest.raises(ValueError, match=f"^SGD: 0.bias must be writeable, got a read-only {which}$"):
        SGD(nn.Sequential(layer), lr=0.1)


@pytest.mark.parametrize("grad", [np.ones(3, "f4"), np.ones((2, 1), "f4"), np.ones(2)])
def test_a_gradient_unlike_its_value_is_named(grad):
    """It may come from the state of a parameter."""
    weight = nn.Parameter(np.ones(2, "f4"))
    vars(weight)["grad"] = grad
    with pytest.raises(ValueError, match=r"^SGD: a must have a grad like its value, float32 \(2,\), got "):
        SGD({"a": weight}, lr=0.1)


def test_an_array_of_another_shape_or_dtype_stops_the_step():
    weight = nn.Parameter(np.ones(2, "f4"))
    optimizer = SGD({"a": weight}, lr=0.1)
    vars(weight).update(value=np.ones(3, "f4"), grad=np.ones(3, "f4"))
    with pytest.raises(ValueError, match=r"^SGD: a must stay float32 of shape .2,., got float32 of .3,.$"):
        optimizer.step()
    assert optimizer.steps == 0
