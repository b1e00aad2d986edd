"""A call of every compiled function, large enough for several threads and for recycled memory."""

import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import trimtab as tt
from trimtab import _core

GEOMETRIES = {"columns": (600, 1000), "images": (8, 24, 60, 60), "few": (2, 6, 50_000)}
UPDATED = {"running_mean", "running_var", "running_std", "params", "momentum_buffers", "masters", "out"}
UPDATED |= {"exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs"}


class Call(NamedTuple):
    function: Callable
    arguments: dict

    def __call__(self):
        result = self.function(**self.arguments)
        return [result] if not isinstance(result, tuple) else list(result)

    def memory(self):
        """The bytes of all arrays and lists of arrays among the arguments."""
        arrays = [
            array
            for value in self.arguments.values()
            for array in (value if isinstance(value, list) else [value])
            if isinstance(array, np.ndarray)
        ]
        return [array.tobytes() for array in arrays]

    def bits(self):
        """The bytes of the results, and of the arguments after the call."""
        results = [np.asarray(result).tobytes() for result in self() if not hasattr(result, "capsule")]
        return results + self.memory()


def _numbers(shape, dtype, count):
    rng = np.random.default_rng(7)
    return [rng.uniform(0.5, 1.5, shape).astype(dtype) for _ in range(count)]


def _row_norms(shape, dtype) -> Iterator[Call]:
    dy, x, other = _numbers(shape, dtype, 3)
    gamma, beta = _numbers(shape[-1:], dtype, 2)
    _, mean, rstd = tt.layer_norm_forward(x)
    (root,) = tt.rms_norm_forward(x)[1:]
    both, weight = {"x": x, "gamma": gamma, "beta": beta}, {"x": x, "gamma": gamma}
    yield Call(tt.layer_norm, both)
    yield Call(tt.layer_norm_forward, both)
    yield Call(tt.layer_norm_backward, {"dy": dy, **weight, "mean": mean, "rstd": rstd})
    yield Call(tt.rms_norm, weight)
    yield Call(tt.rms_norm_forward, weight)
    yield Call(tt.rms_norm_backward, {"dy": dy, **weight, "rstd": root})
    yield Call(tt.add_layer_norm_forward, {"residual": other, **both})
    yield Call(tt.add_rms_norm_forward, {"residual": other, **weight})
    yield Call(tt.layer_norm, {"x": x, "axis": 0})  # in another memory order
    yield Call(tt.max_norm, {"w": x, "limit": 1.0, "axis": -1})


def _channel_norms(shape, dtype) -> Iterator[Call]:
    dy, x, other = _numbers(shape, dtype, 3)
    channels = shape[1:2]
    gamma, beta, running_mean, running_var = _numbers(channels, dtype, 4)
    y, mean, rstd = tt.batch_norm_forward(x, activation="relu", residual=other)
    parameters = {"x": x, "gamma": gamma, "beta": beta}
    fused = {"activation": "relu", "residual": other}
    running = {"running_mean": running_mean, "running_var": running_var}
    gradient = {"dy": dy, "x": x, "mean": mean, "rstd": rstd}
    yield Call(tt.batch_norm, {**parameters, "mean": mean, "var": rstd, **fused})
    yield Call(tt.batch_norm_forward, {**parameters, **running, **fused})
    yield Call(tt.batch_norm_forward, {**parameters, **running, "virtual_batch_size": 2})
    yield Call(
        tt.batch_norm_backward, {**gradient, "gamma": gamma, "activation": "relu", "y": y, "residual": True}
    )
    yield Call(tt.batch_moments, {"x": x})
    yield Call(tt.batch_norm_apply, {**parameters, "mean": mean, "rstd": rstd})
    yield Call(tt.batch_norm_backward_sums, gradient)
    sums = {"gamma": gamma, "sum_dy": mean, "sum_dy_xhat": rstd, "count": 100}
    yield Call(tt.batch_norm_backward_apply, {**gradient, **sums})
    running = {"running_mean": running_mean, "running_std": running_var}
    yield Call(tt.batch_renorm_forward, {**parameters, **running, "r_max": 2.0, "d_max": 1.0})
    limits = {"r": np.ones(channels), "d": np.zeros(channels)}
    yield Call(tt.batch_renorm_backward, {**gradient, **limits, "gamma": gamma})
    yield Call(tt.fold_batch_norm, {"weight": x, "bias": None, "mean": mean, "var": rstd, "axis": 1})
    for groups in (2, channels[0]):
        if groups * shape[0] == x.size:
            continue
        groupwise = {**parameters, "num_groups": groups}
        _, mean, rstd = tt.group_norm_forward(x, groups)
        yield Call(tt.group_norm, groupwise)
        yield Call(tt.group_norm_forward, groupwise)
        gradient = {"dy": dy, "x": x, "mean": mean, "rstd": rstd, "gamma": gamma}
        yield Call(tt.group_norm_backward, {**gradient, "num_groups": groups})
        if groups != 2:
            yield Call(tt.instance_norm, parameters)
            yield Call(tt.instance_norm_forward, parameters)
            yield Call(tt.instance_norm_backward, gradient)


def _dropouts(shape, dtype) -> Iterator[Call]:
    x, other = _numbers(shape, dtype, 2)
    (bias,) = _numbers(shape[-1:], dtype, 1)
    mask, few = tt.dropout_mask(shape, 0.3, rng=1), tt.dropout_mask(shape[0], 0.3, rng=1)
    chance = {"x": x, "p": 0.3, "rng": 3}
    yield Call(tt.dropout, chance)
    yield Call(tt.dropout_forward, {**chance, "shared_axes": -1})
    yield Call(tt.dropout_backward, {"dy": x, "mask": mask, "p": 0.3})
    yield Call(tt.dropout_apply, {"x": x, "mask": mask, "p": 0.3})
    yield Call(tt.dropout_mask, {"shape": shape, "p": 0.3, "rng": 3})
    yield Call(tt.drop_path_forward, chance)
    yield Call(tt.drop_path_backward, {"dy": x, "mask": few, "p": 0.3})
    yield Call(tt.alpha_dropout_forward, chance)
    yield Call(tt.alpha_dropout_backward, {"dy": x, "mask": mask, "p": 0.3})
    yield Call(tt.gaussian_dropout_forward, chance)
    yield Call(tt.gaussian_dropout_backward, {"dy": x, "noise": other})
    yield Call(tt.add_dropout_forward, {**chance, "bias": bias, "residual": other})


def _weights(shape, dtype) -> Iterator[Call]:
    w, g, v = ([*_numbers(shape, dtype, 1), *_numbers((5, 7), dtype, 30)] for _ in range(3))
    update = {"params": w, "grads": g, "momentum_buffers": v, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    yield Call(tt.sgd_update, update)
    yield Call(tt.sgd_update, {**update, "l1": 0.1, "statistics": True})
    m, squares, largest = ([np.abs(array) for array in group] for group in (w, v, v))
    update = {"params": w, "grads": g, "exp_avgs": m, "exp_avg_sqs": squares, "step": 2, "lr": 0.1}
    yield Call(tt.adam_update, {**update, "weight_decay": 0.1})
    yield Call(tt.adam_update, {**update, "max_exp_avg_sqs": largest, "l1": 0.1, "statistics": True})
    yield Call(tt.clip_grad_norm, {"grads": g, "max_norm": 1.0})
    yield Call(tt.penalty, {"params": w, "l1": 0.1, "l2": 0.1})


def _elementwise(shape, dtype) -> Iterator[Call]:
    dy, x, target = _numbers(shape, dtype, 3)
    for name in ("relu", "leaky_relu", "sigmoid", "tanh"):
        yield Call(getattr(tt, name), {"x": x})
        y = "x" if name == "leaky_relu" else "y"
        yield Call(getattr(tt, f"{name}_backward"), {"dy": dy, y: x})
    for name in ("gelu", "silu"):
        yield Call(getattr(tt, name), {"x": x})
        yield Call(getattr(tt, f"{name}_backward"), {"dy": dy, "x": x})
    for name, axis in (("softmax", -1), ("log_softmax", 0)):
        yield Call(getattr(tt, name), {"x": x, "axis": axis})
        yield Call(getattr(tt, f"{name}_backward"), {"dy": dy, "y": -x, "axis": axis})
    for reduction in ("mean", "none"):
        yield Call(tt.mse, {"pred": x, "target": target, "reduction": reduction})
        yield Call(tt.mae, {"pred": x, "target": target, "reduction": reduction})
        yield Call(tt.huber, {"pred": x, "target": target.astype(np.float64), "reduction": reduction})
    weight = np.arange(shape[0])
    yield Call(tt.mse, {"pred": x, "target": target, "sample_weight": weight})
    yield Call(tt.binary_cross_entropy, {"logits": x, "labels": target - target.min() > 0.5})
    many = {"sample_weight": weight, "pos_weight": np.ones(shape[-1])}
    yield Call(tt.binary_cross_entropy, {"logits": x, "labels": np.zeros(shape), **many})
    rows = x.reshape(shape[0], -1)
    labels = np.arange(shape[0])
    yield Call(tt.softmax_cross_entropy, {"logits": rows, "labels": labels})
    yield Call(tt.softmax_cross_entropy, {"logits": rows, "labels": target.reshape(rows.shape)})
    columns = {"labels": np.zeros(rows.shape[1], int), "sample_weight": np.ones(rows.shape[1])}
    yield Call(tt.softmax_cross_entropy, {"logits": rows, "axis": 0, **columns})


def _images(dtype) -> Iterator[Call]:
    (x,), (weight,) = _numbers((8, 30, 30, 16), dtype, 1), _numbers((1, 3, 3, 16, 24), dtype, 1)
    (dy,) = _numbers((8, 30, 30, 24), dtype, 1)
    plane = {"before": (1, 1), "stride": (1, 1)}
    layout = {"spacing": (1, 1), "output": (30, 30)}
    yield Call(_core.convolve, {"x": x, "weight": weight, "bias": None, **plane, **layout})
    yield Call(_core.convolve_weights, {"dy": dy, "x": x, "groups": 1, "kernel": (3, 3), **plane})
    pool = {"kernel": (2, 2), "before": (0, 0), "stride": (1, 1)}
    y = _core.max_pool(x, **pool, output=(29, 29))
    yield Call(_core.max_pool, {"x": x, **pool, "output": (29, 29)})
    yield Call(_core.max_pool_backward, {"dy": y, "x": x, "y": y, **pool})
    yield Call(_core.avg_pool, {"x": x, **pool, "output": (29, 29)})
    yield Call(_core.avg_pool_backward, {"dy": y, "image": (30, 30), **pool})
    yield Call(_core.transpose, {"x": x.reshape(8, 900, 16)})


def _moments() -> Iterator[Call]:
    means, variances = _numbers((5, 100_000), np.float64, 2)
    yield Call(tt.combine_moments, {"means": means, "vars": variances, "counts": [5, 4, 3, 2, 1]})


def every_call(dtype=np.float32) -> dict[str, Call]:
    """All calls by labels, which begin with the name of the function."""
    calls = [*_images(dtype), *_moments()]
    for geometry, shape in GEOMETRIES.items():
        families = [_row_norms, _channel_norms, _dropouts, _elementwise]
        for family in families if geometry != "columns" else [*families, _weights]:
            calls += family(shape, dtype)
    return {f"{call.function.__name__}-{number}": call for number, call in enumerate(calls)}


def with_copies(call: Call) -> Call:
    """The same call with copies of its arguments."""
    copied = {
        name: [np.copy(item) for item in value] if isinstance(value, list) and name != "counts" else value
        for name, value in call.arguments.items()
    }
    copied |= {name: value.copy() for name, value in copied.items() if isinstance(value, np.ndarray)}
    return Call(call.function, copied)


def takes_out(call: Call) -> bool:
    return "out" in inspect.signature(call.function).parameters
