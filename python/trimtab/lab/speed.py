"""How long a training step takes here and in PyTorch, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from math import nan
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

import trimtab as tt
from trimtab import extras
from trimtab.bench.load import Load, Moment
from trimtab.lab.nets import MLP
from trimtab.losses import CrossEntropy
from trimtab.optim import SGD

ROUNDS, STEPS = 5, 3  # at least, and steps in each
SECONDS = 2.0  # more rounds in this time
OTHER_CPUS = 0.5  # what other processes may take of them
LEARNING_RATE = 1e-3


class Step(NamedTuple):
    """A step of SGD on the cross entropy of a net."""

    net: MLP
    batch: int
    momentum: float = 0.0
    weight_decay: float = 0.0


def times_as_long_in_torch(step: Step) -> float | None:
    """Return the time of a step in PyTorch as a multiple of ours; None if PyTorch is not installed.

    The two take turns, on as many threads. The best of each is compared: other processes only take time. NaN
    if they took so much that the numbers say nothing.
    """
    if find_spec("torch") is None:
        return None
    torch = extras.load("torch", "bench")
    threads = torch.get_num_threads()
    torch.set_num_threads(tt.get_num_threads())
    try:
        our_step, its_step = ours(step), in_torch(step, torch)
        our_times: list[float] = []
        its_times: list[float] = []
        start, began = Moment.now(), perf_counter()
        while len(our_times) < ROUNDS or perf_counter() - began < SECONDS:
            our_times.append(_seconds(our_step))
            its_times.append(_seconds(its_step))
    finally:
        torch.set_num_threads(threads)
    return nan if Load.since(start).others > OTHER_CPUS else min(its_times) / min(our_times)


def _seconds(step: Callable[[], float]) -> float:
    began = perf_counter()
    for _ in range(STEPS):
        step()
    return perf_counter() - began


def _batch(step: Step) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.random((step.batch, step.net.widths[0]), np.float32)
    return x, rng.integers(step.net.widths[-1], size=step.batch)


def ours(step: Step) -> Callable[[], float]:
    """Return a function that does the step with this library, and returns the loss before it."""
    (x, labels), model, loss = _batch(step), step.net.build(0), CrossEntropy()
    model.wants_dx = False
    optimizer = SGD(model, LEARNING_RATE, momentum=step.momentum, weight_decay=step.weight_decay)

    def train() -> float:
        value, dlogits, *_ = loss(model.forward(x), labels)
        model.backward(dlogits)
        optimizer.step()
        return float(value)

    return train


def in_torch(step: Step, torch: Any) -> Callable[[], float]:
    """Return a function that does the step in PyTorch, and returns the loss before it."""
    x, labels = map(torch.from_numpy, _batch(step))
    model = torch_net(step.net, torch.nn)
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, momentum=step.momentum, weight_decay=step.weight_decay
    )

    def train() -> float:
        optimizer.zero_grad()
        value = loss(model(x), labels)
        value.backward()
        optimizer.step()
        return float(value.detach())

    return train


def torch_net(net: MLP, nn: Any) -> Any:
    """Return the net with the layers of PyTorch."""
    activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[net.activation]
    norms = {
        "batch": nn.BatchNorm1d,
        "layer": nn.LayerNorm,
        "rms": nn.RMSNorm,
        "group": lambda width: nn.GroupNorm(8, width),
    }
    layers = [nn.Dropout(net.input_dropout)] if net.input_dropout else []
    *hidden, last = [*pairwise(net.widths)]
    for inputs, outputs in hidden:
        layers.append(nn.Linear(inputs, outputs, bias=net.norm != "batch"))
        layers += [norms[net.norm](outputs)] if net.norm else []
        layers.append(activation())
        layers += [nn.Dropout(net.dropout)] if net.dropout else []
    return nn.Sequential(*layers, nn.Linear(*last))
