"""Batch normalization as a layer, with its variants: ghost batches, renormalization, adjustment, frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._typing import Array
from trimtab.nn.module import Module, as_float_dtype, as_gradient, as_input, protect
from trimtab.nn.norm import Norm, require_channels
from trimtab.nn.options import Fixed, Option, choice, optional, size

Adjustment: TypeAlias = Callable[[tuple[int, ...], np.random.Generator], tuple[ArrayLike, ArrayLike]]
Limit: TypeAlias = float | Callable[[int], float]


@dataclass(frozen=True)
class Ramp:
    """A straight line from `begin`, until batch `start`, to `end`, from batch `stop` on, which comes later.

    Raises
    ------
    TypeError, ValueError
        If one of the four is no finite number, or `stop` not after `start`.
    """

    begin: float
    end: float
    start: float
    stop: float

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            object.__setattr__(self, name, _checks.number(f"Ramp: {name}", value))
        _checks.number("Ramp: stop", self.stop, above=self.start)

    def __call__(self, batch: int) -> float:
        """Return the value at a batch, counted from 0."""
        share = (batch - self.start) / (self.stop - self.start)
        return self.begin + (self.end - self.begin) * min(max(share, 0.0), 1.0)


def _limit(name: str, value: Limit, low: float) -> Limit:
    """A function, infinity, or a number of at least `low`."""
    if callable(value) or (isinstance(value, float | np.floating) and value == np.inf):
        return value
    return _checks.number(name, value, low)


class _Saved(NamedTuple):
    """What forward keeps, in the order of the kernel."""

    x: Array
    y: Array | None  # where there is an activation
    mean: Array
    rstd: Array  # the variance where the statistics were constants
    gamma: Array | None  # adjusted
    training: bool
    corrections: tuple[Array, Array] | None = None  # r and d of renormalization
    adjustment: tuple[Array, Array] | None = None  # scale and bias
    order: Array | None = None  # of the samples
    residual: bool = False


class BatchNorm(Norm):
    """Batch normalization of each channel (Ioffe and Szegedy 2015), for arrays of any rank.

    In training ``y = gamma * (x - mean) / sqrt(var + eps) + beta`` with the mean and variance (1/m) of the
    batch, taken over every axis but `axis`; running averages of both are kept for evaluation, where they
    replace them. ``backward`` after a forward of a `frozen` layer, or after one in evaluation within
    `recording`, treats the statistics as constants.

    Parameters
    ----------
    channels : int
        Size of the channel axis.
    axis : int
        The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
    eps : float
        Added to the variance inside the root, >= 0.
    momentum : float or None
        Weight of the new batch in the running averages, from 0 to 1. None: they are the plain averages over
        all batches so far.
    affine : bool
        Whether gamma and beta are learned.
    unbiased : bool
        Whether the running variance averages m/(m-1) times the batch variance (the paper's inference rule).
    activation : {None, "relu"}
        Applied last, in the same pass.
    virtual_batch_size : int, optional
        Ghost batches (Hoffer et al. 2017): in training every so many samples are normalized by themselves;
        the last of these blocks may be shorter, but a single value a channel joins the block before it. The
        running averages are those of the whole batch.
    strided : bool
        Whether the samples of a ghost batch are those `batch size / virtual_batch_size` apart, as tf-keras
        groups them, instead of neighbors; the batch size is then a multiple.
    renorm : bool
        Batch renormalization (Ioffe 2017): y is corrected to what the running statistics would give, within
        limits. A running standard deviation takes the place of the running variance. The paper's momentum is
        0.01. Goes with neither ghost batches nor activation or residual.
    r_max, d_max : float or callable
        The limits of renormalization, 1 and 0 or more, or functions of the number of batches so far. The
        defaults are the schedule of the paper.
    adjustment : callable, optional
        ``adjustment(shape, rng) -> (scale, bias)``, each of the shape (C,) that is asked for or broadcast to
        it: in training ``scale * xhat + bias`` takes the place of xhat. ``rng`` is the layer's generator.
    frozen : bool
        Whether the running statistics are used, and left alone, in training, too. May be set at any time.
    dtype : dtype_like
        Of the parameters and running averages; x may have another.

    Attributes
    ----------
    dresidual : numpy.ndarray or None
        The gradient of the residual that forward was given; ``backward`` sets it.

    Notes
    -----
    In training each channel needs at least two values. ``running_mean`` starts at 0 and ``running_var`` or
    ``running_std`` at 1.
    """

    running_var: Array
    running_std: Array
    transient_names = Module.transient_names | {"dresidual"}
    dresidual: Array | None = None

    axis = Option(_checks.whole)
    momentum = Option(optional, _checks.number, 0, 1)
    unbiased = Option(_checks.flag)
    activation = Option(choice, None, "relu")
    virtual_batch_size = Option(optional, _checks.whole, 1)
    strided = Option(_checks.flag)
    renorm = Fixed(_checks.flag)
    r_max = Option(_limit, 1)
    d_max = Option(_limit, 0)
    frozen = Option(_checks.flag)

    def __init__(
        self,
        channels: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        unbiased: bool = True,
        activation: Literal["relu"] | None = None,
        virtual_batch_size: int | None = None,
        strided: bool = False,
        renorm: bool = False,
        r_max: Limit = Ramp(1, 3, 5_000, 40_000),
        d_max: Limit = Ramp(0, 5, 5_000, 25_000),
        adjustment: Adjustment | None = None,
        frozen: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> None:
        channels = size("BatchNorm: channels", channels)
        super().__init__((channels,), affine, dtype)
        self.axis, self.eps, self.momentum, self.unbiased = axis, eps, momentum, unbiased
        self.activation, self.virtual_batch_size, self.strided = activation, virtual_batch_size, strided
        self.renorm, self.r_max, self.d_max = renorm, r_max, d_max
        self.adjustment, self.frozen = adjustment, frozen
        self._require_combination()
        if not (adjustment is None or callable(adjustment)):
            raise TypeError(
                f"BatchNorm: adjustment must be a function or None, got {_checks.shown(adjustment)}"
            )
        dtype = as_float_dtype(dtype)
        self.running_mean = np.zeros(channels, dtype)
        self.batches = np.zeros((), np.int64)
        spread = "running_std" if renorm else "running_var"
        setattr(self, spread, np.ones(channels, dtype))
        counts = momentum is None or (renorm and (callable(r_max) or callable(d_max)))
        self.buffer_names = ("running_mean", spread, *(("batches",) if counts else ()))

    def forward(self, x: Array, residual: Array | None = None) -> Array:
        """Return y of the shape and dtype of x, which has `channels` entries along `axis`.

        A residual of the same shape and dtype is added before the activation.
        """
        self._require_combination()
        x = require_channels(self, x, self.axis, len(self.running_mean))
        if residual is not None and self.strided:
            residual = as_input(self, residual)
        if not self.training or self.frozen:
            return self._by_running_statistics(x, residual)
        if self.renorm:
            if residual is not None:
                raise ValueError(f"{self!r}: residual must be None with renorm, got an array")
            return self._renormalize(x)
        gamma, beta, adjustment = self._adjusted()
        order = self._order(len(x)) if self.strided else None
        if order is not None:
            x, residual = x[order], None if residual is None else residual[order]
        y, mean, rstd = kernels.batch_norm_forward(
            x,
            gamma,
            beta,
            running_mean=self.running_mean,
            running_var=self.running_var,
            momentum=self._weight_of_new(),
            unbiased=self.unbiased,
            axis=self.axis,
            eps=self.eps,
            activation=self.activation,
            residual=residual,
            virtual_batch_size=self.virtual_batch_size,
        )
        batches = self.batches
        batches += 1  # in place, without setting the attribute
        activated = y if self.activation else None
        self.saved = _Saved(
            x, activated, mean, rstd, gamma, True, None, adjustment, order, residual is not None
        )
        if activated is not None:
            protect(self, activated)
        return y if order is None else _reordered(y, order)

    def backward(self, dy: Array) -> Array:
        """Return dx, through the batch statistics where they were used."""
        saved: _Saved = self.saved
        dy = as_gradient(self, dy, saved.x.shape)
        if saved.order is not None:
            dy = dy[saved.order]
        if saved.corrections is not None:
            (r, d), dresidual = saved.corrections, None
            dx, dgamma, dbeta = kernels.batch_renorm_backward(
                dy, saved.x, saved.mean, saved.rstd, r, d, saved.gamma, axis=self.axis
            )
        else:
            dx, dgamma, dbeta, dresidual = kernels.batch_norm_backward(
                dy,
                saved.x,
                saved.mean,
                saved.rstd if saved.training else 1 / np.sqrt(saved.rstd),
                saved.gamma,
                axis=self.axis,
                y=saved.y,
                activation=self.activation,
                residual=saved.residual,
                training=saved.training,
                virtual_batch_size=self.virtual_batch_size if saved.training else None,
            )
        if saved.adjustment is not None:
            scale, bias = saved.adjustment
            dgamma = scale * dgamma + bias * dbeta
        self.keep_gradients(dgamma, dbeta)
        if saved.order is not None:
            dx = _reordered(dx, saved.order)
            dresidual = None if dresidual is None else _reordered(dresidual, saved.order)
        if dresidual is not self.dresidual:
            self.dresidual = dresidual
        return dx

    def _require_combination(self) -> None:
        """Raise a ValueError where options do not go together: each may be set at any time."""
        if self.strided and self.virtual_batch_size is None:
            raise ValueError("BatchNorm: strided must be False without virtual_batch_size, got True")
        if self.renorm and not (self.virtual_batch_size is None and self.activation is None):
            raise ValueError(
                "BatchNorm: renorm must be False with virtual_batch_size or activation, got True"
            )

    def running_moments(self) -> tuple[Array, Array]:
        """Return the mean and the variance that evaluation uses, eps included, in float64."""
        mean: Array = self.running_mean.astype(np.float64)
        if self.renorm:
            return mean, np.square(self.running_std, dtype=np.float64)
        var: Array = self.running_var.astype(np.float64)
        var += self.eps
        return mean, var

    def _by_running_statistics(self, x: Array, residual: Array | None) -> Array:
        gamma, beta = self.affine
        mean, var = self.running_moments()
        y = kernels.batch_norm(
            x,
            mean,
            var,
            gamma,
            beta,
            axis=self.axis,
            eps=0.0,
            activation=self.activation,
            residual=residual,
        )
        kept = y if self.activation else None
        self.saved = _Saved(x, kept, mean, var, gamma, training=False, residual=residual is not None)
        if kept is not None:
            protect(self, kept)
        return y

    def _renormalize(self, x: Array) -> Array:
        gamma, beta, adjustment = self._adjusted()
        batch = int(self.batches)
        y, mean, rstd, r, d = kernels.batch_renorm_forward(
            x,
            gamma,
            beta,
            running_mean=self.running_mean,
            running_std=self.running_std,
            r_max=_at(self.r_max, batch),
            d_max=_at(self.d_max, batch),
            momentum=self._weight_of_new(),
            axis=self.axis,
            eps=self.eps,
        )
        batches = self.batches
        batches += 1  # in place, without setting the attribute
        self.saved = _Saved(
            x,
            None,
            mean,
            rstd,
            gamma,
            training=True,
            corrections=(r, d),
            adjustment=adjustment,
        )
        return y

    def _weight_of_new(self) -> float:
        return 1 / (int(self.batches) + 1) if self.momentum is None else float(self.momentum)

    def _adjusted(self) -> tuple[Array | None, Array | None, tuple[Array, Array] | None]:
        """Gamma and beta of ``gamma * (scale * xhat + bias) + beta``; the scale and bias drawn."""
        gamma, beta = self.affine
        if self.adjustment is None:
            return gamma, beta, None
        if self.rng is None:
            self.rng = np.random.default_rng()
        shape = self.running_mean.shape
        scale, bias = (
            np.broadcast_to(np.asarray(drawn, np.float64), shape)
            for drawn in self.adjustment(shape, self.rng)
        )
        shift = bias if gamma is None else gamma * bias
        return (
            scale if gamma is None else gamma * scale,
            shift if beta is None else shift + beta,
            (scale, bias),
        )

    def _order(self, samples: int) -> Array:
        """The samples with those of a ghost batch side by side."""
        size = self.virtual_batch_size or samples
        if samples % size:
            raise ValueError(f"{self!r}: x must have a multiple of {size} samples, got {samples}")
        return np.arange(samples).reshape(size, -1).T.ravel()

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.running_mean)}, axis={self.axis})"


def _at(limit: Limit, batch: int) -> float:
    return limit(batch) if callable(limit) else limit


def _reordered(array: Array, order: Array) -> Array:
    """The inverse of ``array[order]``."""
    result: Array = np.empty_like(array)
    result[order] = array
    return result
