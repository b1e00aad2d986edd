"""What is measured: one row for each operation and shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Self, TypeAlias

import numpy as np

from trimtab._typing import Array

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """The parameters of a model, which are updated at once."""

    name: str
    shapes: tuple[Shape, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return sum(map(prod, self.shapes))


def resnet50() -> Weights:
    """Return the parameters of ResNet-50 (He et al. 2016): convolutions with batch norms, the last layer."""

    def convolution(outputs: int, inputs: int, size: int) -> tuple[Shape, ...]:
        return (outputs, inputs, size, size), (outputs,), (outputs,)

    shapes, channels = [*convolution(64, 3, 7)], 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(width, channels, 1)
            shapes += convolution(width, width, 3)
            shapes += convolution(4 * width, width, 1)
            if block == 0:
                shapes += convolution(4 * width, channels, 1)
            channels = 4 * width
    return Weights("ResNet-50", (*shapes, (1000, channels), (1000,)))


WEIGHTS = (
    Weights("8 of 64x64, 8 of 64", ((64, 64), (64,)) * 8),
    Weights("784-1024-1024-10", ((1024, 784), (1024,), (1024, 1024), (1024,), (10, 1024), (10,))),
    Weights("4096x4096", ((4096, 4096),)),
    resnet50(),
)


@dataclass(frozen=True)
class Case:
    """An operation at a shape.

    `axis` is the channel axis of batch, group and instance norm; layer norm and max-norm work on the last
    axis. `groups` are those of group norm, `p` is the chance of dropout, `weights` what an update is applied
    to, of which `shape` is the first. Quick cases are also part of the short run.
    """

    op: str
    shape: Shape
    axis: int = -1
    groups: int | None = None
    p: float | None = None
    weights: Weights | None = None
    quick: bool = False

    @property
    def label(self) -> str:
        """The weights, or the shape, how images are laid out, the groups, the chance of dropout."""
        if self.weights:
            return self.weights.name
        layout = {(4, 1): " NCHW", (4, -1): " NHWC"}.get((len(self.shape), self.axis), "")
        groups = "" if self.groups is None else f" {self.groups} groups"
        chance = "" if self.p is None else f" p={self.p:g}"
        return "x".join(map(str, self.shape)) + layout + groups + chance


CASES = (
    *(
        Case("layer_norm", shape, quick=prod(shape) <= 2**22)
        for shape in ((1, 768), (64, 256), (4096, 768), (8192, 4096))
    ),
    *(
        Case("layer_norm_backward", shape, quick=prod(shape) <= 2**22)
        for shape in ((4096, 768), (8192, 4096))
    ),
    *(
        Case(op, shape, axis, quick=len(shape) == 2)
        for op in ("batch_norm_forward", "batch_norm_backward", "batch_norm")
        for shape, axis in (((8192, 512), 1), ((32, 64, 56, 56), 1), ((32, 56, 56, 64), -1))
    ),
    *(
        Case(op, shape, axis)
        for op in ("batch_norm_residual_relu", "batch_norm_residual_relu_backward")
        for shape, axis in (((32, 64, 56, 56), 1), ((32, 56, 56, 64), -1))
    ),
    *(
        Case(op, shape, axis, groups=32, quick=prod(shape) <= 2**20)
        for op in ("group_norm", "group_norm_backward")
        for shape, axis in (((8, 512, 7, 7), 1), ((32, 64, 56, 56), 1), ((32, 56, 56, 64), -1))
    ),
    *(
        Case(op, shape, axis, quick=prod(shape) <= 2**20)
        for op in ("instance_norm", "instance_norm_backward")
        for shape, axis in (((8, 512, 7, 7), 1), ((16, 64, 64, 64), 1), ((16, 64, 64, 64), -1))
    ),
    *(
        Case("dropout_forward", shape, p=p, quick=prod(shape) <= 2**20)
        for shape in ((1, 1024), (64, 1024), (1024, 1024), (4096, 4096))
        for p in (0.5, 0.1)
    ),
    *(
        Case("dropout_backward", shape, p=0.5, quick=prod(shape) <= 2**20)
        for shape in ((1024, 1024), (4096, 4096))
    ),
    *(
        Case(op, weights.shapes[0], weights=weights, quick=weights.size <= 2**21)
        for op in ("sgd_update", "sgd_update_clipped")
        for weights in WEIGHTS
    ),
    *(
        Case(op, shape, quick=prod(shape) <= 2**20)
        for op in ("sigmoid", "tanh")
        for shape in ((64, 256), (1024, 1024), (4096, 4096))
    ),
    *(Case("max_norm", shape, quick=prod(shape) <= 2**20) for shape in ((512, 784), (4096, 4096))),
)


@dataclass(frozen=True)
class Inputs:
    """The arrays of a case; `mean` and `var` are running statistics, (C,) like gamma and beta.

    `residual` is what is added, and what a ReLU returned.
    """

    x: Array
    dy: Array
    gamma: Array
    beta: Array
    mean: Array
    var: Array
    residual: Array
    axis: int
    groups: int
    p: float
    shapes: tuple[Shape, ...]
    eps: float = 1e-5

    @classmethod
    def of(cls, case: Case) -> Self:
        """Draw float32 arrays, the same for every run."""
        rng = np.random.default_rng(0)

        def normal(shape: tuple[int, ...], around: float = 0.0) -> Array:
            return rng.standard_normal(shape, np.float32) + np.float32(around)

        channels = (case.shape[case.axis],)
        x, dy = normal(case.shape, 0.5), normal(case.shape)
        gamma, beta, mean = normal(channels, 1), normal(channels), normal(channels)
        var = np.square(normal(channels, 1)) + np.float32(0.5)
        shapes = case.weights.shapes if case.weights else ()
        residual, groups = normal(case.shape), case.groups or channels[0]
        return cls(x, dy, gamma, beta, mean, var, residual, case.axis, groups, case.p or 0, shapes)

    def limit(self) -> float:
        """A length that about half of the rows exceed."""
        return float(np.median(np.linalg.norm(self.x, axis=-1)))

    def weights(self) -> tuple[list[Array], list[Array], list[Array]]:
        """Draw the arrays of an update: parameters, gradients, momentum buffers."""
        rng = np.random.default_rng(2)
        w, g, v = (
            [rng.standard_normal(shape, np.float32).astype(self.x.dtype) for shape in self.shapes]
            for _ in range(3)
        )
        return w, g, v

    def keep(self) -> Array:
        """Draw what dropout keeps, the same for every library."""
        return np.random.default_rng(1).random(self.x.shape, np.float32) >= self.p

    def wide(self) -> Inputs:
        """Return the same values in float64."""
        arrays: dict[str, Any] = {
            name: value.astype(np.float64)
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray)
        }
        return replace(self, **arrays)
