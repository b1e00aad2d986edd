"""A row for each function of the library: the kind of each argument, a valid call, and faults of its own.

What can be wrong with a kind of argument is in faults.py. Valid arguments have 4 samples of 3 values.
"""

from functools import partial

import numpy as np
import reference
from helpers.faults import Function, some
from helpers.norm_functions import NORM_FUNCTIONS
from helpers.strategies import LAYOUTS

DROP = {"x": "array", "p": "p", "rng": "chance"}
DROP_BACKWARD = {"dy": "array", "mask": "mask", "p": "p"}
SHARED = {"inverted": "flag", "shared_axes": "any axes"}
IN_ANY_WAY = {"inverted": False, "shared_axes": ()}


def cross_entropy_arguments():
    weights = {"class_weight": some(3), "sample_weight": some(4)}
    options = {"axis": 1, "label_smoothing": 0.1, **weights, "ignore_index": -1, "reduction": "mean"}
    return {"logits": some(4, 3), "labels": np.array([2, 0, -1, 1]), **options}


def binary_cross_entropy_arguments():
    options = {"label_smoothing": 0.1, "pos_weight": some(3), "sample_weight": some(4), "reduction": "mean"}
    return {"logits": some(4, 3), "labels": np.eye(4, 3, dtype=np.float32), **options}


def dropout_arguments(**more):
    return {"x": some(4, 3), "p": 0.3, "rng": 7, **more, "out": some(4, 3)}


MASK = np.array([0b01011010, 0b1100], np.uint8)


def dropout_backward_arguments(**more):
    return {
        "dy": some(4, 3),
        "mask": MASK.copy(),
        "p": 0.3,
        **more,
        "out": some(4, 3),
    }


def add_dropout_arguments():
    return {"x": some(4, 3), "bias": some(3), "residual": some(4, 3), "p": 0.3, "rng": 7, "out": some(4, 3)}


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


def adam_update_arguments():
    arrays = {"params": some(4, 3, dtype="f2"), "grads": some(4, 3, dtype="f2")}
    arrays |= {"exp_avgs": some(4, 3), "exp_avg_sqs": some(4, 3)}
    rates = {"step": 2, "lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8}
    decay = {"weight_decay": 0.1, "l1": 0.1, "decoupled": True, "proximal": True}
    gradient = {"max_exp_avg_sqs": some(4, 3), "maximize": True, "grad_scale": 1.0, "zero_grad": True}
    return (
        arrays
        | rates
        | decay
        | gradient
        | {"masters": some(4, 3), "statistics": True, "skip_nonfinite": True}
    )


ADAM_UPDATE = {
    "params": "in place",
    "grads": "in place like",
    **dict.fromkeys(["exp_avgs", "exp_avg_sqs"], "required in place like"),
    "step": "step",
    "lr": "non-negative",
    "betas": "betas",
    **dict.fromkeys(["eps", "weight_decay", "l1"], "non-negative"),
    **dict.fromkeys(["decoupled", "proximal"], "flag"),
    "max_exp_avg_sqs": "in place like",
    "maximize": "flag",
    "grad_scale": "non-negative",
    "zero_grad": "flag",
    "masters": "in place like",
    **dict.fromkeys(["statistics", "skip_nonfinite"], "flag"),
}
ADAM_LISTS = (
    ({"exp_avgs": [some(4, 3)] * 2}, ValueError, "exp_avgs must have 1 arrays, got 2"),
    (
        {"exp_avg_sqs": [some(4)], "params": [some(4)], "grads": [some(4)], "exp_avgs": [None]},
        TypeError,
        "exp_avgs[0] must be a numpy.ndarray, got NoneType",
    ),
    (
        {"masters": None},
        TypeError,
        "exp_avgs must have dtype float16, got dtype float32",
    ),
)
PLAIN = {"momentum_buffers": None, "momentum": 0.0, "nesterov": False, "masters": None}
MEMORY = np.ones(20, np.float32)


def lists(params, grads=None, **others):
    return PLAIN | {"params": params, "grads": grads or [some(3), some(3)]} | others


# A single array is a list of one.
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
    Function("adam_update", ADAM_UPDATE, adam_update_arguments, ADAM_LISTS),
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
        for name in ("relu", "sigmoid", "tanh", "silu")
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
        "silu_backward",
        {"dy": "array", "x": "required like it", "out": "out"},
        lambda: {"dy": some(4, 3), "x": some(4, 3), "out": some(4, 3)},
    ),
    Function(
        "gelu",
        {"x": "array", "approximate": "flag", "out": "out"},
        lambda: {"x": some(4, 3), "approximate": True, "out": some(4, 3)},
    ),
    Function(
        "gelu_backward",
        {"dy": "array", "x": "required like it", "approximate": "flag", "out": "out"},
        lambda: {"dy": some(4, 3), "x": some(4, 3), "approximate": False, "out": some(4, 3)},
    ),
    *(
        Function(
            name,
            {"x": "array", "axis": "axes", "out": "out"},
            lambda: {"x": some(4, 3), "axis": 0, "out": some(4, 3)},
        )
        for name in ("softmax", "log_softmax")
    ),
    *(
        Function(
            f"{name}_backward",
            {"dy": "array", "y": "required like it", "axis": "axes", "out": "out"},
            lambda: {"dy": some(4, 3), "y": -some(4, 3), "axis": 1, "out": some(4, 3)},
        )
        for name in ("softmax", "log_softmax")
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
            "axis": "axis",
            "label_smoothing": "momentum",
            "class_weight": "factors",
            "sample_weight": "factors of samples",
            "ignore_index": "ignore index",
            "reduction": "reduction",
        },
        cross_entropy_arguments,
        (
            ({"logits": some(4, 0)}, ValueError, "logits must have at least one class, got (4, 0)"),
            ({"axis": (0, 1)}, TypeError, "axis must be an int, got (0, 1)"),
            (
                {"labels": some(4, 3)},
                ValueError,
                "ignore_index must be None where labels are probabilities, got -1",
            ),
        ),
    ),
    Function(
        "binary_cross_entropy",
        {
            "logits": "array",
            "labels": "required parameter",
            "label_smoothing": "momentum",
            "pos_weight": "factors or one",
            "sample_weight": "factors of samples",
            "reduction": "reduction",
        },
        binary_cross_entropy_arguments,
        (
            ({"labels": some(4, 3)}, ValueError, "labels must be between 0 and 1, got 1..."),
            ({"labels": -np.eye(4, 3)}, ValueError, "labels must be between 0 and 1, got -1.0"),
        ),
    ),
    *(
        Function(
            name,
            {
                "pred": "array",
                "target": "required parameter",
                "sample_weight": "factors of samples",
                "reduction": "reduction",
            },
            lambda reduction=reduction: {
                "pred": some(4, 3),
                "target": some(4, 3) + 1,
                "sample_weight": some(4),
                "reduction": reduction,
            },
        )
        for name, reduction in (("mse", "sum"), ("mae", "mean"))
    ),
    Function(
        "huber",
        {
            "pred": "array",
            "target": "required parameter",
            "delta": "non-negative",
            "sample_weight": "factors of samples",
            "reduction": "reduction",
        },
        lambda: {
            "pred": some(4, 3),
            "target": some(4, 3) + 1,
            "delta": 0.5,
            "sample_weight": some(4),
            "reduction": "none",
        },
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
        "dropout_apply",
        {"x": "array", "mask": DROP_BACKWARD["mask"], "p": "p", **SHARED, "out": "out"},
        lambda: {"x": some(4, 3), "mask": MASK.copy(), "p": 0.3, **IN_ANY_WAY, "out": some(4, 3)},
        (({"shared_axes": 1}, ValueError, "mask must have shape (1,), got (2,)"),),
        specification=reference.dropout,
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

LISTED = {"in place", "in place like", "required in place like"}  # arrays of a list may not overlap
IN_PLACE = {"out", "running"} | LISTED  # kinds of arguments that are written to


def every_array(function):
    return [name for name, value in function.valid().items() if isinstance(value, np.ndarray)]
