"""What is measured: one row for each operation and shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Self

import numpy as np

from trimtab._typing import Array


@dataclass(frozen=True)
class Case:
    """An operation at a shape.

    `axis` is the channel axis of batch norm; layer norm and max-norm work on the last axis. `p` is the chance
    of dropout, `arrays` the number of arrays of that shape that are updated at once. Quick cases are also
    part of the short run.
    """

    op: str
    shape: tuple[int, ...]
    axis: int = -1
    p: float | None = None
    arrays: int = 1
    quick: bool = False

    @property
    def label(self) -> str:
        """The number of arrays, the shape, how images are laid out, the chance of dropout."""
        number = "" if self.arrays == 1 else f"{self.arrays} of "
        layout = {(4, 1): " NCHW", (4, -1): " NHWC"}.get((len(self.shape), self.axis), "")
        chance = "" if self.p is None else f" p={self.p:g}"
        return number + "x".join(map(str, self.shape)) + layout + chance


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
        Case("dropout_forward", shape, p=p, quick=prod(shape) <= 2**20)
        for shape in ((1, 1024), (64, 1024), (1024, 1024), (4096, 4096))
        for p in (0.5, 0.1)
    ),
    *(
        Case("dropout_backward", shape, p=0.5, quick=prod(shape) <= 2**20)
        for shape in ((1024, 1024), (4096, 4096))
    ),
    *(
        Case("sgd_update", shape, arrays=arrays, quick=prod(shape) <= 2**20)
        for shape, arrays in (((64, 64), 16), ((1024, 1024), 2), ((4096, 4096), 1))
    ),
    *(Case("max_norm", shape, quick=prod(shape) <= 2**20) for shape in ((512, 784), (4096, 4096))),
)


@dataclass(frozen=True)
class Inputs:
    """The arrays of a case; `mean` and `var` are running statistics, (C,) like gamma and beta."""

    x: Array
    dy: Array
    gamma: Array
    beta: Array
    mean: Array
    var: Array
    axis: int
    p: float
    arrays: int
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
        return cls(x, dy, gamma, beta, mean, var, case.axis, case.p or 0, case.arrays)

    def limit(self) -> float:
        """A length that about half of the rows exceed."""
        return float(np.median(np.linalg.norm(self.x, axis=-1)))

    def weights(self) -> tuple[list[Array], list[Array], list[Array]]:
        """Copy the arrays of an update: parameters, gradients, momentum buffers."""
        w, g, v = ([array.copy() for _ in range(self.arrays)] for array in (self.x, self.dy, self.x))
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
