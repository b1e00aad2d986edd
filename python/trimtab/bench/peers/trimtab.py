"""Our kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import trimtab as tt
from trimtab._typing import Array
from trimtab.bench.cases import Case, Inputs
from trimtab.bench.peers.library import Call, Library
from trimtab.nn import AvgPool2d, MaxPool2d, Parameter
from trimtab.optim import SGD


def wide(*statistics: Array) -> list[Array]:
    """Return saved statistics in the dtype that functions return them in."""
    return [values.astype(np.float64) for values in statistics]


class Trimtab(Library):
    """The functions of the package; each call allocates its results, or writes the first of them to `out`."""

    name = "trimtab"
    dtypes = frozenset({"float32", "float64", "float16", "bfloat16"})

    def prepare(self, case: Case, inputs: Inputs) -> Call:
        call: Any = super().prepare(case, inputs)
        return partial(call, out=np.empty_like(self.as_arrays(call())[0])) if case.out else call

    def get_num_threads(self) -> int:
        return tt.get_num_threads()

    def set_num_threads(self, threads: int) -> None:
        tt.set_num_threads(threads)

    def layer_norm(self, i: Inputs) -> Call:
        return partial(tt.layer_norm, i.x, i.gamma, i.beta, eps=i.eps)

    def layer_norm_backward(self, i: Inputs) -> Call:
        _, mean, rstd = tt.layer_norm_forward(i.x, i.gamma, i.beta, eps=i.eps)
        return partial(tt.layer_norm_backward, i.dy, i.x, mean, rstd, i.gamma)

    def add_layer_norm_forward(self, i: Inputs) -> Call:
        return partial(tt.add_layer_norm_forward, i.x, i.residual, i.gamma, i.beta, eps=i.eps)

    def rms_norm(self, i: Inputs) -> Call:
        return partial(tt.rms_norm, i.x, i.gamma, eps=i.eps)

    def rms_norm_backward(self, i: Inputs) -> Call:
        _, rstd = tt.rms_norm_forward(i.x, i.gamma, eps=i.eps)
        return partial(tt.rms_norm_backward, i.dy, i.x, rstd, i.gamma)

    def add_rms_norm_forward(self, i: Inputs) -> Call:
        return partial(tt.add_rms_norm_forward, i.x, i.residual, i.gamma, eps=i.eps)

    def batch_norm_forward(self, i: Inputs) -> Call:
        running: Any = {"running_mean": i.mean.copy(), "running_var": i.var.copy()}
        return partial(tt.batch_norm_forward, i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps, **running)

    def batch_norm_backward(self, i: Inputs) -> Call:
        _, mean, rstd = tt.batch_norm_forward(i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        return partial(tt.batch_norm_backward, i.dy, i.x, mean, rstd, i.gamma, axis=i.axis)

    def batch_norm(self, i: Inputs) -> Call:
        return partial(tt.batch_norm, i.x, i.mean, i.var, i.gamma, i.beta, axis=i.axis, eps=i.eps)

    def batch_norm_residual_relu(self, i: Inputs) -> Call:
        fused: Any = {"activation": "relu", "residual": i.residual}
        return partial(tt.batch_norm_forward, i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps, **fused)

    def batch_norm_residual_relu_backward(self, i: Inputs) -> Call:
        _, mean, rstd = tt.batch_norm_forward(i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        fused: Any = {"activation": "relu", "y": i.residual, "residual": True}
        return partial(tt.batch_norm_backward, i.dy, i.x, mean, rstd, i.gamma, axis=i.axis, **fused)

    def batch_moments(self, i: Inputs) -> Call:
        def call() -> tuple[Array, Array]:
            mean, var, _ = tt.batch_moments(i.x, axis=i.axis)
            return mean, var

        return call

    def group_norm(self, i: Inputs) -> Call:
        return partial(tt.group_norm, i.x, i.groups, i.gamma, i.beta, axis=i.axis, eps=i.eps)

    def group_norm_backward(self, i: Inputs) -> Call:
        _, mean, rstd = tt.group_norm_forward(i.x, i.groups, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        return partial(tt.group_norm_backward, i.dy, i.x, mean, rstd, i.groups, i.gamma, axis=i.axis)

    def instance_norm(self, i: Inputs) -> Call:
        return partial(tt.instance_norm, i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps)

    def instance_norm_backward(self, i: Inputs) -> Call:
        _, mean, rstd = tt.instance_norm_forward(i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps)
        return partial(tt.instance_norm_backward, i.dy, i.x, mean, rstd, i.gamma, axis=i.axis)

    def dropout_forward(self, i: Inputs) -> Call:
        return partial(tt.dropout_forward, i.x, i.p, rng=np.random.default_rng(2))

    def dropout_backward(self, i: Inputs) -> Call:
        return partial(tt.dropout_backward, i.dy, np.packbits(i.keep, bitorder="little"), i.p)

    def add_dropout_forward(self, i: Inputs) -> Call:
        return partial(tt.add_dropout_forward, i.x, i.beta, i.residual, i.p, rng=np.random.default_rng(2))

    def alpha_dropout_forward(self, i: Inputs) -> Call:
        return partial(tt.alpha_dropout_forward, i.x, i.p, rng=np.random.default_rng(2))

    def sgd_update(self, i: Inputs) -> Call:
        w, g, v = map(i.each_weight, "wgv")
        updated = (*w, *v)

        def call() -> tuple[Array, ...]:
            tt.sgd_update(w, g, v, **i.update)
            return updated

        return call

    def sgd_update_clipped(self, i: Inputs) -> Call:
        w, g, v = map(i.each_weight, "wgv")
        updated = (*w, *v)

        def call() -> tuple[Any, ...]:
            norm = tt.clip_grad_norm(g, np.inf)
            scale = i.max_grad_norm / max(norm, i.max_grad_norm)
            sums: Any = tt.sgd_update(w, g, v, grad_scale=scale, zero_grad=True, statistics=True, **i.update)
            return *sums, norm, *updated

        return call

    def adam_update(self, i: Inputs) -> Call:
        w, g, m, v = i.adam_state()
        updated = (*w, *m, *v)
        options: Any = {"lr": i.lr, "betas": (i.beta1, i.beta2), "eps": i.eps, "weight_decay": i.weight_decay}

        def call() -> tuple[Array, ...]:
            tt.adam_update(w, g, m, v, step=i.step, **options)
            return updated

        return call

    def sgd_optimizer(self, i: Inputs) -> Call:
        parameters = [Parameter(w) for w in i.each_weight("w")]
        for parameter, g in zip(parameters, i.each_weight("g"), strict=True):
            parameter.grad[...] = g
        optimizer, updated = SGD(parameters, zero_grad=True, **i.update), tuple(p.value for p in parameters)

        def call() -> tuple[Array, ...]:
            optimizer.step()
            return updated

        return call

    def alpha_dropout_backward(self, i: Inputs) -> Call:
        return partial(tt.alpha_dropout_backward, i.dy, np.packbits(i.keep, bitorder="little"), i.p)

    def drop_path_forward(self, i: Inputs) -> Call:
        return partial(tt.drop_path_forward, i.x, i.p, rng=np.random.default_rng(2))

    def drop_path_backward(self, i: Inputs) -> Call:
        return partial(tt.drop_path_backward, i.dy, np.packbits(i.keep_sample, bitorder="little"), i.p)

    def gaussian_dropout_backward(self, i: Inputs) -> Call:
        return partial(tt.gaussian_dropout_backward, i.dy, i.residual)

    def batch_norm_apply(self, i: Inputs) -> Call:
        mean, rstd = wide(i.mean, i.var)
        return partial(tt.batch_norm_apply, i.x, mean, rstd, i.gamma, i.beta, axis=i.axis)

    def batch_norm_backward_sums(self, i: Inputs) -> Call:
        mean, rstd = wide(i.mean, i.var)
        return partial(tt.batch_norm_backward_sums, i.dy, i.x, mean, rstd, axis=i.axis)

    def batch_norm_backward_apply(self, i: Inputs) -> Call:
        mean, rstd, sum_dy, sum_dy_xhat = wide(i.mean, i.var, i.beta, i.mean)
        channels, count = (mean, rstd, i.gamma, sum_dy, sum_dy_xhat), i.x.size // i.channels
        return partial(tt.batch_norm_backward_apply, i.dy, i.x, *channels, count, axis=i.axis)

    def batch_renorm_forward(self, i: Inputs) -> Call:
        # Without momentum the running statistics, and so the results, stay as they are.
        running: Any = {"running_mean": i.mean.copy(), "running_std": i.var.copy(), "momentum": 0.0}
        return partial(tt.batch_renorm_forward, i.x, i.gamma, i.beta, axis=i.axis, eps=i.eps, **running)

    def batch_renorm_backward(self, i: Inputs) -> Call:
        _, mean, rstd, r, d = self.batch_renorm_forward(i)()
        return partial(tt.batch_renorm_backward, i.dy, i.x, mean, rstd, r, d, i.gamma, axis=i.axis)

    def whiten_forward(self, i: Inputs) -> Call:
        return lambda: tt.whiten_forward(i.x, axis=i.axis, eps=i.eps).y

    def whiten_backward(self, i: Inputs) -> Call:
        saved = tt.whiten_forward(i.x, axis=i.axis, eps=i.eps).saved
        return partial(tt.whiten_backward, i.dy, saved)

    def fold_batch_norm(self, i: Inputs) -> Call:
        channels = i.bias, i.mean, i.var, i.gamma, i.beta
        return partial(tt.fold_batch_norm, i.x, *channels, eps=i.eps, axis=i.axis)

    def clip_grad_norm(self, i: Inputs) -> Call:
        return partial(tt.clip_grad_norm, i.each_weight("g"), np.inf)

    def max_pool(self, i: Inputs) -> Call:
        return partial(MaxPool2d(2, axis=i.axis).forward, i.x)

    def avg_pool(self, i: Inputs) -> Call:
        return partial(AvgPool2d(2, axis=i.axis).forward, i.x)

    def max_norm(self, i: Inputs) -> Call:
        return partial(tt.max_norm, i.x, i.limit, axis=-1)

    def penalty(self, i: Inputs) -> Call:
        return partial(tt.penalty, i.each_weight("w"), l1=1.0, l2=i.weight_decay)

    def relu(self, i: Inputs) -> Call:
        return partial(tt.relu, i.x)

    def relu_backward(self, i: Inputs) -> Call:
        return partial(tt.relu_backward, i.dy, i.residual)

    def leaky_relu(self, i: Inputs) -> Call:
        return partial(tt.leaky_relu, i.x, i.slope)

    def leaky_relu_backward(self, i: Inputs) -> Call:
        return partial(tt.leaky_relu_backward, i.dy, i.x, i.slope)

    def silu(self, i: Inputs) -> Call:
        return partial(tt.silu, i.x)

    def silu_backward(self, i: Inputs) -> Call:
        return partial(tt.silu_backward, i.dy, i.x)

    def gelu(self, i: Inputs) -> Call:
        return partial(tt.gelu, i.x)

    def gelu_backward(self, i: Inputs) -> Call:
        return partial(tt.gelu_backward, i.dy, i.x)

    def softmax(self, i: Inputs) -> Call:
        return partial(tt.softmax, i.x)

    def softmax_backward(self, i: Inputs) -> Call:
        return partial(tt.softmax_backward, i.dy, i.residual)

    def log_softmax(self, i: Inputs) -> Call:
        return partial(tt.log_softmax, i.x)

    def log_softmax_backward(self, i: Inputs) -> Call:
        return partial(tt.log_softmax_backward, i.dy, i.log_probabilities)

    def sigmoid(self, i: Inputs) -> Call:
        return partial(tt.sigmoid, i.x)

    def sigmoid_backward(self, i: Inputs) -> Call:
        return partial(tt.sigmoid_backward, i.dy, i.residual)

    def tanh(self, i: Inputs) -> Call:
        return partial(tt.tanh, i.x)

    def tanh_backward(self, i: Inputs) -> Call:
        return partial(tt.tanh_backward, i.dy, i.residual)

    def softmax_cross_entropy(self, i: Inputs) -> Call:
        return partial(tt.softmax_cross_entropy, i.x, i.labels, label_smoothing=i.label_smoothing)

    def binary_cross_entropy(self, i: Inputs) -> Call:
        return partial(tt.binary_cross_entropy, i.x, i.positives)

    def mse(self, i: Inputs) -> Call:
        return partial(tt.mse, i.x, i.residual)

    def mae(self, i: Inputs) -> Call:
        return partial(tt.mae, i.x, i.residual)

    def huber(self, i: Inputs) -> Call:
        return partial(tt.huber, i.x, i.residual)
