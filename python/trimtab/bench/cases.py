"""The benchmark cases: one row for each operation and shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from trimtab._typing import Array

Shape: TypeAlias = tuple[int, ...]

QUICK_SIZE = 2**20


@dataclass(frozen=True)
class Weights:
    """The shapes of the parameters of a model, which one call updates."""

    name: str
    shapes: tuple[Shape, ...]

    @property
    def size(self) -> int:
        """The number of elements of all parameters."""
        return sum(map(prod, self.shapes))


def resnet50() -> Weights:
    """Return the parameters of ResNet-50 (He et al. 2016): convolutions, batch norms, the last layer."""

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

    `axis` is the channel axis of batch, group and instance norm; layer norm and max-norm take the last axis.
    `groups` is the number of groups of group norm, `p` the dropout probability, `weights` the parameters
    of an update, the first of which has shape `shape`. With `out`, results go to an array of the caller in
    the libraries that can do so.
    """

    op: str
    shape: Shape
    axis: int = -1
    groups: int | None = None
    p: float | None = None
    weights: Weights | None = None
    dtype: str = "float32"
    out: bool = False

    @property
    def size(self) -> int:
        """The number of elements of the largest arrays."""
        return self.weights.size if self.weights else prod(self.shape)

    @property
    def quick(self) -> bool:
        """Whether the case is part of a quick run, too."""
        return self.size <= QUICK_SIZE and self.dtype == "float32" and not self.out

    @property
    def label(self) -> str:
        """The name of the weights, or the shape, layout of images and what else is not the default."""
        if self.weights:
            return self.weights.name
        layout = {(4, 1): " NCHW", (4, -1): " NHWC"}.get((len(self.shape), self.axis), "")
        groups = "" if self.groups is None else f" {self.groups} groups"
        chance = "" if self.p is None else f" p={self.p:g}"
        dtype = "" if self.dtype == "float32" else f" {self.dtype}"
        out = " out=" if self.out else ""
        return "x".join(map(str, self.shape)) + layout + groups + chance + dtype + out


Layout: TypeAlias = tuple[Shape, int]


def first(*shapes: Shape) -> tuple[Layout, ...]:
    """Shapes with channels along axis 1."""
    return tuple((shape, 1) for shape in shapes)


def last(*shapes: Shape) -> tuple[Layout, ...]:
    """Shapes with channels along the last axis."""
    return tuple((shape, -1) for shape in shapes)


def cases(ops: Sequence[str], layouts: Sequence[Layout], **options: Any) -> Iterator[Case]:
    """Make a case of each operation in each layout."""
    for op in ops:
        for shape, axis in layouts:
            yield Case(op, shape, axis, **options)


def updates(*ops: str) -> Iterator[Case]:
    """Make a case of each operation for the parameters of each model."""
    for op in ops:
        for weights in WEIGHTS:
            yield Case(op, weights.shapes[0], weights=weights)


ROW, ROWS = last((1, 768)), last((64, 256), (4096, 768), (8192, 4096))
COLUMNS = last((256, 1024), (8192, 512))
IMAGES = first((32, 64, 56, 56)) + last((32, 56, 56, 64))
PLANES = first((8, 512, 7, 7), (8, 512, 28, 28))
TILES = first((64, 512, 7, 7), (32, 256, 10, 10), (64, 256, 14, 14), (32, 67, 14, 14)) + last(
    (32, 14, 14, 67)
)
LONG, NARROW = last((4, 2**20)), last((3000, 300), (300_000, 16), (8192, 96))
SMALL_IMAGES = first((8, 32, 14, 14)) + last((8, 14, 14, 32))
ALL_DTYPES = ("float64", "float16", "bfloat16")
FLAT = last((64, 1024), (1024, 1024), (4096, 4096))

CASES = (
    *cases(["layer_norm", "layer_norm_backward"], ROW + ROWS),
    *cases(["add_layer_norm_forward"], ROWS),
    *cases(["rms_norm", "rms_norm_backward"], ROW + ROWS),
    *cases(["add_rms_norm_forward"], ROWS),
    *cases(["batch_norm_forward", "batch_norm_backward", "batch_norm"], COLUMNS + IMAGES),
    *cases(["batch_norm_residual_relu", "batch_norm_residual_relu_backward"], IMAGES),
    *cases(["batch_moments"], COLUMNS + IMAGES),
    *cases(["group_norm", "group_norm_backward"], PLANES + IMAGES, groups=32),
    *cases(
        ["instance_norm", "instance_norm_backward"],
        PLANES + first((16, 64, 64, 64)) + last((16, 64, 64, 64)),
    ),
    *(case for p in (0.5, 0.1) for case in cases(["dropout_forward"], last((1, 1024)) + FLAT, p=p)),
    *cases(["dropout_backward", "add_dropout_forward", "alpha_dropout_forward"], FLAT, p=0.5),
    *updates("sgd_update", "sgd_update_clipped", "sgd_optimizer", "adam_update", "penalty"),
    *cases(["max_norm"], last((512, 784), (4096, 4096))),
    *cases(
        [
            op + direction
            for op in ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu")
            for direction in ("", "_backward")
        ],
        FLAT,
    ),
    *cases(
        ["softmax", "softmax_backward", "log_softmax", "log_softmax_backward"],
        last((64, 10), (256, 1000), (4096, 768)),
    ),
    *cases(["softmax_cross_entropy"], last((64, 10), (256, 1000), (512, 32000))),
    *cases(["binary_cross_entropy", "mse", "mae", "huber"], last((64, 10), (1024, 1024))),
    # Small planes, odd numbers of channels, few long rows, narrow matrices
    *cases(["batch_norm_forward", "batch_norm_backward", "batch_norm"], TILES),
    *cases(["group_norm", "group_norm_backward"], first((64, 256, 14, 14)), groups=32),
    *cases(["layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"], LONG + NARROW),
    # Parts and relatives of batch norm
    *cases(
        ["batch_norm_apply", "batch_norm_backward_sums", "batch_norm_backward_apply"], SMALL_IMAGES + IMAGES
    ),
    *cases(["batch_renorm_forward", "batch_renorm_backward"], SMALL_IMAGES + IMAGES),
    *cases(["whiten_forward", "whiten_backward"], SMALL_IMAGES + IMAGES),
    *cases(["fold_batch_norm"], (((64, 64, 3, 3), 0), ((1024, 1024, 3, 3), 0))),
    # Relatives of dropout
    *cases(["alpha_dropout_backward", "gaussian_dropout_backward"], FLAT, p=0.5),
    *cases(["drop_path_forward", "drop_path_backward"], FLAT, p=0.1),
    *updates("clip_grad_norm"),
    *cases(["max_pool", "avg_pool"], last((8, 28, 28, 32), (32, 56, 56, 64))),
    # Other dtypes, results in arrays of the caller
    *(
        case
        for dtype in ALL_DTYPES
        for case in (
            *cases(["layer_norm", "layer_norm_backward", "rms_norm"], last((4096, 768)), dtype=dtype),
            *cases(["batch_norm_forward", "batch_norm"], IMAGES, dtype=dtype),
            *cases(["dropout_backward"], last((1024, 1024)), p=0.5, dtype=dtype),
            *cases(["relu", "sigmoid"], last((1024, 1024)), dtype=dtype),
        )
    ),
    *cases(["layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"], ROWS, out=True),
    *cases(["batch_norm_forward", "batch_norm_backward", "batch_norm"], COLUMNS + IMAGES, out=True),
    *cases(["group_norm", "group_norm_backward"], IMAGES, groups=32, out=True),
    *cases(["dropout_forward", "dropout_backward"], FLAT, p=0.5, out=True),
    *cases(["relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu"], FLAT, out=True),
    *cases(["softmax", "log_softmax"], last((256, 1000), (4096, 768)), out=True),
)


class Inputs:
    """The arrays of a case in its dtype or a given one, drawn on first access.

    `gamma`, `beta` and the running statistics `mean` and `var` have shape (C,), one value for each channel
    along `axis`; `others` are the other axes. The options of the operations are attributes, too.
    """

    eps, slope, label_smoothing = 1e-3, 0.2, 0.1  # not the defaults: who leaves one out is noticed
    # The learning rate is so small that many updates hardly change the weights.
    lr, momentum, weight_decay, max_grad_norm = 1e-3, 0.9, 0.01, 1.0
    beta1, beta2, step = 0.9, 0.999, 10  # of Adam

    def __init__(self, case: Case, dtype: DTypeLike | None = None) -> None:
        self.shape, self.axis, self.p = case.shape, case.axis, case.p or 0.0
        if case.dtype == "bfloat16":
            import_module("ml_dtypes")  # gives NumPy the name
        self.stored, self.dtype = np.dtype(case.dtype), np.dtype(dtype or case.dtype)
        self.channels = case.shape[case.axis]
        self.groups = case.groups or self.channels
        self.others = tuple(axis for axis in range(len(self.shape)) if axis != self.axis % len(self.shape))
        self.weights = case.weights.shapes if case.weights else ()

    def rounded(self, values: Array) -> Array:
        """Round values to the dtype of the case, so that they are the same in every dtype."""
        return values.astype(self.stored, copy=False).astype(self.dtype, copy=False)

    def normal(self, name: str, shape: Shape, around: float = 0.0) -> Array:
        """Draw normally distributed values, seeded by the name."""
        values = np.random.default_rng([*name.encode()]).standard_normal(shape, np.float32)
        values += np.float32(around)
        return self.rounded(values)

    @property
    def update(self) -> dict[str, Any]:
        """The options of an update that have the same names in all libraries."""
        return {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay}

    @cached_property
    def x(self) -> Array:
        return self.normal("x", self.shape, 0.5)

    @cached_property
    def dy(self) -> Array:
        return self.normal("dy", self.shape)

    @cached_property
    def residual(self) -> Array:
        """The residual added to `x`; for backward passes, the result of the forward pass."""
        return self.normal("residual", self.shape)

    @cached_property
    def gamma(self) -> Array:
        return self.normal("gamma", (self.channels,), 1)

    @cached_property
    def beta(self) -> Array:
        return self.normal("beta", (self.channels,))

    @cached_property
    def mean(self) -> Array:
        return self.normal("mean", (self.channels,))

    @cached_property
    def var(self) -> Array:
        return self.rounded(np.square(self.normal("var", (self.channels,), 1).astype(np.float64)) + 0.5)

    @cached_property
    def bias(self) -> Array:
        return self.normal("bias", (self.channels,))

    @cached_property
    def keep_sample(self) -> Array:
        """The mask of a drop path whose backward is timed: one decision for each sample."""
        return np.random.default_rng(1).random(self.shape[0]) >= self.p

    @cached_property
    def labels(self) -> Array:
        """A class for each row."""
        return np.random.default_rng(0).integers(self.shape[-1], size=self.shape[0])

    @cached_property
    def positives(self) -> Array:
        """A label for each value, 1 or 0."""
        return (np.random.default_rng(0).random(self.shape) < 0.5).astype(self.dtype)

    @cached_property
    def log_probabilities(self) -> Array:
        """The result of a logarithmic softmax whose backward is timed: not above 0."""
        return -np.abs(self.residual)

    @cached_property
    def keep(self) -> Array:
        """The mask of a dropout whose backward is timed."""
        return np.random.default_rng(1).random(self.shape, np.float32) >= self.p

    @cached_property
    def limit(self) -> float:
        """A length that about half of the rows exceed."""
        return float(np.median(np.linalg.norm(self.x, axis=-1)))

    def adam_state(self) -> tuple[list[Array], ...]:
        """Draw weights, gradients, averages of gradients and averages of their squares."""
        w, g, m, roots = map(self.each_weight, "wgms")
        return w, g, m, [np.square(root) for root in roots]

    def each_weight(self, name: str) -> list[Array]:
        """Draw an array for each parameter of a model, new ones in each call, as updates are in place."""
        return [self.normal(f"{name} {number}", shape) for number, shape in enumerate(self.weights)]
