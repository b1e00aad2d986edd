"""The output of a model for samples: once, or as mean and spread of many passes with dropout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from trimtab._batches import Joined
from trimtab._typing import Array
from trimtab.distributed.ranks import Alone
from trimtab.nn.arguments import as_samples
from trimtab.nn.module import Module
from trimtab.nn.passes import evaluation, sampling

OUTPUT = "predict: output of the model"


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


def predict(model: Module, batches: Iterable[Array], ranks: Alone) -> Array:
    """Return the output of the model in evaluation for the samples of all batches of all ranks."""
    outputs = Joined(OUTPUT)
    for output in ranks.in_turn(_outputs(model, batches)):
        outputs.add(output)
    return outputs.whole()


def _outputs(model: Module, batches: Iterable[Array]) -> Iterator[Array]:
    with evaluation(model):
        for batch in batches:
            output = model.forward(as_samples(model, batch))
            _require_entry_for_each(batch, output)
            yield output


def predict_sampling(
    model: Module, batches: Iterable[Array], passes: int, rng: np.random.Generator
) -> Prediction:
    """Return mean and standard deviation of passes in which the layers that draw do so.

    A batch goes through all passes before the next one: memory does not grow with their number.
    """
    means, spreads = Joined(OUTPUT), Joined(OUTPUT)
    with sampling(model, rng):
        for batch in batches:
            mean, spread = _moments(model, as_samples(model, batch), passes)
            _require_entry_for_each(batch, mean)
            means.add(mean)
            spreads.add(spread)
    return Prediction(means.whole(), spreads.whole())


def _require_entry_for_each(batch: Array, output: Array) -> None:
    """Raise a ValueError unless a batch and its output have axes of the same number of samples.

    A single sample without that axis would otherwise be taken for many: a layer accepts it as a vector.
    """
    if output.shape[:1] != batch.shape[:1]:
        raise ValueError(
            f"{OUTPUT} must have an entry for each of {len(batch)} samples, got shape {output.shape} "
            f"for x of shape {batch.shape}"
        )


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
