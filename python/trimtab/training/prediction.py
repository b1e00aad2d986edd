"""The output of a model for samples: once, or as mean and spread of many passes with dropout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trimtab._typing import Array
from trimtab.nn.arguments import as_samples
from trimtab.nn.module import Module
from trimtab.nn.passes import evaluation, sampling
from trimtab.training.batches import batch_slices


class Prediction(NamedTuple):
    """The mean and the standard deviation of the outputs of many passes.

    Attributes
    ----------
    mean : numpy.ndarray
    std : numpy.ndarray
        The root of the mean squared distance from the mean (``ddof=0``, as of `numpy.std`).
    """

    mean: Array
    std: Array


def predict(model: Module, samples: Array, batch_size: int) -> Array:
    """Return the output of the model in evaluation."""
    with evaluation(model):
        return np.concatenate([model.forward(batch) for batch in _batches(model, samples, batch_size)])


def predict_sampling(
    model: Module, samples: Array, batch_size: int, passes: int, rng: np.random.Generator
) -> Prediction:
    """Return mean and standard deviation of passes in which the layers that draw do so.

    A batch goes through all passes before the next one: memory does not grow with their number.
    """
    with sampling(model, rng):
        parts = [_moments(model, batch, passes) for batch in _batches(model, samples, batch_size)]
    means, spreads = zip(*parts, strict=True)
    return Prediction(np.concatenate(means), np.concatenate(spreads))


def _moments(model: Module, batch: Array, passes: int) -> Prediction:
    """Return mean and standard deviation for one batch (Welford 1962), in float64 and rounded once."""
    output = model.forward(batch)
    mean = output.astype(np.float64)
    squares = np.zeros_like(mean)
    for number in range(2, passes + 1):
        value = model.forward(batch).astype(np.float64)
        difference = value - mean
        mean += difference / number
        squares += difference * (value - mean)
    return Prediction(mean.astype(output.dtype), np.sqrt(squares / passes).astype(output.dtype))


def _batches(model: Module, samples: Array, batch_size: int) -> Iterator[Array]:
    """Yield the samples in the dtype of the model; one empty batch if there are none."""
    for batch in batch_slices(len(samples), batch_size) or [slice(0, 0)]:
        yield as_samples(model, samples[batch])
