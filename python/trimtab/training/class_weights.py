"""Weights of classes, as factors of the weights of samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trimtab import _checks
from trimtab._inputs import real_array
from trimtab._typing import Array
from trimtab._weights import ClassWeight, balanced_class_weight
from trimtab.losses import ClassLabels


def class_factors(given: ClassWeight, labels: ClassLabels) -> Array:
    """Return the factor of each class (K,) in float64; the labels are those of all samples to train on."""
    counted = labels.ids[labels.ids >= 0]
    present = np.unique(counted)
    factors = np.ones(labels.classes)
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(
                f"fit: class_weight must be 'balanced', a mapping or an array of factors, got {given!r}"
            )
        factors = balanced_class_weight(counted, labels.classes)
    elif isinstance(given, Mapping):
        for name, factor in given.items():
            label = _checks.whole("fit: class_weight: class", name)
            if label not in present:
                raise ValueError(
                    f"fit: class_weight must name classes of the labels, {_listed(present)}, got {label}"
                )
            factors[label] = _checks.number(f"fit: class_weight of class {label}", factor, 0)
    else:
        factors = real_array("fit: class_weight", given).astype(np.float64)
        if factors.shape != (labels.classes,) or not np.all(np.isfinite(factors) & (factors >= 0)):
            raise ValueError(
                f"fit: class_weight must be a finite factor >= 0 for each of {labels.classes} classes, "
                f"got {_checks.shown(given)}"
            )
    if not factors[present].any():
        raise ValueError(f"fit: class_weight must not be 0 for every class, got {_checks.shown(given)}")
    return factors


def weight_by_class(weight: Array | None, factors: Array, labels: ClassLabels) -> Array:
    """Return the weights of samples times the factors of their classes; those without a class stay."""
    by_class = np.where(labels.ids >= 0, factors[labels.ids], 1.0)
    return by_class if weight is None else weight * by_class


def _listed(classes: Array) -> str:
    names = [str(name) for name in classes[:10]]
    return ", ".join(names) + (", ..." if len(classes) > 10 else "")
