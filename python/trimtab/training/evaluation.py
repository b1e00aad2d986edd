"""The loss and the metrics of a model, on one batch and on a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import Parameter, signature
from typing import Any

import numpy as np

from trimtab import _checks
from trimtab._batches import Batch, Joined
from trimtab._inputs import real_array
from trimtab._typing import Array
from trimtab.distributed.ranks import Alone
from trimtab.losses import Loss
from trimtab.metrics import Mean, Means, Score, require_output_first
from trimtab.nn.arguments import as_samples
from trimtab.nn.module import Module
from trimtab.nn.passes import evaluation
from trimtab.training.history import EPOCH, VALIDATION

BATCH_SIZE = 256  # of evaluation and prediction


def evaluate(model: Module, loss: Loss, batches: Iterable[Batch], ranks: Alone) -> dict[str, float]:
    """Return the loss and its metrics on all samples of the batches of all ranks, the model in evaluation."""
    means = Means()
    scores = {name: metric for name, metric in loss.metrics.items() if isinstance(metric, Score)}
    outputs, targets = Joined("evaluate: output of the model"), Joined("evaluate: y")
    for values, output, target in ranks.in_turn(_evaluated(model, loss, batches, keep=bool(scores))):
        means.add(values)
        if scores:
            outputs.add(output)
            targets.add(target)
    found = means.values()
    if scores:
        all_outputs, all_targets = outputs.whole(), targets.whole()
        found |= {name: score(all_outputs, all_targets) for name, score in scores.items()}
    return {name: found[name] for name in ("loss", *loss.metrics) if name in found}


def _evaluated(model: Module, loss: Loss, batches: Iterable[Batch], *, keep: bool) -> Iterator[Any]:
    """Yield the metrics of each batch, with output and targets if they are to be kept."""
    with evaluation(model):
        for batch in batches:
            output = model.forward(as_samples(model, batch.x))
            values, _ = evaluate_batch("evaluate", loss, output, batch)
            yield values, *((output, np.asarray(loss.aligned(batch.y, output))) if keep else (None, None))


def evaluate_part(function: str, loss: Loss, output: Array, batch: Batch) -> tuple[dict[str, Mean], Array]:
    """Return `evaluate_batch` of a part of a batch, which may have no samples."""
    if len(batch.x):
        return evaluate_batch(function, loss, output, batch)
    names = ["loss", *(name for name, metric in loss.metrics.items() if not isinstance(metric, Score))]
    return dict.fromkeys(names, Mean(0.0, 0.0)), np.zeros_like(output)


def evaluate_batch(function: str, loss: Loss, output: Array, batch: Batch) -> tuple[dict[str, Mean], Array]:
    """Return the loss and its metrics, each with its weight, and the gradient of the loss.

    Errors name the `function` that was called: ``"fit"`` or ``"evaluate"``.
    """
    weights, target = batch.weight, batch.y
    if weights is None:
        result: Any = loss(output, target)
    else:
        result = loss(output, target, sample_weight=weights)
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise TypeError(
            f"{function}: loss must return (loss, gradient) or (loss, gradient, weight), "
            f"got {_checks.shown(result)}"
        )
    value, gradient, weight = (*result, len(output) if weights is None else weights.sum())[:3]
    values = {"loss": _as_mean(f"{function}: loss", value, weight)}
    target = loss.aligned(target, output)
    for name, metric in loss.metrics.items():
        if isinstance(metric, Score):
            continue
        values[name] = _as_mean(f"{function}: metric {name!r}", metric(output, target), len(output))
    gradient = real_array(f"{function}: gradient of the loss", gradient)
    if gradient.shape != output.shape:
        raise ValueError(
            f"{function}: gradient of the loss must have shape {output.shape}, got {gradient.shape}"
        )
    return values, gradient.astype(output.dtype, copy=False)


def require_metrics(function: str, loss: Loss) -> None:
    """Raise an error unless the metrics of a loss are functions, with names that nothing else has.

    The loss itself must take the output first, as they do.
    """
    require_output_first(f"{function}: loss", loss)
    for name, metric in loss.metrics.items():
        _checks.instance(f"{function}: name of a metric", name, str, "be a str")
        if name in ("loss", EPOCH) or name.startswith(VALIDATION):
            raise ValueError(
                f"{function}: metrics must not be named 'loss' or 'epoch' or begin with 'val_', got {name!r}"
            )
        if not callable(metric):
            raise TypeError(f"{function}: metric {name!r} must be a function, got {_checks.shown(metric)}")
        if not _takes_two(metric):
            maker = getattr(metric, "__name__", name)
            raise TypeError(
                f"{function}: metric {name!r} must be a function of output and target, "
                f"got {_checks.shown(metric)}; if it makes one, write {maker}(...)"
            )
        require_output_first(f"{function}: metric {name!r}", metric)


def _takes_two(metric: Any) -> bool:
    """Whether a metric takes two arguments by position, as far as it says which ones it takes."""
    if isinstance(metric, type):
        return False
    try:
        parameters = signature(metric)
    except (TypeError, ValueError):  # of a compiled function
        return True
    try:
        parameters.bind(None, None)
    except TypeError:
        return False
    return True


def require_weighted(function: str, loss: Loss) -> None:
    """Raise a TypeError unless the loss takes the weights of samples."""
    parameters = signature(loss).parameters.values()
    if not any(item.name == "sample_weight" or item.kind is Parameter.VAR_KEYWORD for item in parameters):
        raise TypeError(
            f"{function}: sample_weight must be None with a loss that does not take it: give "
            f"{type(loss).__name__} the parameter __call__(..., sample_weight=None)"
        )


def _as_mean(name: str, value: Any, weight: float) -> Mean:
    """Return a mean: the value is one, or a pair of mean and weight, or a mean of the default `weight`."""
    pair = (value, value.weight) if isinstance(value, Mean) else value
    try:
        number, weight = pair if isinstance(pair, tuple) else (pair, weight)
        mean = Mean(float(number), float(weight))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be a float, or a float and its weight, got {_checks.shown(value)}"
        ) from error
    _checks.number(f"{name}: weight", mean.weight, 0)
    return mean


def dtype_of(model: Module) -> np.dtype[Any]:
    """Return the dtype of the samples that a model takes: that of its first parameter."""
    dtype: np.dtype[Any] = model.parameters()[0].value.dtype
    return dtype
