"""Augmented batches of a fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from trimtab._inputs import real_array
from trimtab._typing import Array


def augmented(samples: Array, augment: Callable[..., ArrayLike], rng: np.random.Generator) -> Array:
    """Return the batch that `augment` makes of a batch, in the same dtype; it may change it in place."""
    own = samples if samples.flags.owndata else samples.copy()  # not memory of the caller
    changed = real_array("fit: result of augment", augment(own, rng=rng))
    if changed.shape[:1] != samples.shape[:1]:
        raise ValueError(
            f"fit: result of augment must have {len(samples)} samples as the batch, got shape {changed.shape}"
        )
    return changed.astype(samples.dtype, copy=False)
