"""Batch normalization as a layer: its options, its state, and the choice of the statistics of a pass.

What a pass does with the statistics of the batch, or with the running averages, is in `batch_statistics`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trimtab import _checks
from trimtab._typing import Array
from trimtab.distributed import part as parts
from trimtab.distributed.ranks import Ranks, ranks_of
from trimtab.nn.arguments import as_gradient, require_channels
from trimtab.nn.batch_statistics import BatchStatistics, CorrectedStatistics, Gradients, RunningStatistics
from trimtab.nn.dtypes import as_float_dtype
from trimtab.nn.module import Module
from trimtab.nn.norm import Norm
from trimtab.nn.options import Fixed, Option, choice, optional, size
from trimtab.nn.passes import protect_if_saved
from trimtab.nn.synchronized_statistics import SynchronizedStatistics

Adjustment: TypeAlias = Callable[[tuple[int, ...], np.random.Generator], tuple[ArrayLike, ArrayLike]]
Limit: TypeAlias = float | Callable[[int], float]
Kept: TypeAlias = BatchStatistics | CorrectedStatistics | RunningStatistics | SynchronizedStatistics
Statistics: TypeAlias = type[BatchStatistics | CorrectedStatistics | RunningStatistics]


@dataclass(frozen=True)
class Ramp:
    """A limit that changes linearly with the number of batches.

    It is `begin` up to batch `start`, and `end` from batch `stop` on.

    Raises
    ------
    TypeError, ValueError
        If one of the four is not a finite number, or `stop` is not above `start`.

    Examples
    --------
    >>> from trimtab import nn
    >>> limit = nn.Ramp(begin=1.0, end=3.0, start=100, stop=200)
    >>> [limit(batches) for batches in (0, 150, 500)]
    [1.0, 2.0, 3.0]
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
        fraction = (batch - self.start) / (self.stop - self.start)
        return self.begin + (self.end - self.begin) * min(max(fraction, 0.0), 1.0)


def _limit(name: str, value: Limit, low: float) -> Limit:
    """Return a limit that is a function, infinity, or a number of at least `low`; else raise an error."""
    if callable(value) or (isinstance(value, float | np.floating) and value == np.inf):
        return value
    return _checks.number(name, value, low)


def _communicator(name: str, comm: Any) -> Ranks | None:
    return None if comm is None else ranks_of(name, comm)


class BatchNorm(Norm):
    """Batch normalization of each channel (Ioffe and Szegedy 2015), for arrays of any rank.

    ``y = gamma * (x - mean) / sqrt(var + eps) + beta``. In training, mean and variance (1/m) are those of the
    batch over every axis but `axis`. Evaluation uses their running averages. ``backward`` treats the
    statistics as constants if ``forward`` used the running averages: in a `frozen` layer or in evaluation.

    Parameters
    ----------
    channels : int
        Size of the channel axis.
    axis : int
        The channel axis: 1 for (N, C) and (N, C, H, W), -1 for channels-last.
    eps : float
        Added to the variance inside the root, >= 0.
    momentum : float or None
        Weight of the new batch in the running averages, from 0 to 1. None: the averages weigh all batches so
        far equally.
    affine : bool
        Whether gamma and beta are learned.
    scale, bias : bool
        Whether each of them is, gamma and beta; with ``affine=False`` neither is.
    unbiased : bool
        Whether the running variance averages m/(m-1) times the batch variance (the paper's inference rule).
    activation : {None, "relu"}
        Applied last, in the same pass.
    virtual_batch_size : int, optional
        Ghost batches (Hoffer et al. 2017): in training each virtual batch of this many consecutive samples
        has its own statistics. The last one may be smaller; if it has a single value per channel, it joins
        the one before it. The running averages are those of the whole batch.
    strided : bool
        Whether the samples of a virtual batch are `batch size / virtual_batch_size` apart, as in tf-keras,
        instead of consecutive. The batch size must then be a multiple of the virtual batch size.
    renorm : bool
        Batch renormalization (Ioffe 2017): y is corrected toward what the running statistics give, within
        limits. A running standard deviation replaces the running variance. The paper's momentum is 0.01.
        Cannot be combined with virtual batches, activation or residual.
    r_max, d_max : float or callable
        The limits of renormalization, r_max >= 1 and d_max >= 0, or functions of the number of batches so
        far. The defaults are the paper's schedule.
    adjustment : callable, optional
        ``adjustment(shape, rng) -> (scale, bias)``, each broadcast to the shape (C,): in training
        ``scale * xhat + bias`` replaces xhat. ``rng`` is the layer's generator.
    frozen : bool
        Whether training, too, uses the running statistics and does not update them. May be set at any time.
    comm : mpi4py.MPI.Intracomm, optional
        Synchronized batch norm: in training mean and variance are those of the batches of all ranks together.
        They may have different numbers of samples, or none. Forward and backward are collective, and the
        gradients of gamma and beta are those by the samples of this rank. Cannot be combined with virtual
        batches or `renorm`. May be set at any time; a `Trainer` with ``comm`` does not need it.
    dtype : dtype_like
        Of the parameters and running averages; x may have another.

    Attributes
    ----------
    dresidual : numpy.ndarray or None
        The gradient of the residual; ``backward`` sets it.

    Notes
    -----
    In training each channel needs at least two values. ``running_mean`` starts at 0 and ``running_var`` or
    ``running_std`` at 1.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> layer = nn.BatchNorm(2, eps=0.0)
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> layer(x)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> layer.running_mean
    array([0.2, 2. ], dtype=float32)
    >>> layer.eval()(x).round(2)
    array([[0.76, 1.75],
           [2.67, 6.12]])
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
    comm = Option(_communicator)

    def __init__(
        self,
        channels: int,
        *,
        axis: int = 1,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        scale: bool = True,
        bias: bool = True,
        unbiased: bool = True,
        activation: Literal["relu"] | None = None,
        virtual_batch_size: int | None = None,
        strided: bool = False,
        renorm: bool = False,
        r_max: Limit = Ramp(1, 3, 5_000, 40_000),
        d_max: Limit = Ramp(0, 5, 5_000, 25_000),
        adjustment: Adjustment | None = None,
        frozen: bool = False,
        comm: Any = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        channels = size("BatchNorm: channels", channels)
        super().__init__((channels,), affine, scale, bias, dtype)
        self.axis, self.eps, self.momentum, self.unbiased = axis, eps, momentum, unbiased
        self.activation, self.virtual_batch_size, self.strided = activation, virtual_batch_size, strided
        self.renorm, self.r_max, self.d_max = renorm, r_max, d_max
        self.adjustment, self.frozen, self.comm = adjustment, frozen, comm
        self._require_combination()
        if not (adjustment is None or callable(adjustment)):
            raise TypeError(
                f"BatchNorm: adjustment must be a function or None, got {_checks.shown(adjustment)}"
            )
        dtype = as_float_dtype(dtype)
        self.running_mean = np.zeros(channels, dtype)
        self.batches = np.zeros((), np.uint64)
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
        by_batch = self.training and not self.frozen
        gamma, beta = self.affine
        adjustment = None
        if by_batch and self.adjustment is not None:
            adjustment = self._draw_adjustment(self.adjustment)
            gamma, beta = _adjusted(gamma, beta, *adjustment)
        part = (parts.current() or self.comm) if by_batch else None
        kept: Kept
        if part is None:
            y, kept = self._statistics(by_batch).forward(self, x, residual, gamma, beta)
        else:
            self.require_synchronizable()
            y, kept = SynchronizedStatistics.forward(self, part, x, residual, gamma, beta)
        if by_batch and (part is None or part.updates):
            batches = self.batches
            batches += 1  # in place, without setting the attribute
        self.saved = kept, adjustment
        if kept.y is not None:
            protect_if_saved(self, kept.y)
        return y

    def _require_combination(self) -> None:
        """Raise a ValueError if options exclude each other; all but `renorm` may be set at any time."""
        if self.strided and self.virtual_batch_size is None:
            raise ValueError("BatchNorm: strided must be False without virtual_batch_size, got True")
        if self.renorm and not (self.virtual_batch_size is None and self.activation is None):
            raise ValueError(
                "BatchNorm: renorm must be False with virtual_batch_size or activation, got True"
            )
        if self.comm is not None:
            self.require_synchronizable()

    def require_synchronizable(self) -> None:
        """Raise a ValueError if the statistics cannot be taken over several parts of a batch."""
        if self.virtual_batch_size is not None:
            raise ValueError(
                f"BatchNorm: virtual_batch_size must be None with comm, got {self.virtual_batch_size}"
            )
        if self.renorm:
            raise ValueError("BatchNorm: renorm must be False with comm, got True")

    @property
    def weight_of_batch(self) -> float:
        """Weight of the next batch in the running averages."""
        return 1 / (int(self.batches) + 1) if self.momentum is None else float(self.momentum)

    def _statistics(self, by_batch: bool) -> Statistics:
        if not by_batch:
            return RunningStatistics
        return CorrectedStatistics if self.renorm else BatchStatistics

    def backward(self, dy: Array) -> Array:
        """Return dx, through the statistics of the batch if forward used them."""
        kept, adjustment = self.saved
        dy = as_gradient(self, dy, kept.x.shape)
        gradients: Gradients = kept.backward(self, dy)
        dx, dgamma, dbeta, dresidual = gradients
        if adjustment is not None:
            scale, bias = adjustment
            dgamma = scale * dgamma + bias * dbeta
        self.keep_gradients(dgamma, dbeta)
        if dresidual is not self.dresidual:
            self.dresidual = dresidual
        return dx

    def running_moments(self) -> tuple[Array, Array]:
        """Return the mean and the variance that evaluation uses, eps included, in float64."""
        mean: Array = self.running_mean.astype(np.float64)
        if self.renorm:
            return mean, np.square(self.running_std, dtype=np.float64)
        var: Array = self.running_var.astype(np.float64)
        var += self.eps
        return mean, var

    def _draw_adjustment(self, adjustment: Adjustment) -> tuple[Array, Array]:
        if self.rng is None:
            self.rng = np.random.default_rng()
        shape = self.running_mean.shape
        scale, bias = (
            np.broadcast_to(np.asarray(drawn, np.float64), shape) for drawn in adjustment(shape, self.rng)
        )
        return scale, bias

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.running_mean)}, axis={self.axis})"


def _adjusted(gamma: Array | None, beta: Array | None, scale: Array, bias: Array) -> tuple[Array, Array]:
    """Scale and shift of ``gamma * (scale * xhat + bias) + beta``."""
    if gamma is not None:
        scale, bias = gamma * scale, gamma * bias
    return scale, bias if beta is None else bias + beta
