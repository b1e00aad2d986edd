"""JAX, compiled by ``jax.jit``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax  # type: ignore[import-not-found,unused-ignore]
from jax import numpy as jnp  # type: ignore[import-not-found,unused-ignore]

from trimtab.bench.cases import Inputs
from trimtab.bench.peers.library import Call, Library


def norm(i: Inputs, axes: tuple[int, ...]) -> Callable[..., Any]:
    def normalize(x: Any, gamma: Any, beta: Any) -> Any:
        gamma, beta = (jnp.expand_dims(values, i.others) for values in (gamma, beta))
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + i.eps) * gamma + beta

    return normalize


def rms_normalize(eps: float, x: Any, gamma: Any) -> Any:
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + eps) * gamma


gelu = partial(jax.nn.gelu, approximate=False)


def run(function: Callable[..., Any], *arguments: Any) -> Call:
    """Return a call that waits for its result."""
    jitted, given = jax.jit(function), jax.device_put(arguments)
    return lambda: jax.block_until_ready(jitted(*given))  # type: ignore[no-untyped-call,unused-ignore]


def backward(function: Callable[..., Any], i: Inputs, *arguments: Any) -> Call:
    """Return a call of the backward pass alone."""
    _, pull = jax.vjp(function, *jax.device_put(arguments))
    return run(lambda pull, dy: pull(dy), pull, i.dy)


class Jax(Library):
    """Formulas as a user would write them, on all CPUs, as JAX has no setting for threads."""

    name = "JAX"
    dtypes = frozenset({"float32", "float16", "bfloat16"})  # float64 needs a setting of the whole process

    def layer_norm(self, i: Inputs) -> Call:
        return run(norm(i, (-1,)), i.x, i.gamma, i.beta)

    def layer_norm_backward(self, i: Inputs) -> Call:
        return backward(norm(i, (-1,)), i, i.x, i.gamma, i.beta)

    def rms_norm(self, i: Inputs) -> Call:
        return run(partial(rms_normalize, i.eps), i.x, i.gamma)

    def rms_norm_backward(self, i: Inputs) -> Call:
        return backward(partial(rms_normalize, i.eps), i, i.x, i.gamma)

    def batch_norm_forward(self, i: Inputs) -> Call:
        return run(norm(i, i.others), i.x, i.gamma, i.beta)

    def batch_norm_backward(self, i: Inputs) -> Call:
        return backward(norm(i, i.others), i, i.x, i.gamma, i.beta)

    def batch_norm(self, i: Inputs) -> Call:
        def normalize(x: Any, *channels: Any) -> Any:
            mean, var, gamma, beta = (jnp.expand_dims(values, i.others) for values in channels)
            return (x - mean) * (jax.lax.rsqrt(var + i.eps) * gamma) + beta

        return run(normalize, i.x, i.mean, i.var, i.gamma, i.beta)

    def dropout_forward(self, i: Inputs) -> Call:
        @jax.jit  # type: ignore[untyped-decorator,unused-ignore]
        def drop(x: Any, key: Any) -> tuple[Any, Any]:
            key, now = jax.random.split(key)
            return jnp.where(jax.random.bernoulli(now, 1 - i.p, x.shape), x / (1 - i.p), 0), key

        x, key = jax.device_put(i.x), jax.random.PRNGKey(0)

        def call() -> Any:
            nonlocal key
            y, key = drop(x, key)
            return y.block_until_ready()

        return call

    def relu(self, i: Inputs) -> Call:
        return run(jax.nn.relu, i.x)

    def leaky_relu(self, i: Inputs) -> Call:
        return run(partial(jax.nn.leaky_relu, negative_slope=i.slope), i.x)

    def sigmoid(self, i: Inputs) -> Call:
        return run(jax.nn.sigmoid, i.x)

    def tanh(self, i: Inputs) -> Call:
        return run(jnp.tanh, i.x)

    def silu(self, i: Inputs) -> Call:
        return run(jax.nn.silu, i.x)

    def silu_backward(self, i: Inputs) -> Call:
        return backward(jax.nn.silu, i, i.x)

    def gelu(self, i: Inputs) -> Call:
        return run(gelu, i.x)

    def gelu_backward(self, i: Inputs) -> Call:
        return backward(gelu, i, i.x)

    def softmax(self, i: Inputs) -> Call:
        return run(jax.nn.softmax, i.x)

    def log_softmax(self, i: Inputs) -> Call:
        return run(jax.nn.log_softmax, i.x)

    def binary_cross_entropy(self, i: Inputs) -> Call:
        def loss(x: Any, y: Any) -> Any:
            return (jnp.maximum(x, 0) - x * y + jnp.log1p(jnp.exp(-jnp.abs(x)))).mean()

        return run(jax.value_and_grad(loss), i.x, i.positives)

    def mse(self, i: Inputs) -> Call:
        return run(jax.value_and_grad(lambda x, y: jnp.square(x - y).mean()), i.x, i.residual)

    def mae(self, i: Inputs) -> Call:
        return run(jax.value_and_grad(lambda x, y: jnp.abs(x - y).mean()), i.x, i.residual)

    def huber(self, i: Inputs) -> Call:
        def loss(x: Any, y: Any) -> Any:
            size = jnp.abs(x - y)
            return jnp.where(size <= 1, jnp.square(size) / 2, size - 0.5).mean()

        return run(jax.value_and_grad(loss), i.x, i.residual)

    def softmax_cross_entropy(self, i: Inputs) -> Call:
        def loss(x: Any, labels: Any) -> Any:
            target = jax.nn.one_hot(labels, x.shape[1]) * (1 - i.label_smoothing)
            log_p = jax.nn.log_softmax(x)
            return -((target + i.label_smoothing / x.shape[1]) * log_p).sum(1).mean()

        return run(jax.value_and_grad(loss), i.x, i.labels)
