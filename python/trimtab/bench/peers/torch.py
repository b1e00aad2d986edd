"""PyTorch, called eagerly or through ``torch.compile``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
from torch.nn import functional  # type: ignore[import-not-found,unused-ignore]
from torch.optim.adam import adam  # type: ignore[import-not-found,unused-ignore]
from torch.optim.sgd import sgd  # type: ignore[import-not-found,unused-ignore]

from trimtab._typing import Array
from trimtab.bench.cases import Inputs
from trimtab.bench.peers.library import Call, Library

aten = torch.ops.aten
ALL_GRADIENTS = [True, True, True]


def images(i: Inputs, *arrays: Array) -> list[Any]:
    """Tensors with channels on axis 1, as PyTorch has them in any memory order."""
    return [tensor(array).movedim(i.axis, 1) for array in arrays]


def tensor(array: Array) -> Any:
    """Return a tensor that shares the memory of an array."""
    if array.dtype.name != "bfloat16":
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)


def rows(*arrays: Array) -> list[Any]:
    return [*map(tensor, arrays)]


class Torch(Library):
    """Functions without autograd where PyTorch has them, and the fused form of the optimizer.

    Parameters
    ----------
    compiled : bool
        Whether to run through ``torch.compile``, for one shape.
    """

    dtypes = frozenset({"float32", "float64", "float16", "bfloat16"})

    def __init__(self, compiled: bool = False) -> None:
        self.name, self.compiled = ("torch.compile" if compiled else "PyTorch"), compiled
        # Fused optimizers cannot be compiled.
        self.implementation: Any = {"fused": not compiled, "foreach": compiled}

    def translate(self, function: Any) -> Any:
        """Return the function to run; compile from scratch, as PyTorch stops compiling after some shapes."""
        if not self.compiled:
            return function
        torch.compiler.reset()
        return torch.compile(function, dynamic=False)

    def as_arrays(self, result: Any) -> list[Array]:
        tensors = result if isinstance(result, tuple) else (result,)
        plain = (t.float() if t.dtype == torch.bfloat16 else t for t in map(torch.as_tensor, tensors))
        return super().as_arrays(tuple(t.detach().numpy() for t in plain))

    def get_num_threads(self) -> int:
        threads: int = torch.get_num_threads()
        return threads

    def set_num_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def into(self, function: Any, *arrays: Array) -> Call:
        """Return a call that writes to a tensor like the first array."""
        return partial(self.translate(function), *rows(*arrays), out=tensor(np.empty_like(arrays[0])))

    def layer_norm(self, i: Inputs) -> Call:
        x, gamma, beta = rows(i.x, i.gamma, i.beta)
        run = self.translate(functional.layer_norm)
        return lambda: run(x, x.shape[1:], gamma, beta, i.eps)

    def layer_norm_backward(self, i: Inputs) -> Call:
        x, dy, gamma, beta = rows(i.x, i.dy, i.gamma, i.beta)
        _, mean, rstd = aten.native_layer_norm(x, x.shape[1:], gamma, beta, i.eps)
        run = self.translate(lambda *a: aten.native_layer_norm_backward(*a, ALL_GRADIENTS))
        return lambda: run(dy, x, x.shape[1:], mean, rstd, gamma, beta)

    def add_layer_norm_forward(self, i: Inputs) -> Call:
        x, residual, gamma, beta = rows(i.x, i.residual, i.gamma, i.beta)

        def chain(x: Any, residual: Any) -> tuple[Any, Any]:
            summed = x + residual
            return functional.layer_norm(summed, x.shape[1:], gamma, beta, i.eps), summed

        return partial(self.translate(chain), x, residual)

    def rms_norm(self, i: Inputs) -> Call:
        x, gamma = rows(i.x, i.gamma)
        run = self.translate(functional.rms_norm)
        return lambda: run(x, x.shape[1:], gamma, i.eps)

    def rms_norm_backward(self, i: Inputs) -> Call:
        x, dy, gamma = rows(i.x, i.dy, i.gamma)
        leaves = x.requires_grad_(), gamma.requires_grad_()
        y = self.translate(functional.rms_norm)(x, x.shape[1:], gamma, i.eps)
        return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)

    def add_rms_norm_forward(self, i: Inputs) -> Call:
        x, residual, gamma = rows(i.x, i.residual, i.gamma)

        def chain(x: Any, residual: Any) -> tuple[Any, Any]:
            summed = x + residual
            return functional.rms_norm(summed, x.shape[1:], gamma, i.eps), summed

        return partial(self.translate(chain), x, residual)

    def batch_norm(self, i: Inputs, training: bool = False) -> Call:
        (x,), (gamma, beta) = images(i, i.x), rows(i.gamma, i.beta)
        mean, var = rows(i.mean.copy(), i.var.copy())
        run = self.translate(functional.batch_norm)
        return lambda: run(x, mean, var, gamma, beta, training, 0.1, i.eps).movedim(1, i.axis)

    def batch_norm_forward(self, i: Inputs) -> Call:
        return self.batch_norm(i, training=True)

    def batch_norm_out(self, i: Inputs, training: bool = False) -> Call:
        (x, y), (gamma, beta) = images(i, i.x, np.empty_like(i.x)), rows(i.gamma, i.beta)
        mean, var = rows(i.mean.copy(), i.var.copy())
        saved = [mean.new_empty(i.channels if training else 0) for _ in range(2)]
        out, run = (y, *saved), self.translate(torch.native_batch_norm)

        def call() -> Any:
            run(x, gamma, beta, mean, var, training, 0.1, i.eps, out=out)
            return y.movedim(1, i.axis)

        return call

    def batch_norm_forward_out(self, i: Inputs) -> Call:
        return self.batch_norm_out(i, training=True)

    def batch_norm_backward(self, i: Inputs) -> Call:
        (x, dy), (gamma, beta) = images(i, i.x, i.dy), rows(i.gamma, i.beta)
        _, *saved = aten.native_batch_norm(x, gamma, beta, None, None, True, 0.1, i.eps)
        run = self.translate(lambda *a: aten.native_batch_norm_backward(*a, True, i.eps, ALL_GRADIENTS))

        def call() -> tuple[Any, ...]:
            dx, *gradients = run(dy, x, gamma, None, None, *saved)
            return dx.movedim(1, i.axis), *gradients

        return call

    def batch_norm_residual_relu(self, i: Inputs) -> Call:
        (x, residual), (gamma, beta) = images(i, i.x, i.residual), rows(i.gamma, i.beta)

        def chain(x: Any, residual: Any) -> Any:
            summed = functional.batch_norm(x, None, None, gamma, beta, training=True, eps=i.eps)
            summed += residual
            return torch.relu_(summed)

        run = self.translate(chain)
        return lambda: run(x, residual).movedim(1, i.axis)

    def batch_norm_residual_relu_backward(self, i: Inputs) -> Call:
        (x, dy, y), (gamma, beta) = images(i, i.x, i.dy, i.residual), rows(i.gamma, i.beta)
        _, *saved = aten.native_batch_norm(x, gamma, beta, None, None, True, 0.1, i.eps)

        def chain(dy: Any, y: Any, *a: Any) -> tuple[Any, ...]:
            g = aten.threshold_backward(dy, y, 0)
            return *aten.native_batch_norm_backward(g, *a, True, i.eps, ALL_GRADIENTS), g

        run = self.translate(chain)

        def call() -> tuple[Any, ...]:
            dx, dgamma, dbeta, dresidual = run(dy, y, x, gamma, None, None, *saved)
            return dx.movedim(1, i.axis), dgamma, dbeta, dresidual.movedim(1, i.axis)

        return call

    def batch_moments(self, i: Inputs) -> Call:
        (x,) = images(i, i.x)
        run = self.translate(
            lambda x: torch.var_mean(x, dim=[d for d in range(x.ndim) if d != 1], correction=0)
        )

        def call() -> tuple[Any, Any]:
            var, mean = run(x)
            return mean, var

        return call

    def group_norm(self, i: Inputs) -> Call:
        (x,), (gamma, beta) = images(i, i.x), rows(i.gamma, i.beta)
        run = self.translate(functional.group_norm)
        return lambda: run(x, i.groups, gamma, beta, i.eps).movedim(1, i.axis)

    def group_norm_backward(self, i: Inputs) -> Call:
        (x, dy), (gamma, beta) = images(i, i.x, i.dy), rows(i.gamma, i.beta)
        sizes = *x.shape[:2], x[0, 0].numel(), i.groups
        _, mean, rstd = aten.native_group_norm(x, gamma, beta, *sizes, i.eps)
        run = self.translate(lambda *a: aten.native_group_norm_backward(*a, *sizes, ALL_GRADIENTS))

        def call() -> tuple[Any, ...]:
            dx, *gradients = run(dy, x, mean, rstd, gamma)
            return dx.movedim(1, i.axis), *gradients

        return call

    def instance_norm(self, i: Inputs) -> Call:
        (x,), (gamma, beta) = images(i, i.x), rows(i.gamma, i.beta)
        run = self.translate(partial(functional.instance_norm, weight=gamma, bias=beta, eps=i.eps))
        return lambda: run(x).movedim(1, i.axis)

    instance_norm_backward = group_norm_backward  # the quicker of the two ways

    def dropout_forward(self, i: Inputs) -> Call:
        return partial(self.translate(lambda x: aten.native_dropout(x, i.p, True)), *rows(i.x))

    def dropout_backward(self, i: Inputs) -> Call:
        run = self.translate(lambda dy, keep: aten.native_dropout_backward(dy, keep, 1 / (1 - i.p)))
        return partial(run, *rows(i.dy, i.keep))

    def dropout_forward_out(self, i: Inputs) -> Call:
        def drop(x: Any, keep: Any, out: Any) -> tuple[Any, Any]:
            keep.bernoulli_(1 - i.p)
            return torch.mul(x, keep, out=out).mul_(1 / (1 - i.p)), keep

        return self.into(drop, i.x, np.empty(i.shape, bool))

    def dropout_backward_out(self, i: Inputs) -> Call:
        scale = 1 / (1 - i.p)
        return self.into(lambda dy, keep, out: torch.mul(dy, keep, out=out).mul_(scale), i.dy, i.keep)

    def add_dropout_forward(self, i: Inputs) -> Call:
        run = self.translate(lambda x, bias, residual: functional.dropout(x + bias, i.p) + residual)
        return partial(run, *rows(i.x, i.beta, i.residual))

    def alpha_dropout_forward(self, i: Inputs) -> Call:
        return partial(self.translate(lambda x: functional.alpha_dropout(x, i.p, training=True)), *rows(i.x))

    def update_options(self, i: Inputs) -> dict[str, Any]:
        return {"dampening": 0.0, "nesterov": False, "maximize": False, **i.update, **self.implementation}

    def sgd_update(self, i: Inputs) -> Call:
        w, g, v = (rows(*i.each_weight(name)) for name in "wgv")
        updated = (*w, *v)
        run = self.translate(partial(sgd, **self.update_options(i)))

        def call() -> tuple[Any, ...]:
            run(w, g, v)
            return updated

        return call

    def sgd_update_clipped(self, i: Inputs) -> Call:
        w, g, v = (rows(*i.each_weight(name)) for name in "wgv")
        updated = (*w, *v)
        step = self.translate(partial(sgd, **self.update_options(i)))

        def call() -> tuple[Any, ...]:
            l1_norm = torch.stack(torch._foreach_norm(w, 1)).sum()
            l2_norm_sq = torch.nn.utils.get_total_norm(w) ** 2
            norm = torch.nn.utils.get_total_norm(g)
            torch._foreach_mul_(g, (i.max_grad_norm / norm).clamp(max=1.0))
            step(w, g, v)
            torch._foreach_zero_(g)
            return l1_norm, l2_norm_sq, min(norm, i.max_grad_norm), norm, *updated

        return call

    def adam_update(self, i: Inputs) -> Call:
        w, g, m, v = (rows(*arrays) for arrays in i.adam_state())
        steps = [torch.tensor(i.step - 1.0) for _ in w]
        updated = (*w, *m, *v)
        options: dict[str, Any] = {"lr": i.lr, "beta1": i.beta1, "beta2": i.beta2, "eps": i.eps}
        options |= {"weight_decay": i.weight_decay, "decoupled_weight_decay": True}
        options |= {"amsgrad": False, "maximize": False, **self.implementation}
        run = self.translate(partial(adam, **options))

        def call() -> tuple[Any, ...]:
            run(w, g, m, v, [], steps)
            return updated

        return call

    def sgd_optimizer(self, i: Inputs) -> Call:
        parameters = rows(*i.each_weight("w"))
        for parameter, g in zip(parameters, rows(*i.each_weight("g")), strict=True):
            parameter.grad = g
        optimizer, updated = torch.optim.SGD(parameters, **i.update, **self.implementation), tuple(parameters)
        step = self.translate(optimizer.step)

        def call() -> tuple[Any, ...]:
            step()
            optimizer.zero_grad(set_to_none=False)
            return updated

        return call

    def clip_grad_norm(self, i: Inputs) -> Call:
        return partial(self.translate(torch.nn.utils.get_total_norm), rows(*i.each_weight("g")))

    def max_pool(self, i: Inputs, pool: Any = functional.max_pool2d) -> Call:
        (x,), run = images(i, i.x), self.translate(pool)
        return lambda: run(x, 2).movedim(1, i.axis)

    def avg_pool(self, i: Inputs) -> Call:
        return self.max_pool(i, functional.avg_pool2d)

    def max_norm(self, i: Inputs) -> Call:
        return partial(self.translate(lambda x: torch.renorm(x, 2, 0, i.limit)), *rows(i.x))

    def penalty(self, i: Inputs) -> Call:
        def sums(w: list[Any]) -> Any:
            l1_norms, l2_norms = torch._foreach_norm(w, 1), torch._foreach_norm(w, 2)
            return torch.stack(l1_norms).sum() + i.weight_decay / 2 * torch.stack(l2_norms).square().sum()

        return partial(self.translate(sums), rows(*i.each_weight("w")))

    def relu(self, i: Inputs) -> Call:
        return partial(self.translate(torch.relu), *rows(i.x))

    def relu_out(self, i: Inputs) -> Call:  # torch.relu has no out
        return self.into(lambda x, out: torch.clamp_min(x, 0, out=out), i.x)

    def relu_backward(self, i: Inputs) -> Call:
        return partial(self.translate(lambda *a: aten.threshold_backward(*a, 0)), *rows(i.dy, i.residual))

    def leaky_relu(self, i: Inputs) -> Call:
        return partial(self.translate(lambda x: functional.leaky_relu(x, i.slope)), *rows(i.x))

    def leaky_relu_out(self, i: Inputs) -> Call:
        return self.into(lambda x, out: aten.leaky_relu.out(x, i.slope, out=out), i.x)

    def leaky_relu_backward(self, i: Inputs) -> Call:
        run = self.translate(lambda *a: aten.leaky_relu_backward(*a, i.slope, False))
        return partial(run, *rows(i.dy, i.x))

    def silu(self, i: Inputs) -> Call:
        return partial(self.translate(functional.silu), *rows(i.x))

    def silu_out(self, i: Inputs) -> Call:
        return self.into(lambda x, out: aten.silu.out(x, out=out), i.x)

    def silu_backward(self, i: Inputs) -> Call:
        return partial(self.translate(lambda *a: aten.silu_backward(*a)), *rows(i.dy, i.x))

    def gelu(self, i: Inputs) -> Call:
        return partial(self.translate(functional.gelu), *rows(i.x))

    def gelu_out(self, i: Inputs) -> Call:
        return self.into(lambda x, out: aten.gelu.out(x, out=out), i.x)

    def gelu_backward(self, i: Inputs) -> Call:
        return partial(self.translate(lambda *a: aten.gelu_backward(*a)), *rows(i.dy, i.x))

    def softmax(self, i: Inputs) -> Call:
        return partial(self.translate(lambda x: torch.softmax(x, -1)), *rows(i.x))

    def softmax_out(self, i: Inputs) -> Call:
        return self.into(lambda x, out: aten._softmax.out(x, -1, False, out=out), i.x)

    def softmax_backward(self, i: Inputs) -> Call:
        run = self.translate(lambda dy, y: aten._softmax_backward_data(dy, y, -1, y.dtype))
        return partial(run, *rows(i.dy, i.residual))

    def log_softmax(self, i: Inputs) -> Call:
        return partial(self.translate(lambda x: torch.log_softmax(x, -1)), *rows(i.x))

    def log_softmax_out(self, i: Inputs) -> Call:
        return self.into(lambda x, out: aten._log_softmax.out(x, -1, False, out=out), i.x)

    def log_softmax_backward(self, i: Inputs) -> Call:
        run = self.translate(lambda dy, y: aten._log_softmax_backward_data(dy, y, -1, y.dtype))
        return partial(run, *rows(i.dy, i.log_probabilities))

    def sigmoid(self, i: Inputs) -> Call:
        return partial(self.translate(torch.sigmoid), *rows(i.x))

    def sigmoid_out(self, i: Inputs) -> Call:
        return self.into(torch.sigmoid, i.x)

    def sigmoid_backward(self, i: Inputs) -> Call:
        return partial(self.translate(lambda *a: aten.sigmoid_backward(*a)), *rows(i.dy, i.residual))

    def tanh(self, i: Inputs) -> Call:
        return partial(self.translate(torch.tanh), *rows(i.x))

    def tanh_out(self, i: Inputs) -> Call:
        return self.into(torch.tanh, i.x)

    def tanh_backward(self, i: Inputs) -> Call:
        return partial(self.translate(lambda *a: aten.tanh_backward(*a)), *rows(i.dy, i.residual))

    def loss(self, i: Inputs, function: Callable[[Any], Any]) -> Call:
        """A loss of x and its gradient, as training asks for them."""
        x = tensor(i.x).requires_grad_()
        run = self.translate(function)

        def call() -> tuple[Any, Any]:
            loss = run(x)
            return loss.detach(), *torch.autograd.grad(loss, x)

        return call

    def softmax_cross_entropy(self, i: Inputs) -> Call:
        labels = torch.from_numpy(i.labels)
        return self.loss(i, lambda x: functional.cross_entropy(x, labels, label_smoothing=i.label_smoothing))

    def binary_cross_entropy(self, i: Inputs) -> Call:
        target = tensor(i.positives)
        return self.loss(i, lambda x: functional.binary_cross_entropy_with_logits(x, target))

    def mse(self, i: Inputs) -> Call:
        target = tensor(i.residual)
        return self.loss(i, lambda x: functional.mse_loss(x, target))

    def mae(self, i: Inputs) -> Call:
        target = tensor(i.residual)
        return self.loss(i, lambda x: functional.l1_loss(x, target))

    def huber(self, i: Inputs) -> Call:
        target = tensor(i.residual)
        return self.loss(i, lambda x: functional.huber_loss(x, target))
