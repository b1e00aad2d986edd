"""What every transform shares: the layouts of images, their dtypes, and pixels beyond the edge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from trimtab._typing import Array, Seed

LAYOUTS = {None: "(N, H, W)", 1: "(N, C, H, W)", -1: "(N, H, W, C)"}
# Where (N, C, H, W, D) has an axis that the layout has not
ADDED_AXES = {None: (1, 4), 1: (4,), -1: (1,)}


class Transform(ABC):
    """A random change of every image of a batch.

    Parameters
    ----------
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, axis: int | None = None) -> None:
        if axis not in LAYOUTS:
            raise ValueError(f"{type(self).__name__}: axis must be None, 1 or -1, got {axis}")
        self.axis = axis

    def __call__(self, images: ArrayLike, rng: Seed = None) -> Array:
        """Return changed copies of the images, drawing from `rng`: a Generator, an int seed or None."""
        given, name = np.asarray(images), type(self).__name__
        if given.ndim != len(LAYOUTS[self.axis].split()):
            raise ValueError(f"{name}: images must be {LAYOUTS[self.axis]}, got shape {given.shape}")
        is_integer = np.issubdtype(given.dtype, np.integer)
        if not (is_integer or np.issubdtype(given.dtype, np.floating) or given.dtype.name == "bfloat16"):
            raise TypeError(f"{name}: images must be integers or real, got dtype {given.dtype}")
        added = ADDED_AXES[self.axis]
        changed = self.change(np.expand_dims(given, added), np.random.default_rng(rng)).squeeze(added)
        if is_integer and changed.dtype != given.dtype:
            np.rint(changed, out=changed)
        return changed.astype(given.dtype, copy=False)

    @abstractmethod
    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return changed images. Whatever the layout, they are (N, C, H, W, D) here, with C or D being 1.

        The result may be of a wider dtype, if it fits into that of the images, which it is rounded to.
        """


def nearest_pixels(images: Array, rows: Array, columns: Array) -> Array:
    """Return (N, C, H', W', D) for rows and columns that broadcast; beyond the edge, the nearest."""
    samples, channels, height, width, depth = images.shape
    planes = np.arange(samples * channels).reshape(samples, channels, 1, 1)
    places = (planes * height + np.clip(rows, 0, height - 1)) * width + np.clip(columns, 0, width - 1)
    found: Array = images.reshape(-1, depth).take(places, axis=0)
    return found


def as_wide(images: Array) -> Array:
    """Return the images in a floating type of at least 32 bits."""
    return images.astype(np.result_type(images.dtype, np.float32), copy=False)


def require_between(name: str, value: float, low: float, high: float) -> float:
    """Return a number, or raise a ValueError that begins with its name."""
    if not (low <= value <= high and isfinite(value)):
        raise ValueError(f"{name} must be finite and between {low} and {high}, got {value}")
    return value
