"""Bad input to every function, one argument at a time: a clear error, and nothing changed.

A `Function` names the kind of each of its arguments and makes a valid call; what can be wrong with a kind of
argument is written down once, in faults.py. A new function is a new row in `FUNCTIONS`.
"""

import inspect
import re
from functools import partial

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.faults import FAULTS, Function, some
from helpers.norm_functions import BACKWARD, NO_DIMENSIONS, NORM_FUNCTIONS, OVERLAPPING
from helpers.strategies import LAYOUTS

# Valid arguments: 4 samples of 3 values or channels.


def layer_norm_arguments():
    return {"x": some(4, 3), "gamma": some(3), "beta": some(3), "axis": -1, "eps": 1e-5, "out": some(4, 3)}


def layer_norm_backward_arguments():
    x = some(4, 3)
    _, mean, rstd = reference.layer_norm_forward(x)
    gradient = {"dy": some(4, 3), "x": x, "mean": mean, "rstd": rstd}
    return gradient | {"gamma": some(3), "axis": -1, "out": some(4, 3)}


def cross_entropy_arguments():
    options = {"label_smoothing": 0.1, "class_weight": some(3), "ignore_index": -1, "reduction": "mean"}
    return {"logits": some(4, 3), "labels": np.array([2, 0, -1, 1]), **options}


def batch_norm_arguments():
    statistics = {"mean": some(3), "var": some(3), "gamma": some(3), "beta": some(3), "axis": 1, "eps": 1e-5}
    return {"x": some(4, 3), **statistics, "activation": "relu", "residual": some(4, 3), "out": some(4, 3)}


def batch_norm_forward_arguments():
    parameters = {"gamma": some(3), "beta": some(3), "running_mean": some(3), "running_var": some(3)}
    averages = {"momentum": 0.1, "unbiased": True, "axis": 1, "eps": 1e-5, "activation": "relu"}
    more = {"residual": some(4, 3), "virtual_batch_size": 2, "out": some(4, 3)}
    return {"x": some(4, 3), **parameters, **averages, **more}


def batch_norm_backward_arguments():
    x = some(4, 3)
    y, mean, rstd = reference.batch_norm_forward(x, virtual_batch_size=2)
    gradient = {"dy": some(4, 3), "x": x, "mean": mean, "rstd": rstd, "gamma": some(3), "axis": 1}
    options = {"y": y.astype("f4"), "activation": "relu", "residual": True, "training": True}
    return {**gradient, **options, "virtual_batch_size": 2, "out": some(4, 3)}


def dropout_arguments(**more):
    return {"x": some(4, 3), "p": 0.3, "rng": 7, **more, "out": some(4, 3)}


def dropout_backward_arguments(**more):
    return {
        "dy": some(4, 3),
        "mask": np.array([0b01011010, 0b1100], np.uint8),
        "p": 0.3,
        **more,
        "out": some(4, 3),
    }


def add_dropout_arguments():
    return {"x": some(4, 3), "bias": some(3), "residual": some(4, 3), "p": 0.3, "rng": 7, "out": some(4, 3)}


LAYER_NORM = {
    "x": "array",
    "gamma": "parameter",
    "beta": "parameter",
    "axis": "axes",
    "eps": "eps",
    "out": "out",
}
FUSED = {"activation": "activation", "residual": "like it"}
DROP = {"x": "array", "p": "p", "rng": "chance"}
DROP_BACKWARD = {"dy": "array", "mask": "mask", "p": "p"}
SHARED = {"inverted": "flag", "shared_axes": "any axes"}
IN_ANY_WAY = {"inverted": False, "shared_axes": ()}
ONE_VALUE = "x must have more than one value per channel, got shape "


# One array stands for a list of one; faults of lists are in LISTS.
def sgd_update_arguments():
    arrays = {
        "params": some(4, 3, dtype="f2"),
        "grads": some(4, 3, dtype="f2"),
        "momentum_buffers": some(4, 3),
    }
    momentum = {"lr": 0.1, "momentum": 0.9, "dampening": 0.0, "nesterov": True}
    decay = {"weight_decay": 0.1, "l1": 0.1, "decoupled": True, "proximal": True}
    gradient = {"maximize": True, "grad_scale": 1.0, "first_step": False, "zero_grad": True}
    return (
        arrays
        | momentum
        | decay
        | gradient
        | {"masters": some(4, 3), "statistics": True, "skip_nonfinite": True}
    )


SGD_UPDATE = {
    "params": "in place",
    "grads": "in place like",
    "momentum_buffers": "in place like",
    **dict.fromkeys(["lr", "momentum", "dampening"], "non-negative"),
    "nesterov": "flag",
    **dict.fromkeys(["weight_decay", "l1"], "non-negative"),
    **dict.fromkeys(["decoupled", "proximal", "maximize"], "flag"),
    "grad_scale": "non-negative",
    "first_step": "first step",
    "zero_grad": "flag",
    "masters": "in place like",
    **dict.fromkeys(["statistics", "skip_nonfinite"], "flag"),
}
PLAIN = {"momentum_buffers": None, "momentum": 0.0, "nesterov": False, "masters": None}
MEMORY = np.ones(20, np.float32)


def lists(params, grads=None, **others):
    return PLAIN | {"params": params, "grads": grads or [some(3), some(3)]} | others


LISTS = (
    (lists([some(3), some(3), some(3)]), ValueError, "grads must have 3 arrays, got 2"),
    (lists([]), ValueError, "grads must have 0 arrays, got 2"),
    (lists([some(3), 5]), TypeError, "params[1] must be a numpy.ndarray, got int"),
    (lists([None, some(3)]), TypeError, "params[0] must be a numpy.ndarray, got NoneType"),
    (lists([some(3), [1.0]]), TypeError, "params[1] must be a numpy.ndarray, got list"),
    (
        lists([some(3), some(3, dtype="f8")]),
        TypeError,
        "params[1] must have dtype float32, got dtype float64",
    ),
    (
        lists([some(3), LAYOUTS["read-only"](some(3))]),
        ValueError,
        "params[1] must be writeable, got a read-only array",
    ),
    (lists([some(3), some(4)]), ValueError, "grads[1] must have shape (4,), got (3,)"),
    (
        lists([MEMORY[:3], MEMORY[2:5]]),
        ValueError,
        "params[1] must not overlap params[0], got overlapping arrays",
    ),
    (lists([MEMORY[:3]] * 2), ValueError, "params[1] must not overlap params[0], got overlapping arrays"),
    (
        lists([MEMORY[:3], MEMORY[4:7]], [MEMORY[9:12], MEMORY[6:9]]),
        ValueError,
        "grads[1] must not overlap params[1], got overlapping arrays",
    ),
    (
        lists([some(3), some(3)], masters=[some(3), some(3)]),
        TypeError,
        "masters must go with float16 or bfloat16 params, got params of dtype float32",
    ),
    (
        lists([some(3), some(4)], [some(3), some(4)], first_step=[True, 1]),
        TypeError,
        "first_step[1] must be a bool, got 1",
    ),
    (
        {"momentum_buffers": None},
        ValueError,
        "momentum must be 0 where there are no momentum_buffers, got 0.9",
    ),
    ({"momentum": 0.0}, ValueError, "nesterov must be False where momentum is 0, got True"),
)

FUNCTIONS = [
    Function("sgd_update", SGD_UPDATE, sgd_update_arguments, LISTS),
    Function(
        "clip_grad_norm",
        {"grads": "in place", "max_norm": "bound"},
        lambda: {"grads": some(4, 3), "max_norm": 1.0},
        (
            (
                {"grads": [MEMORY[:3]] * 2},
                ValueError,
                "grads[1] must not overlap grads[0], got overlapping arrays",
            ),
        ),
    ),
    Function(
        "penalty",
        {"params": "arrays", "l1": "non-negative", "l2": "non-negative"},
        lambda: {"params": some(4, 3), "l1": 0.3, "l2": 0.7},
        (({"params": [some(3), "a"]}, TypeError, "params[1] must be a float32, ... got 'a'"),),
    ),
    Function(
        "max_norm",
        {"w": "array", "limit": "non-negative", "axis": "axes", "out": "out"},
        lambda: {"w": some(4, 3), "limit": 2.0, "axis": 1, "out": some(4, 3)},
    ),
    *(
        Function(name, {"x": "array", "out": "out"}, lambda: {"x": some(4, 3), "out": some(4, 3)})
        for name in ("relu", "sigmoid", "tanh")
    ),
    *(
        Function(
            f"{name}_backward",
            {"dy": "array", "y": "required like it", "out": "out"},
            lambda: {"dy": some(4, 3), "y": some(4, 3), "out": some(4, 3)},
        )
        for name in ("relu", "sigmoid", "tanh")
    ),
    Function(
        "leaky_relu",
        {"x": "array", "negative_slope": "finite", "out": "out"},
        lambda: {"x": some(4, 3), "negative_slope": 0.1, "out": some(4, 3)},
    ),
    Function(
        "leaky_relu_backward",
        {"dy": "array", "x": "required like it", "negative_slope": "finite", "out": "out"},
        lambda: {"dy": some(4, 3), "x": some(4, 3), "negative_slope": 0.1, "out": some(4, 3)},
    ),
    Function(
        "softmax_cross_entropy",
        {
            "logits": "array",
            "labels": "labels",
            "label_smoothing": "momentum",
            "class_weight": "parameter",
            "ignore_index": "ignore index",
            "reduction": "reduction",
        },
        cross_entropy_arguments,
        (
            ({"logits": some(4)}, ValueError, "logits must have shape (N, K) with K >= 1, got (4,)"),
            ({"logits": some(4, 0)}, ValueError, "logits must have shape (N, K) with K >= 1, got (4, 0)"),
            (
                {"labels": some(4, 3)},
                ValueError,
                "ignore_index must be None where labels are probabilities, got -1",
            ),
        ),
    ),
    Function(
        "mse",
        {"pred": "array", "target": "required parameter", "reduction": "reduction"},
        lambda: {"pred": some(4, 3), "target": some(4, 3) + 1, "reduction": "sum"},
    ),
    Function(
        "huber",
        {"pred": "array", "target": "required parameter", "delta": "non-negative", "reduction": "reduction"},
        lambda: {"pred": some(4, 3), "target": some(4, 3) + 1, "delta": 0.5, "reduction": "none"},
    ),
    Function("layer_norm", LAYER_NORM, layer_norm_arguments, (NO_DIMENSIONS,)),
    Function("layer_norm_forward", LAYER_NORM, layer_norm_arguments, (NO_DIMENSIONS,)),
    Function("layer_norm_backward", BACKWARD | {"axis": "axes", "out": "out"}, layer_norm_backward_arguments),
    Function(
        "batch_norm",
        {
            "x": "array",
            "mean": "required parameter",
            "var": "required parameter",
            "gamma": "parameter",
            "beta": "parameter",
            "axis": "axis",
            "eps": "eps",
            **FUSED,
            "out": "out",
        },
        batch_norm_arguments,
        (NO_DIMENSIONS,),
    ),
    Function(
        "batch_norm_forward",
        {
            "x": "array",
            "gamma": "parameter",
            "beta": "parameter",
            "running_mean": "running",
            "running_var": "running",
            "momentum": "momentum",
            "unbiased": "flag",
            "axis": "axis",
            "eps": "eps",
            **FUSED,
            "virtual_batch_size": "virtual batch size",
            "out": "out",
        },
        batch_norm_forward_arguments,
        (
            NO_DIMENSIONS,
            ({"x": some(1, 3)}, ValueError, f"{ONE_VALUE}(1, 3)"),
            ({"x": some(0, 3)}, ValueError, f"{ONE_VALUE}(0, 3)"),
            ({"x": some(1, 3, 1, 1)}, ValueError, f"{ONE_VALUE}(1, 3, 1, 1)"),
            ({"x": some(4), "axis": 0}, ValueError, f"{ONE_VALUE}(4,)"),
            (
                {"running_mean": None},
                ValueError,
                "running_mean must be given together with running_var, got None",
            ),
            (
                {"running_var": None},
                ValueError,
                "running_var must be given together with running_mean, got None",
            ),
            (
                {"running_mean": OVERLAPPING[:3], "running_var": OVERLAPPING[1:]},
                ValueError,
                "running_var must not overlap running_mean, got ...",
            ),
        ),
    ),
    Function(
        "batch_norm_backward",
        {
            **BACKWARD,
            "axis": "axis",
            "y": "like it",
            "activation": "activation",
            "residual": "flag",
            "training": "flag",
            "virtual_batch_size": "virtual batch size",
            "out": "out",
        },
        batch_norm_backward_arguments,
        (({"y": None}, ValueError, "y must ... got None"),),
    ),
    *NORM_FUNCTIONS,
    Function(
        "dropout",
        {**DROP, **SHARED, "out": "out"},
        partial(dropout_arguments, **IN_ANY_WAY),
        specification=lambda **arguments: reference.dropout_forward(**arguments).y,
    ),
    Function("dropout_forward", {**DROP, **SHARED, "out": "out"}, partial(dropout_arguments, **IN_ANY_WAY)),
    Function(
        "dropout_backward",
        {**DROP_BACKWARD, **SHARED, "out": "out"},
        partial(dropout_backward_arguments, **IN_ANY_WAY),
        (({"shared_axes": 1}, ValueError, "mask must have shape (1,), got (2,)"),),
    ),
    Function(
        "dropout_mask",
        {"shape": "extents", "p": "p", "rng": "chance"},
        lambda: {"shape": (4, 3), "p": 0.3, "rng": 7},
    ),
    Function(
        "drop_path_forward",
        {**DROP, "inverted": "flag", "out": "out"},
        partial(dropout_arguments, inverted=True),
    ),
    Function(
        "drop_path_backward",
        {**DROP_BACKWARD, "inverted": "flag", "out": "out"},
        lambda: dropout_backward_arguments(inverted=True) | {"mask": np.array([0b1010], np.uint8)},
    ),
    Function(
        "add_dropout_forward",
        {"x": "array", "bias": "parameter", "residual": "required like it", **DROP, "out": "out"},
        add_dropout_arguments,
    ),
    Function("alpha_dropout_forward", {**DROP, "p": "p below 1", "out": "out"}, dropout_arguments),
    Function(
        "alpha_dropout_backward",
        {**DROP_BACKWARD, "p": "p below 1", "out": "out"},
        dropout_backward_arguments,
    ),
    Function("gaussian_dropout_forward", {**DROP, "p": "p below 1", "out": "out"}, dropout_arguments),
    Function(
        "gaussian_dropout_backward",
        {"dy": "array", "noise": "required like it", "out": "out"},
        lambda: {"dy": some(4, 3), "noise": some(4, 3), "out": some(4, 3)},
    ),
]


def cases():
    """(function, what differs from its valid arguments, error, text)"""
    for function in FUNCTIONS:
        for argument, kind in function.kinds.items():
            for number_of_fault, fault in enumerate(FAULTS[kind](function.valid()[argument])):
                label = f"{function.name}-{argument}-{number_of_fault}-{fault.error.__name__}"
                text = argument + (fault.text if fault.text[0] in "[." else f" {fault.text}")
                yield pytest.param(function, {argument: fault.value}, fault.error, text, id=label)
        for number_of_fault, fault in enumerate(function.own_faults):
            yield pytest.param(function, *fault, id=f"{function.name}-own-{number_of_fault}")


IN_PLACE = {"out", "running", "in place", "in place like"}


def memory_of(value):
    if isinstance(value, list):
        return [memory_of(item) for item in value]
    if not isinstance(value, np.ndarray) or value is np.ma.masked or value.dtype.hasobject:
        return None
    return value.tobytes()


def assert_refused(function, error, text, *arguments, **keywords):
    given = [*arguments, *keywords.values()]
    before = [memory_of(value) for value in given]
    pattern = re.escape(f"{function.name}: {text}").replace(re.escape("..."), ".*")
    with pytest.raises(error, match=f"(?s)^{pattern}$"):
        getattr(tt, function.name)(*arguments, **keywords)
    assert [memory_of(value) for value in given] == before, "an argument has been changed"


@pytest.mark.parametrize(("function", "changes", "error", "text"), [*cases()])
def test_bad_argument(function, changes, error, text):
    assert_refused(function, error, text, **function.valid() | changes)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_bad_call(function):
    valid = function.valid()
    signature = inspect.signature(getattr(tt, function.name)).parameters
    positional = [
        name for name, parameter in signature.items() if parameter.kind is not parameter.KEYWORD_ONLY
    ]
    first = positional[0]
    assert_refused(function, TypeError, "got an unexpected keyword argument 'foo'", **valid, foo=1)
    assert_refused(function, TypeError, "got an unexpected keyword argument 'γ'", **valid, γ=1)
    assert_refused(function, TypeError, f"got multiple values for argument '{first}'", valid[first], **valid)
    too_many = [valid[name] for name in positional] + [None]
    text = f"takes at most {len(positional)} positional arguments, got {len(too_many)}"
    assert_refused(function, TypeError, text, *too_many)
    assert_refused(function, TypeError, f"missing required argument '{first}'")
    for name, parameter in signature.items():
        if parameter.default is parameter.empty:
            others = {other: value for other, value in valid.items() if other != name}
            assert_refused(function, TypeError, f"missing required argument '{name}'", **others)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_every_argument_is_in_the_table(function):
    assert list(function.kinds) == list(inspect.signature(getattr(tt, function.name)).parameters)
    assert list(function.kinds) == list(function.valid())


def every_array(function):
    return [name for name, value in function.valid().items() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("function", "argument"),
    [
        pytest.param(function, argument, id=f"{function.name}-{argument}")
        for function in FUNCTIONS
        for argument in every_array(function)
        if function.kinds[argument] not in IN_PLACE
    ],
)
def test_odd_memory_of_one_argument(function, argument, layout):
    """Strided, misaligned, byte-swapped, read-only, broadcast: the right answer, and nothing changed."""
    arguments = function.valid()
    arguments[argument] = LAYOUTS[layout](arguments[argument])
    if layout == "broadcast" and argument == "rstd" and "mean" in arguments:
        arguments["mean"] = np.zeros_like(arguments["mean"])  # any pair will do
    before = {
        name: memory_of(arguments[name]) for name in every_array(function) if function.kinds[name] != "out"
    }
    without_out = {name: value for name, value in arguments.items() if name != "out"}
    copies = {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in without_out.items()}
    specification = function.specification or getattr(reference, function.name)
    expected = specification(**copies)
    result = getattr(tt, function.name)(**arguments)
    for got, value in zip(*(r if isinstance(r, tuple) else [r] for r in (result, expected)), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-4)
    for name, memory in before.items():
        assert function.kinds[name] == "running" or memory_of(arguments[name]) == memory, (
            f"{name} has been changed"
        )


@pytest.mark.parametrize(
    ("setter", "argument", "least"), [("set_num_threads", "n", 1), ("set_memory_cap", "bytes", 0)]
)
def test_bad_settings(setter, argument, least):
    function = Function(setter, {}, dict)
    for value in (least - 1, -(2**40), -(2**80), 2**80):
        assert_refused(function, ValueError, f"{argument} must ... got {value}", value)
    for value in (1.0, "2", None, True, [2], np.ones(2)):
        assert_refused(function, TypeError, f"{argument} must ... got ...", value)
    assert_refused(function, TypeError, f"missing required argument '{argument}'")
    assert_refused(function, TypeError, "takes at most 1 positional arguments, got 2", 1, 2)
