"""One training step of the same nets in several libraries: a function returns a step that returns the loss.

Nets have batch norm and ReLU; SGD with momentum 0.9 and learning rate 0.01 on one batch. At the end are the
steps that the experiments of the lab consist of.
"""

import itertools
import warnings
from importlib.util import find_spec

import numpy as np
from trimtab import losses, nn, optim
from trimtab.lab import registry, speed

BATCH, CLASSES, RATE, MOMENTUM = 128, 10, 0.01, 0.9
WIDTHS, CHANNELS = (784, 512, 512), (1, 16, 32)
PIXELS = 28


def batch(net):
    """Images (N, 28, 28, 1) or rows (N, 784), and labels."""
    rng = np.random.default_rng(0)
    shape = (PIXELS, PIXELS, 1) if net == "convnet" else (WIDTHS[0],)
    return rng.standard_normal((BATCH, *shape), np.float32), rng.integers(CLASSES, size=BATCH)


def trimtab(net):
    layers = []
    if net == "mlp":
        for inputs, outputs in itertools.pairwise(WIDTHS):
            layers += [nn.Linear(inputs, outputs, rng=0), nn.BatchNorm(outputs), nn.ReLU()]
        layers.append(nn.Linear(WIDTHS[-1], CLASSES, rng=0))
    else:
        for inputs, outputs in itertools.pairwise(CHANNELS):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, axis=-1, rng=0),
                nn.BatchNorm(outputs, axis=-1),
                nn.ReLU(),
                nn.MaxPool2d(2, axis=-1),
            ]
        layers += [nn.Flatten(), nn.Linear(CHANNELS[-1] * (PIXELS // 4) ** 2, CLASSES, rng=0)]
    model = nn.Sequential(*layers)
    (x, labels), loss = batch(net), losses.CrossEntropy()
    optimizer = optim.SGD(model, lr=RATE, momentum=MOMENTUM, zero_grad=True)

    def step():
        value, gradient, *_ = loss(model.forward(x), labels)
        model.backward(gradient)
        optimizer.step()
        return float(value)

    return step


def torch(net, compiled=False):
    import torch
    from torch import nn as layers_of
    from torch.nn.functional import cross_entropy

    x, labels = map(torch.from_numpy, batch(net))
    layers = []
    if net == "mlp":
        for inputs, outputs in itertools.pairwise(WIDTHS):
            layers += [layers_of.Linear(inputs, outputs), layers_of.BatchNorm1d(outputs), layers_of.ReLU()]
        layers.append(layers_of.Linear(WIDTHS[-1], CLASSES))
    else:
        x = x.movedim(-1, 1)  # channels last in memory
        for inputs, outputs in itertools.pairwise(CHANNELS):
            layers += [
                layers_of.Conv2d(inputs, outputs, 3, padding=1),
                layers_of.BatchNorm2d(outputs),
                layers_of.ReLU(),
                layers_of.MaxPool2d(2),
            ]
        layers += [layers_of.Flatten(), layers_of.Linear(CHANNELS[-1] * (PIXELS // 4) ** 2, CLASSES)]
    model = layers_of.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)
    forward = torch.compile(lambda: cross_entropy(model(x), labels)) if compiled else None

    def step():
        optimizer.zero_grad()
        loss = forward() if forward else cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def torch_compiled(net):
    return torch(net, compiled=True)


def jax(net):
    import jax
    from jax import numpy as jnp

    x, labels = jax.device_put(batch(net))
    rng = np.random.default_rng(0)
    sizes = *WIDTHS, CLASSES
    weights = [
        [rng.standard_normal(pair, np.float32) * (2 / pair[0]) ** 0.5, np.zeros(pair[1], np.float32)]
        for pair in itertools.pairwise(sizes)
    ]
    norms = [[np.ones(size, np.float32), np.zeros(size, np.float32)] for size in WIDTHS[1:]]
    state = jax.device_put((weights, norms))
    velocity = jax.tree.map(jnp.zeros_like, state)

    def loss(state):
        weights, norms = state
        h = x
        for (w, b), (gamma, beta) in zip(weights, norms, strict=False):
            h = h @ w + b
            h = (h - h.mean(0)) * jax.lax.rsqrt(h.var(0) + 1e-5) * gamma + beta
            h = jax.nn.relu(h)
        w, b = weights[-1]
        return -jax.nn.log_softmax(h @ w + b)[jnp.arange(BATCH), labels].mean()

    @jax.jit
    def update(state, velocity):
        value, gradient = jax.value_and_grad(loss)(state)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradient)
        return value, jax.tree.map(lambda w, v: w - RATE * v, state, velocity), velocity

    def step():
        nonlocal state, velocity
        value, state, velocity = update(state, velocity)
        return float(value)

    return step


def sklearn(net):
    """A plain net: scikit-learn has no batch norm."""
    from sklearn.neural_network import MLPClassifier

    x, labels = batch(net)
    options = {"batch_size": BATCH, "learning_rate_init": RATE, "momentum": MOMENTUM, "random_state": 0}
    model = MLPClassifier(WIDTHS[1:], solver="sgd", alpha=0, nesterovs_momentum=False, **options)

    def step():
        with warnings.catch_warnings(action="ignore"):
            model.partial_fit(x, labels, classes=np.arange(CLASSES))
        return model.loss_

    return step


COMPILING = {"torch_compiled", "jax"}
NETS = {"mlp": [trimtab, torch, torch_compiled, jax, sklearn], "convnet": [trimtab, torch, torch_compiled]}


def steps(quick):
    """Return (net, library) for the libraries that are installed."""
    return [
        (net, library)
        for net, libraries in NETS.items()
        for library in libraries
        if find_spec(library.__name__.partition("_")[0]) and not (quick and library.__name__ in COMPILING)
    ]


def lab_trimtab(step):
    return speed.ours(step)


def lab_torch(step):
    import torch

    return speed.in_torch(step, torch)


def lab_steps(quick):
    """Return (experiment, step, library) for every experiment that says which step it is made of."""
    chosen = [one for one in map(registry.find, registry.names()) if one.step]
    libraries = [lab_trimtab, *([lab_torch] if find_spec("torch") else [])]
    return [
        (one.name, one.step(one.quick if quick else one.setting), library)
        for one in chosen
        for library in libraries
    ]
