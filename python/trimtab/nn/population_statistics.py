"""`update_batch_norm`: running statistics of batch norms from all samples at once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._inputs import real_array
from trimtab._typing import Array
from trimtab.nn.arguments import as_samples
from trimtab.nn.batch_norm import BatchNorm
from trimtab.nn.module import Module
from trimtab.nn.passes import evaluation, forward_hook


def update_batch_norm(model: Module, x: ArrayLike, batch_size: int = 256) -> None:
    """Compute the running statistics of all batch norms anew, over all samples.

    Afterwards they are what one forward pass in training, with all samples as one batch and a momentum of 1,
    would leave, but dropout is inactive, and memory is needed for one batch only. They do not depend on
    `batch_size`, up to rounding. Weights that have been averaged (Izmailov et al. 2018) or loaded need it;
    it is also more precise than running averages ("precise batch norm", Wu and Johnson 2021).

    Parameters
    ----------
    model : Module
        In any mode. Frozen batch norms keep their statistics, as do other layers that have some.
    x : array_like
        Samples along axis 0, at least two; a memory map is read batch by batch. They go through the model
        once for each batch norm, up to that layer, because its input depends on the statistics before it.
    batch_size : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or a channel has a single value; nothing has been
        changed then.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import nn
    >>> norm = nn.BatchNorm(2)
    >>> nn.update_batch_norm(norm, np.array([[1, 10], [2, 20], [3, 30]]))
    >>> norm.running_mean, norm.running_var
    (array([ 2., 20.], dtype=float32), array([  1., 100.], dtype=float32))
    """
    _checks.instance("update_batch_norm: model", model, Module, "be a Module")
    samples = real_array("update_batch_norm: x", x)
    if samples.ndim == 0 or len(samples) == 0:
        raise ValueError(f"update_batch_norm: x must hold at least one sample, got shape {samples.shape}")
    batch_size = _checks.whole("update_batch_norm: batch_size", batch_size, 1)
    buffers = [*model.buffers().values()]
    copies = [array.copy() for array in buffers]
    try:
        with evaluation(model, strict=True):
            _Update(model, samples, batch_size).run()
    except BaseException:
        for array, copy in zip(buffers, copies, strict=True):
            array[...] = copy
        raise


class _Reached(Exception):
    """Ends a forward pass at the layer whose input is wanted."""


class _Update:
    """The recomputation of all batch norms of a model, in the order in which a pass reaches them."""

    def __init__(self, model: Module, samples: Array, batch_size: int) -> None:
        self._model = model
        self._samples, self._batch_size = samples, batch_size
        self._starts = range(0, len(samples), batch_size)

    def run(self) -> None:
        """Update all."""
        norms = self._in_order()
        moments = []
        for norm in norms:
            mean, var, count = self._moments_of_input(norm)
            if count < 2:
                raise ValueError(
                    f"update_batch_norm: x must give at least two values per channel of {norm!r}, "
                    f"got shape {self._samples.shape}"
                )
            # Like a batch that is normalized, those after it see the variance 1/m
            _set(norm, mean, var)
            moments.append((mean, var * count / (count - 1) if norm.unbiased else var))
        for norm, (mean, var) in zip(norms, moments, strict=True):
            _set(norm, mean, var)
            if norm.momentum is None:
                norm.batches[...] = len(self._starts)

    def _batch(self, start: int) -> Array:
        return as_samples(self._model, self._samples[start : start + self._batch_size])

    def _in_order(self) -> list[BatchNorm]:
        """Return the batch norms that are not frozen, in the order of a pass."""
        reached: dict[BatchNorm, None] = {}

        def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(module, BatchNorm) and not module.frozen:
                reached[module] = None

        with forward_hook(self._model, note):
            self._model.forward(self._batch(0))
        return [*reached]

    def _moments_of_input(self, norm: BatchNorm) -> tuple[Array, Array, float]:
        """Return mean and variance (1/m) of each channel of the layer's input, and m."""
        parts: list[tuple[Array, Array, float]] = []

        def keep(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            if module is norm:
                parts.append(kernels.batch_moments(inputs[0], axis=norm.axis))
                raise _Reached

        with forward_hook(self._model, keep):
            for start in self._starts:
                with suppress(_Reached):
                    self._model.forward(self._batch(start))
                means, variances, counts = zip(*parts, strict=True)
                parts[:] = [kernels.combine_moments(np.stack(means), np.stack(variances), np.array(counts))]
        return parts[0]


def _set(norm: BatchNorm, mean: Array, var: Array) -> None:
    norm.running_mean[...] = mean
    if norm.renorm:
        norm.running_std[...] = np.sqrt(var + norm.eps)
    else:
        norm.running_var[...] = var
