"""The rows of the norms in functions.py, and of the parts of batch norm."""

import numpy as np
import reference
from helpers.faults import Function, some

BACKWARD = {
    "dy": "array",
    "x": "required like it",
    "mean": "statistic",
    "rstd": "statistic",
    "gamma": "parameter",
}
NO_DIMENSIONS = (
    {"x": np.float32(1.0)},
    np.exceptions.AxisError,
    "axis ... is out of bounds for an array of 0 dimensions",
)
OVERLAPPING = np.ones(4, np.float32)
ONE_VALUE = "x must have more than one value per channel, got shape "

LAYER_NORM = {
    "x": "array",
    "gamma": "parameter",
    "beta": "parameter",
    "axis": "axes",
    "eps": "eps",
    "out": "out",
}
FUSED = {"activation": "activation", "residual": "like it"}
RMS_NORM = {"x": "array", "gamma": "parameter", "axis": "axes", "eps": "eps", "out": "out"}
ADD_RMS_NORM = {
    "x": "array",
    "residual": "required like it",
    "gamma": "parameter",
    "axis": "axes",
    "eps": "eps",
}
ADD_LAYER_NORM = {
    "x": "array",
    "residual": "required like it",
    "gamma": "parameter",
    "beta": "parameter",
    "axis": "axes",
    "eps": "eps",
}


def layer_norm_arguments():
    return {"x": some(4, 3), "gamma": some(3), "beta": some(3), "axis": -1, "eps": 1e-5, "out": some(4, 3)}


def layer_norm_backward_arguments():
    x = some(4, 3)
    _, mean, rstd = reference.layer_norm_forward(x)
    gradient = {"dy": some(4, 3), "x": x, "mean": mean, "rstd": rstd}
    return gradient | {"gamma": some(3), "axis": -1, "out": some(4, 3)}


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


def rms_norm_arguments():
    return {"x": some(4, 3), "gamma": some(3), "axis": -1, "eps": 1e-5, "out": some(4, 3)}


def rms_norm_backward_arguments():
    x = some(4, 3)
    gradient = {"dy": some(4, 3), "x": x, "rstd": reference.rms_norm_forward(x).rstd}
    return gradient | {"gamma": some(3), "axis": -1, "out": some(4, 3)}


def add_norm_arguments(**more):
    return {"x": some(4, 3), "residual": some(4, 3), "gamma": some(3), **more, "axis": -1, "eps": 1e-5}


def batch_norm_backward_sums_arguments():
    x = some(4, 3)
    _, mean, rstd = reference.batch_norm_forward(x)
    return {"dy": some(4, 3), "x": x, "mean": mean, "rstd": rstd, "axis": 1}


def batch_norm_backward_apply_arguments():
    gradient = batch_norm_backward_sums_arguments()
    axis = gradient.pop("axis")
    sums = {"sum_dy": some(3, dtype="f8"), "sum_dy_xhat": some(3, dtype="f8"), "count": 4}
    return {**gradient, "gamma": some(3), **sums, "axis": axis, "out": some(4, 3)}


GROUP_NORM = {
    "x": "array",
    "num_groups": "groups",
    "gamma": "parameter",
    "beta": "parameter",
    "axis": "axis",
    "eps": "eps",
    "out": "out",
}
INSTANCE_NORM = {
    name: "axis of 3" if name == "axis" else kind for name, kind in GROUP_NORM.items() if name != "num_groups"
}
NOT_THE_SAMPLES = (({"axis": 0}, ValueError, "axis must not be that of the samples, got 0"),)


def group_norm_arguments():
    parameters = {"gamma": some(6), "beta": some(6), "axis": 1, "eps": 1e-5}
    return {"x": some(4, 6), "num_groups": 2, **parameters, "out": some(4, 6)}


def instance_norm_arguments():
    parameters = {"gamma": some(3), "beta": some(3), "axis": 1, "eps": 1e-5}
    return {"x": some(4, 3, 2), **parameters, "out": some(4, 3, 2)}


def norm_backward_arguments(forward, arguments):
    """The arguments of a backward pass from those of its forward pass."""
    given = {name: value for name, value in arguments().items() if name not in ("beta", "eps")}
    x, out = given.pop("x"), given.pop("out")
    _, mean, rstd = forward(x, **given)
    return {"dy": some(*x.shape), "x": x, "mean": mean, "rstd": rstd, **given, "out": out}


def batch_renorm_forward_arguments():
    statistics = {"running_mean": some(3), "running_std": some(3), "r_max": 3.0, "d_max": 5.0}
    options = {"momentum": 0.1, "axis": 1, "eps": 1e-5, "out": some(4, 3)}
    return {"x": some(4, 3), "gamma": some(3), "beta": some(3), **statistics, **options}


def batch_renorm_backward_arguments():
    gradient = batch_norm_backward_sums_arguments()
    axis = gradient.pop("axis")
    corrections = {"r": some(3, dtype="f8"), "d": some(3, dtype="f8"), "gamma": some(3)}
    return {**gradient, **corrections, "axis": axis, "out": some(4, 3)}


def fold_batch_norm_arguments():
    statistics = {"mean": some(3), "var": some(3), "gamma": some(3), "beta": some(3)}
    return {"weight": some(3, 4), "bias": some(3), **statistics, "eps": 1e-5, "axis": 0}


NORM_FUNCTIONS = [
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
    Function("rms_norm", RMS_NORM, rms_norm_arguments, (NO_DIMENSIONS,)),
    Function("rms_norm_forward", RMS_NORM, rms_norm_arguments, (NO_DIMENSIONS,)),
    Function(
        "rms_norm_backward",
        {name: kind for name, kind in BACKWARD.items() if name != "mean"} | {"axis": "axes", "out": "out"},
        rms_norm_backward_arguments,
    ),
    Function("add_rms_norm_forward", ADD_RMS_NORM, add_norm_arguments),
    Function("add_layer_norm_forward", ADD_LAYER_NORM, lambda: add_norm_arguments(beta=some(3))),
    Function("batch_moments", {"x": "array", "axis": "axis"}, lambda: {"x": some(4, 3), "axis": 1}),
    Function(
        "combine_moments",
        {"means": "statistics", "vars": "statistic", "counts": "counts"},
        lambda: {"means": some(4, 3, dtype="f8"), "vars": some(4, 3, dtype="f8"), "counts": [3, 0, 5, 1]},
        (
            (
                {"means": np.ones(())},
                ValueError,
                "means must have the parts along its first axis, got shape ()",
            ),
            ({"counts": [2**62] * 4}, ValueError, "counts must add up to less than 2**63, got ..."),
        ),
    ),
    Function(
        "batch_norm_apply",
        {
            "x": "array",
            "mean": "statistic",
            "rstd": "statistic",
            "gamma": "parameter",
            "beta": "parameter",
            "axis": "axis",
            "out": "out",
        },
        lambda: {
            "x": some(4, 3),
            "mean": some(3, dtype="f8"),
            "rstd": some(3, dtype="f8"),
            "gamma": some(3),
            "beta": some(3),
            "axis": 1,
            "out": some(4, 3),
        },
        (NO_DIMENSIONS,),
    ),
    Function(
        "batch_norm_backward_sums",
        {name: kind for name, kind in BACKWARD.items() if name != "gamma"} | {"axis": "axis"},
        batch_norm_backward_sums_arguments,
    ),
    Function(
        "batch_norm_backward_apply",
        {
            **BACKWARD,
            "sum_dy": "statistic",
            "sum_dy_xhat": "statistic",
            "count": "at least 1",
            "axis": "axis",
            "out": "out",
        },
        batch_norm_backward_apply_arguments,
    ),
    *(
        Function(
            name,
            GROUP_NORM,
            group_norm_arguments,
            (
                NO_DIMENSIONS,
                *NOT_THE_SAMPLES,
            ),
        )
        for name in ("group_norm", "group_norm_forward")
    ),
    Function(
        "group_norm_backward",
        {
            **{name: kind for name, kind in BACKWARD.items() if name != "gamma"},
            "num_groups": "groups",
            "gamma": "parameter",
            "axis": "axis",
            "out": "out",
        },
        lambda: norm_backward_arguments(reference.group_norm_forward, group_norm_arguments),
        NOT_THE_SAMPLES,
    ),
    *(
        Function(
            name,
            INSTANCE_NORM,
            instance_norm_arguments,
            (
                NO_DIMENSIONS,
                *NOT_THE_SAMPLES,
            ),
        )
        for name in ("instance_norm", "instance_norm_forward")
    ),
    Function(
        "instance_norm_backward",
        BACKWARD | {"axis": "axis of 3", "out": "out"},
        lambda: norm_backward_arguments(reference.instance_norm_forward, instance_norm_arguments),
        NOT_THE_SAMPLES,
    ),
    Function(
        "batch_renorm_forward",
        {
            "x": "array",
            "gamma": "parameter",
            "beta": "parameter",
            "running_mean": "running",
            "running_std": "running",
            "r_max": "at least 1",
            "d_max": "bound",
            "momentum": "momentum",
            "axis": "axis",
            "eps": "eps",
            "out": "out",
        },
        batch_renorm_forward_arguments,
        (
            NO_DIMENSIONS,
            ({"x": some(1, 3)}, ValueError, "x must have more than one value per channel, got shape (1, 3)"),
            ({"running_mean": None}, TypeError, "running_mean must be a numpy.ndarray, got NoneType"),
            ({"running_std": None}, TypeError, "running_std must be a numpy.ndarray, got NoneType"),
            (
                {"running_mean": OVERLAPPING[:3], "running_std": OVERLAPPING[1:]},
                ValueError,
                "running_std must not overlap running_mean, got ...",
            ),
        ),
    ),
    Function(
        "batch_renorm_backward",
        {
            **{name: kind for name, kind in BACKWARD.items() if name != "gamma"},
            "r": "statistic",
            "d": "statistic",
            "gamma": "parameter",
            "axis": "axis",
            "out": "out",
        },
        batch_renorm_backward_arguments,
    ),
    Function(
        "fold_batch_norm",
        {
            "weight": "array",
            "bias": "parameter",
            "mean": "required parameter",
            "var": "required parameter",
            "gamma": "parameter",
            "beta": "parameter",
            "eps": "eps",
            "axis": "axis",
        },
        fold_batch_norm_arguments,
        (
            (
                {"weight": np.float32(1.0)},
                np.exceptions.AxisError,
                "axis ... is out of bounds for an array of 0 dimensions",
            ),
            ({"weight": some(5, 4)}, ValueError, "bias must have shape (5,), got (3,)"),
            ({"axis": 1}, ValueError, "bias must have shape (4,), got (3,)"),
        ),
    ),
]
