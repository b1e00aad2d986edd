"""`update_batch_norm`: running statistics of batch norms from all samples at once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import trimtab._core as kernels
from trimtab import _checks
from trimtab._batches import Samples
from trimtab._stream import SampleStream, located_errors, read_unpaired
from trimtab._typing import Array
from trimtab.nn.arguments import as_samples
from trimtab.nn.batch_norm import BatchNorm
from trimtab.nn.module import Module
from trimtab.nn.passes import evaluation, forward_hook


def update_batch_norm(model: Module, x: ArrayLike | Iterable[Any], batch_size: int = 256) -> None:
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

        Or an iterable of batches, as for `Trainer.predict`: arrays x, or tuples such as ``(x, y)`` whose
        first item counts. It is iterated over once for each batch norm; an iterator, which is used up after
        one pass, goes with one batch norm.
    batch_size : int
        At least 1; an iterable has batches of its own.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, x yields no batches, or a channel has a single
        value; nothing has been changed then.
    FloatingPointError
        If the mean or the variance of a channel is not finite; nothing has been changed then.

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
    batch_size = _checks.whole("update_batch_norm: batch_size", batch_size, 1)
    norms = [module for _, module in model.modules() if isinstance(module, BatchNorm) and not module.frozen]
    data = read_unpaired("update_batch_norm", x, passes=len(norms), purpose="batch norms")
    if isinstance(data, Samples) and len(data.x) == 0:
        raise ValueError(f"update_batch_norm: x must hold at least one sample, got shape {data.x.shape}")
    buffers = [*model.buffers().values()]
    copies = [array.copy() for array in buffers]
    try:
        with evaluation(model, strict=True), located_errors(data):
            _Update(model, data, batch_size).run()
    except BaseException:
        for array, copy in zip(buffers, copies, strict=True):
            array[...] = copy
        raise


class _Reached(Exception):
    """Ends a forward pass at the layer whose input is wanted."""


class _Update:
    """The recomputation of all batch norms of a model, in the order in which a pass reaches them."""

    def __init__(self, model: Module, data: Samples | SampleStream, batch_size: int) -> None:
        self._model, self._data, self._batch_size = model, data, batch_size

    def run(self) -> None:
        """Update all."""
        norms = self._in_order()
        moments = []
        for norm in norms:
            mean, var, count, batches = self._moments_of_input(norm)
            if count < 2:
                raise ValueError(
                    f"update_batch_norm: x must give {norm!r} at least two values per channel, got {count:g}"
                )
            # Like a batch that is normalized, those after it see the variance 1/m
            _set(norm, mean, var)
            moments.append((mean, var * count / (count - 1) if norm.unbiased else var, batches))
        for norm, (mean, var, batches) in zip(norms, moments, strict=True):
            _set(norm, mean, var)
            if norm.momentum is None:
                norm.batches[...] = batches

    def _in_order(self) -> list[BatchNorm]:
        """Return the batch norms that are not frozen, in the order of a pass."""
        reached: dict[BatchNorm, None] = {}

        def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(module, BatchNorm) and not module.frozen:
                reached[module] = None

        with forward_hook(self._model, note):
            self._model.forward(as_samples(self._model, self._first_batch()))
        return [*reached]

    def _first_batch(self) -> Array:
        data = self._data
        return data.first if isinstance(data, SampleStream) else next(data.batches(self._batch_size))

    def _moments_of_input(self, norm: BatchNorm) -> tuple[Array, Array, float, int]:
        """Return mean and variance (1/m) of each channel of the input of a layer, m, and the batches."""
        parts: list[tuple[Array, Array, float]] = []
        batches = 0

        def keep(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            if module is norm:
                parts.append(kernels.batch_moments(inputs[0], axis=norm.axis))
                raise _Reached

        with forward_hook(self._model, keep):
            for batch in self._data.batches(self._batch_size):
                with suppress(_Reached):
                    self._model.forward(as_samples(self._model, batch))
                means, variances, counts = zip(*parts, strict=True)
                parts[:] = [kernels.combine_moments(np.stack(means), np.stack(variances), np.array(counts))]
                if not np.isfinite(parts[0][:2]).all():
                    raise FloatingPointError(
                        f"update_batch_norm: x must give {norm!r} a finite mean and variance, "
                        f"got NaN or Inf in batch {batches}"
                    )
                batches += 1
        return *parts[0], batches


def _set(norm: BatchNorm, mean: Array, var: Array) -> None:
    norm.running_mean[...] = mean
    if norm.renorm:
        norm.running_std[...] = np.sqrt(var + norm.eps)
    else:
        norm.running_var[...] = var
