"""Who is measured: the same operations in every library that is installed.

A library is a table from operations to functions that prepare a call: ``table[op](inputs)()`` runs the
operation. What a forward pass saves for its backward is prepared, not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

import trimtab as tt
from trimtab._typing import Array
from trimtab.bench.cases import Inputs

Call: TypeAlias = Callable[[], Any]
Table: TypeAlias = dict[str, Callable[[Inputs], Call]]

# Of the update of weights; the rate is low, so that many updates stay near the start. The clipped one bounds
# the norm of the gradients, sums over weights for their penalties and leaves zeros in the gradients.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, GRAD_NORM = 1e-3, 0.9, 0.01, 1.0


def trimtab_table() -> Table:
    """Our kernels."""

    def layer_norm_backward(i: Inputs) -> Call:
        _, mean, rstd = tt.layer_norm_forward(i.x, i.gamma, i.beta, eps=i.eps)
        return partial(tt.layer_norm_backward, i.dy, i.x, mean, rstd, i.gamma)

    def batch_norm_backward(i: Inputs) -> Call:
        _, mean, rstd = tt.batch_norm_forward(i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        return partial(tt.batch_norm_backward, i.dy, i.x, mean, rstd, i.gamma, axis=i.axis)

    def batch_norm_forward(i: Inputs) -> Call:
        mean, var = i.mean.copy(), i.var.copy()
        return partial(
            tt.batch_norm_forward,
            i.x,
            i.gamma,
            i.beta,
            running_mean=mean,
            running_var=var,
            axis=i.axis,
            eps=i.eps,
        )

    def batch_norm_residual_relu(i: Inputs) -> Call:
        options: Any = {"axis": i.axis, "eps": i.eps, "activation": "relu", "residual": i.residual}
        return partial(tt.batch_norm_forward, i.x, i.gamma, i.beta, **options)

    def batch_norm_residual_relu_backward(i: Inputs) -> Call:
        _, mean, rstd = tt.batch_norm_forward(i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        options: Any = {"axis": i.axis, "activation": "relu", "y": i.residual, "residual": True}
        return partial(tt.batch_norm_backward, i.dy, i.x, mean, rstd, i.gamma, **options)

    def group_norm_backward(i: Inputs) -> Call:
        _, mean, rstd = tt.group_norm_forward(i.x, i.groups, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        return partial(tt.group_norm_backward, i.dy, i.x, mean, rstd, i.groups, i.gamma, axis=i.axis)

    def instance_norm_backward(i: Inputs) -> Call:
        _, mean, rstd = tt.instance_norm_forward(i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        return partial(tt.instance_norm_backward, i.dy, i.x, mean, rstd, i.gamma, axis=i.axis)

    def dropout_backward(i: Inputs) -> Call:
        return partial(tt.dropout_backward, i.dy, np.packbits(i.keep(), bitorder="little"), i.p)

    def sgd_update(i: Inputs) -> Call:
        w, g, v = i.weights()

        updated = (*w, *v)

        def call() -> tuple[Array, ...]:
            tt.sgd_update(w, g, v, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
            return updated

        return call

    def sgd_update_clipped(i: Inputs) -> Call:
        w, g, v = i.weights()
        updated = (*w, *v)

        def call() -> tuple[Any, ...]:
            norm = tt.clip_grad_norm(g, np.inf)
            sums = tt.sgd_update(
                w,
                g,
                v,
                lr=LEARNING_RATE,
                momentum=MOMENTUM,
                weight_decay=WEIGHT_DECAY,
                grad_scale=GRAD_NORM / max(norm, GRAD_NORM),
                zero_grad=True,
                statistics=True,
            )
            return sums, norm, *updated

        return call

    return {
        "sgd_update": sgd_update,
        "sgd_update_clipped": sgd_update_clipped,
        "sigmoid": lambda i: partial(tt.sigmoid, i.x),
        "tanh": lambda i: partial(tt.tanh, i.x),
        "max_norm": lambda i: partial(tt.max_norm, i.x, i.limit(), axis=-1),
        "dropout_forward": lambda i: partial(tt.dropout_forward, i.x, i.p, rng=np.random.default_rng(2)),
        "dropout_backward": dropout_backward,
        "layer_norm": lambda i: partial(tt.layer_norm, i.x, i.gamma, i.beta, eps=i.eps),
        "layer_norm_backward": layer_norm_backward,
        "batch_norm_forward": batch_norm_forward,
        "batch_norm_backward": batch_norm_backward,
        "batch_norm": lambda i: partial(
            tt.batch_norm, i.x, i.mean, i.var, i.gamma, i.beta, axis=i.axis, eps=i.eps
        ),
        "batch_norm_residual_relu": batch_norm_residual_relu,
        "batch_norm_residual_relu_backward": batch_norm_residual_relu_backward,
        "group_norm": lambda i: partial(
            tt.group_norm, i.x, i.groups, i.gamma, i.beta, axis=i.axis, eps=i.eps
        ),
        "group_norm_backward": group_norm_backward,
        "instance_norm": lambda i: partial(tt.instance_norm, i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps),
        "instance_norm_backward": instance_norm_backward,
    }


def numpy_table() -> Table:
    """NumPy as a person would write it; on float64 inputs, what all results are checked against."""

    def layout(i: Inputs, over_channels: bool) -> tuple[tuple[int, ...], Array, Array]:
        """The axes of the statistics, and gamma and beta in a shape that broadcasts."""
        channel = range(i.x.ndim)[i.axis]
        axes = (channel,) if over_channels else tuple(axis for axis in range(i.x.ndim) if axis != channel)
        shape = tuple(size if axis == channel else 1 for axis, size in enumerate(i.x.shape))
        return axes, i.gamma.reshape(shape), i.beta.reshape(shape)

    def normalize(i: Inputs, over_channels: bool) -> Call:
        axes, gamma, beta = layout(i, over_channels)

        def call() -> Array:
            centred = i.x - i.x.mean(axis=axes, keepdims=True)
            var = np.square(centred).mean(axis=axes, keepdims=True)
            y: Array = centred / np.sqrt(var + i.eps) * gamma + beta
            return y

        return call

    def backward(i: Inputs, over_channels: bool) -> Call:
        axes, gamma, _ = layout(i, over_channels)
        others = tuple(axis for axis in range(i.x.ndim) if axis != range(i.x.ndim)[i.axis])
        mean = i.x.mean(axis=axes, keepdims=True)
        rstd = 1 / np.sqrt(i.x.var(axis=axes, keepdims=True) + i.eps)

        def call() -> tuple[Array, Array, Array]:
            xhat = (i.x - mean) * rstd
            h = i.dy * gamma
            inner = (h * xhat).mean(axis=axes, keepdims=True)
            dx = rstd * (h - h.mean(axis=axes, keepdims=True) - xhat * inner)
            return dx, (i.dy * xhat).sum(axis=others), i.dy.sum(axis=others)

        return call

    def residual_relu(i: Inputs) -> Call:
        normalized = normalize(i, over_channels=False)
        return lambda: np.maximum(normalized() + i.residual, 0)

    def residual_relu_backward(i: Inputs) -> Call:
        def call() -> tuple[Array, ...]:
            g = i.dy * (i.residual > 0)
            return *backward(replace(i, dy=g), over_channels=False)(), g

        return call

    def in_groups(i: Inputs, array: Array) -> Array:
        """(samples, groups, values), each channel's in one piece."""
        return np.moveaxis(array, i.axis, 1).reshape(len(array), i.groups, -1)

    def of_groups(i: Inputs, grouped: Array) -> Array:
        """The inverse."""
        return np.moveaxis(grouped.reshape(np.moveaxis(i.x, i.axis, 1).shape), 1, i.axis)

    def group_norm(i: Inputs) -> Call:
        _, gamma, beta = layout(i, over_channels=False)

        def call() -> Array:
            x = in_groups(i, i.x)
            centred = x - x.mean(axis=2, keepdims=True)
            var = np.square(centred).mean(axis=2, keepdims=True)
            y: Array = of_groups(i, centred / np.sqrt(var + i.eps)) * gamma + beta
            return y

        return call

    def group_norm_backward(i: Inputs) -> Call:
        axes, gamma, _ = layout(i, over_channels=False)
        x = in_groups(i, i.x)
        mean, rstd = x.mean(axis=2, keepdims=True), 1 / np.sqrt(x.var(axis=2, keepdims=True) + i.eps)

        def call() -> tuple[Array, Array, Array]:
            xhat, h = (in_groups(i, i.x) - mean) * rstd, in_groups(i, i.dy * gamma)
            inner = (h * xhat).mean(axis=2, keepdims=True)
            dx = rstd * (h - h.mean(axis=2, keepdims=True) - xhat * inner)
            return of_groups(i, dx), (i.dy * of_groups(i, xhat)).sum(axis=axes), i.dy.sum(axis=axes)

        return call

    def inference(i: Inputs) -> Call:
        _, gamma, beta = layout(i, over_channels=False)
        mean, var = i.mean.reshape(gamma.shape), i.var.reshape(gamma.shape)
        return lambda: (i.x - mean) * (gamma / np.sqrt(var + i.eps)) + beta

    def dropout_forward(i: Inputs) -> Call:
        rng = np.random.default_rng(3)

        def call() -> Array:
            keep = rng.random(i.x.shape, np.float32) >= i.p
            y: Array = i.x * keep * i.x.dtype.type(1 / (1 - i.p))
            return y

        return call

    def dropout_backward(i: Inputs) -> Call:
        keep = i.keep()
        return lambda: i.dy * keep * i.dy.dtype.type(1 / (1 - i.p))

    def update(all_w: list[Array], all_g: list[Array], all_v: list[Array], spare: list[Array]) -> None:
        for w, g, v, s in zip(all_w, all_g, all_v, spare, strict=True):
            np.multiply(v, MOMENTUM, out=v)
            np.add(v, g, out=v)
            np.multiply(w, WEIGHT_DECAY, out=s)
            np.add(v, s, out=v)
            np.multiply(v, LEARNING_RATE, out=s)
            np.subtract(w, s, out=w)

    def sgd_update(i: Inputs) -> Call:
        w, g, v = i.weights()
        spare, updated = [np.empty_like(array) for array in w], (*w, *v)

        def call() -> tuple[Array, ...]:
            update(w, g, v, spare)
            return updated

        return call

    def sgd_update_clipped(i: Inputs) -> Call:
        w, g, v = i.weights()
        spare, updated = [np.empty_like(array) for array in w], (*w, *v)

        def call() -> tuple[Any, ...]:
            l1_norm = sum(np.abs(array).sum() for array in w)
            l2_norm_sq = sum(np.vdot(array, array) for array in w)
            norm = np.sqrt(sum(np.vdot(array, array) for array in g))
            for array in g:
                array *= GRAD_NORM / max(norm, GRAD_NORM)
            update(w, g, v, spare)
            for array in g:
                array.fill(0)
            return (l1_norm, l2_norm_sq, min(norm, GRAD_NORM)), norm, *updated

        return call

    def max_norm(i: Inputs) -> Call:
        limit = i.limit()

        def call() -> Array:
            length = np.sqrt(np.square(i.x).sum(axis=-1, keepdims=True))
            w: Array = i.x * np.minimum(1, limit / length)
            return w

        return call

    return {
        "sgd_update": sgd_update,
        "sgd_update_clipped": sgd_update_clipped,
        "sigmoid": lambda i: lambda: 1 / (1 + np.exp(-i.x)),
        "tanh": lambda i: partial(np.tanh, i.x),
        "max_norm": max_norm,
        "dropout_forward": dropout_forward,
        "dropout_backward": dropout_backward,
        "layer_norm": partial(normalize, over_channels=True),
        "layer_norm_backward": partial(backward, over_channels=True),
        "batch_norm_forward": partial(normalize, over_channels=False),
        "batch_norm_backward": partial(backward, over_channels=False),
        "batch_norm": inference,
        "batch_norm_residual_relu": residual_relu,
        "batch_norm_residual_relu_backward": residual_relu_backward,
        "group_norm": group_norm,
        "group_norm_backward": group_norm_backward,
        "instance_norm": group_norm,
        "instance_norm_backward": group_norm_backward,
    }


def torch_table(compiled: bool) -> Table:
    """PyTorch, called eagerly or through ``torch.compile``. Its channel axis is always 1."""
    import torch  # type: ignore[import-not-found,unused-ignore]
    from torch.optim.sgd import sgd  # type: ignore[import-not-found,unused-ignore]

    aten = torch.ops.aten
    translate: Callable[[Any], Any] = partial(torch.compile, dynamic=False) if compiled else lambda f: f
    step: Any = partial(
        sgd,
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        fused=not compiled,
        foreach=compiled,
    )

    def tensors(i: Inputs) -> tuple[Any, ...]:
        images = (torch.from_numpy(array).movedim(i.axis, 1) for array in (i.x, i.dy))
        return (*images, *map(torch.from_numpy, (i.gamma, i.beta, i.mean.copy(), i.var.copy())))

    def layer_norm(i: Inputs) -> Call:
        x, _, gamma, beta, _, _ = tensors(i)
        run = translate(torch.nn.functional.layer_norm)
        return lambda: run(x, x.shape[1:], gamma, beta, i.eps)

    def layer_norm_backward(i: Inputs) -> Call:
        x, dy, gamma, beta, _, _ = tensors(i)
        _, mean, rstd = aten.native_layer_norm(x, x.shape[1:], gamma, beta, i.eps)
        run = translate(lambda *a: aten.native_layer_norm_backward(*a, [True, True, True]))
        return lambda: run(dy, x, x.shape[1:], mean, rstd, gamma, beta)

    def batch_norm(i: Inputs, training: bool) -> Call:
        x, _, gamma, beta, mean, var = tensors(i)
        run = translate(torch.nn.functional.batch_norm)
        return lambda: run(x, mean, var, gamma, beta, training, 0.1, i.eps).movedim(1, i.axis)

    def batch_norm_backward(i: Inputs) -> Call:
        x, dy, gamma, beta, mean, var = tensors(i)
        _, *saved = aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, i.eps)
        run = translate(lambda *a: aten.native_batch_norm_backward(*a, True, i.eps, [True, True, True]))

        def call() -> tuple[Any, ...]:
            dx, *gradients = run(dy, x, gamma, mean, var, *saved)
            return dx.movedim(1, i.axis), *gradients

        return call

    def batch_norm_residual_relu(i: Inputs) -> Call:
        x, _, gamma, beta, mean, var = tensors(i)
        residual = torch.from_numpy(i.residual).movedim(i.axis, 1)
        normalize = partial(torch.nn.functional.batch_norm, training=True, eps=i.eps)
        run = translate(lambda *a: torch.relu(normalize(*a) + residual))
        return lambda: run(x, mean, var, gamma, beta).movedim(1, i.axis)

    def batch_norm_residual_relu_backward(i: Inputs) -> Call:
        x, dy, gamma, beta, mean, var = tensors(i)
        y = torch.from_numpy(i.residual).movedim(i.axis, 1)
        _, *saved = aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, i.eps)

        def chain(dy: Any, *a: Any) -> tuple[Any, ...]:
            g = aten.threshold_backward(dy, y, 0)
            return *aten.native_batch_norm_backward(g, *a, True, i.eps, [True, True, True]), g

        run = translate(chain)

        def call() -> tuple[Any, ...]:
            dx, dgamma, dbeta, dresidual = run(dy, x, gamma, mean, var, *saved)
            return dx.movedim(1, i.axis), dgamma, dbeta, dresidual.movedim(1, i.axis)

        return call

    def group_norm(i: Inputs) -> Call:
        x, _, gamma, beta, _, _ = tensors(i)
        run = translate(torch.nn.functional.group_norm)
        return lambda: run(x, i.groups, gamma, beta, i.eps).movedim(1, i.axis)

    def group_norm_backward(i: Inputs) -> Call:
        x, dy, gamma, beta, _, _ = tensors(i)
        sizes = *x.shape[:2], x[0, 0].numel(), i.groups
        _, mean, rstd = aten.native_group_norm(x, gamma, beta, *sizes, i.eps)
        run = translate(lambda *a: aten.native_group_norm_backward(*a, *sizes, [True, True, True]))

        def call() -> tuple[Any, ...]:
            dx, *gradients = run(dy, x, mean, rstd, gamma)
            return dx.movedim(1, i.axis), *gradients

        return call

    def instance_norm(i: Inputs) -> Call:
        x, _, gamma, beta, _, _ = tensors(i)
        run = translate(partial(torch.nn.functional.instance_norm, weight=gamma, bias=beta, eps=i.eps))
        return lambda: run(x).movedim(1, i.axis)

    def dropout_forward(i: Inputs) -> Call:
        x, *_ = tensors(i)
        run = translate(lambda *a: aten.native_dropout(*a))
        return lambda: run(x, i.p, True)

    def dropout_backward(i: Inputs) -> Call:
        _, dy, *_ = tensors(i)
        keep = torch.from_numpy(i.keep())
        run = translate(lambda *a: aten.native_dropout_backward(*a))
        return lambda: run(dy, keep, 1 / (1 - i.p))

    def sgd_update(i: Inputs) -> Call:
        w, g, v = ([torch.from_numpy(array) for array in arrays] for arrays in i.weights())
        run, updated = translate(step), (*w, *v)

        def call() -> tuple[Any, ...]:
            run(w, g, v)
            return updated

        return call

    def sgd_update_clipped(i: Inputs) -> Call:
        w, g, v = ([torch.from_numpy(array) for array in arrays] for arrays in i.weights())
        updated = (*w, *v)

        def clipped(w: list[Any], g: list[Any], v: list[Any]) -> tuple[Any, ...]:
            l1_norm = torch.stack(torch._foreach_norm(w, 1)).sum()
            l2_norm_sq = torch.nn.utils.get_total_norm(w) ** 2
            norm = torch.nn.utils.get_total_norm(g)
            torch._foreach_mul_(g, (GRAD_NORM / norm).clamp(max=1.0))
            step(w, g, v)
            torch._foreach_zero_(g)
            return l1_norm, l2_norm_sq, norm

        run = translate(clipped)

        def call() -> tuple[Any, ...]:
            *sums, norm = run(w, g, v)
            return (*sums, min(norm, GRAD_NORM)), norm, *updated

        return call

    def max_norm(i: Inputs) -> Call:
        x, limit = torch.from_numpy(i.x), i.limit()
        run = translate(torch.renorm)
        return lambda: run(x, 2, 0, limit)

    return {
        "sgd_update": sgd_update,
        "sgd_update_clipped": sgd_update_clipped,
        "sigmoid": lambda i: partial(translate(torch.sigmoid), torch.from_numpy(i.x)),
        "tanh": lambda i: partial(translate(torch.tanh), torch.from_numpy(i.x)),
        "max_norm": max_norm,
        "dropout_forward": dropout_forward,
        "dropout_backward": dropout_backward,
        "layer_norm": layer_norm,
        "layer_norm_backward": layer_norm_backward,
        "batch_norm_forward": partial(batch_norm, training=True),
        "batch_norm_backward": batch_norm_backward,
        "batch_norm": partial(batch_norm, training=False),
        "batch_norm_residual_relu": batch_norm_residual_relu,
        "batch_norm_residual_relu_backward": batch_norm_residual_relu_backward,
        "group_norm": group_norm,
        "group_norm_backward": group_norm_backward,
        "instance_norm": instance_norm,
        "instance_norm_backward": group_norm_backward,  # which is the quicker of the two ways
    }


def installed(quick: bool) -> dict[str, Table]:
    """Return the table of every library that is here, ours first; nothing that compiles in a quick run."""
    tables = {"trimtab": trimtab_table(), "NumPy": numpy_table()}
    if find_spec("torch"):
        tables["PyTorch"] = torch_table(compiled=False)
        if not quick:
            tables["torch.compile"] = torch_table(compiled=True)
    return tables


@contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Give every library the same number of threads, for a while."""
    setters: list[tuple[int, Callable[[int], None]]] = [(tt.get_num_threads(), tt.set_num_threads)]
    if find_spec("torch"):
        import torch

        setters.append((torch.get_num_threads(), torch.set_num_threads))
    try:
        for _, use in setters:
            use(threads)
        yield
    finally:
        for before, use in setters:
            use(before)
