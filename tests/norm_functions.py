"""The arguments of the other norms and of batch norm's parts, for test_errors.py."""

import numpy as np
import reference
from faults import Function, some

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


def batch_norm_backward_sums_arguments():
    x = some(4, 3)
    _, mean, rstd = reference.batch_norm_forward(x)
    return {"dy": some(4, 3), "x": x, "mean": mean, "rstd": rstd, "axis": 1}


def batch_norm_backward_apply_arguments():
    gradient = batch_norm_backward_sums_arguments()
    axis = gradient.pop("axis")
    sums = {"sum_dy": some(3, dtype="f8"), "sum_dy_xhat": some(3, dtype="f8"), "count": 4}
    return {**gradient, "gamma": some(3), **sums, "axis": axis, "out": some(4, 3)}


NORM_FUNCTIONS = [
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
            ({"counts": [1, 2, -1, 4]}, ValueError, "counts[2] must be an int >= 0, got -1"),
            ({"counts": [1, 2.0, 1, 4]}, TypeError, "counts[1] must be an int >= 0, got 2.0"),
            ({"counts": [1, 2, 1, True]}, TypeError, "counts[3] must be an int >= 0, got True"),
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
            "count": "count",
            "axis": "axis",
            "out": "out",
        },
        batch_norm_backward_apply_arguments,
    ),
]
