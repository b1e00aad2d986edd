"""`Transform`, the base of all transforms: layouts, dtypes, masks; and its two kinds.

Inside, images are (N, H, W, C) in every layout: `_channels_last` converts what comes in, `_in_layout` what
goes out, and C is 1 for images without a channel axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from trimtab._checks import whole
from trimtab._inputs import as_array, as_generator
from trimtab._typing import Array, Seed
from trimtab.augment.dtypes import as_dtype, is_real

LAYOUTS = {None: "(N, H, W)", 1: "(N, C, H, W)", -1: "(N, H, W, C)"}


class Transform(ABC):
    """A random change of every image of a batch.

    Parameters
    ----------
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, axis: int | None = None) -> None:
        if axis is not None and whole(f"{self._name}: axis", axis) not in LAYOUTS:
            raise ValueError(f"{self._name}: axis must be None, 1 or -1, got {axis}")
        self.axis = axis

    @overload
    def __call__(self, images: ArrayLike, rng: Seed = None, masks: None = None) -> Array: ...
    @overload
    def __call__(self, images: ArrayLike, rng: Seed = None, *, masks: ArrayLike) -> tuple[Array, Array]: ...
    def __call__(self, images: ArrayLike, rng: Seed = None, masks: ArrayLike | None = None) -> Any:
        """Return changed copies of the images.

        Parameters
        ----------
        images : array_like
            Integers or floats in the layout of the transform.
        rng : int, numpy.random.Generator, numpy.random.RandomState or None
            Source of the draws.
        masks : array_like, optional
            Labels of the pixels, of any dtype: (N, H, W), or in the layout of the images with channels of
            their own. They move with the images: each pixel takes the label nearest to the place it comes
            from. Their values are not changed otherwise.

        Returns
        -------
        numpy.ndarray, or a tuple of images and masks if masks are given
        """
        given = self._channels_last("images", images, self.axis)
        if not is_real(given.dtype):
            raise TypeError(f"{self._name}: images must be integers or real, got dtype {given.dtype}")
        generator = as_generator(f"{self._name}: rng", rng)
        if masks is None:
            return self._changed(given, generator)
        axis = None if np.ndim(masks) == 3 else self.axis
        labels = self._channels_last("masks", masks, axis)
        if labels.shape[:3] != given.shape[:3]:
            raise ValueError(
                f"{self._name}: masks must be of the size of the images, {len(given)} of {given.shape[1:3]}, "
                f"got {len(labels)} of {labels.shape[1:3]}"
            )
        moved = self.change_masks(labels, given, deepcopy(generator))  # the same draws as for the images
        return self._changed(given, generator), _in_layout(moved, axis)

    @abstractmethod
    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return changed images; they are (N, H, W, C) here, whatever the layout of the transform.

        The change of an image depends on no other image. The result may be of a wider dtype: it is rounded to
        that of the images, and values beyond its range become the ends of the range.
        """

    def change_masks(self, masks: Array, images: Array, rng: np.random.Generator) -> Array:
        """Return masks (N, H, W, C') moved as `change` moves the images with the same draws."""
        raise TypeError(f"{self._name}: masks must be None where change_masks is not defined")

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _channels_last(self, argument: str, given: ArrayLike, axis: int | None) -> Array:
        """A view (N, H, W, C) of images in a layout."""
        array = as_array(f"{self._name}: {argument}", given)
        if array.ndim != len(LAYOUTS[axis].split()):
            raise ValueError(f"{self._name}: {argument} must be {LAYOUTS[axis]}, got shape {array.shape}")
        return array[..., None] if axis is None else np.moveaxis(array, axis, -1)

    def _changed(self, given: Array, rng: np.random.Generator) -> Array:
        return _in_layout(as_dtype(self.change(given, rng), given.dtype), self.axis)


def _in_layout(images: Array, axis: int | None) -> Array:
    """Images (N, H, W, C) in a layout."""
    if axis is None:
        return images[..., 0]
    return images if axis == -1 else np.ascontiguousarray(np.moveaxis(images, -1, axis))


class PixelLevel(Transform):
    """A change of the values of pixels, which stay where they are."""

    def change_masks(self, masks: Array, images: Array, rng: np.random.Generator) -> Array:
        """Return the masks as they are."""
        return masks.copy()


class Spatial(Transform):
    """A change of places: each pixel of the result comes from somewhere in the image."""

    @abstractmethod
    def sources(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw the rows and columns that pixels come from, each (N or 1, H' or 1, W' or 1)."""

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the pixels nearest to the sources."""
        return nearest_pixels(images, *self.sources(images, rng))

    def change_masks(self, masks: Array, images: Array, rng: np.random.Generator) -> Array:
        """Return the labels nearest to the sources."""
        return nearest_pixels(masks, *self.sources(images, rng))


def nearest_pixels(images: Array, rows: Array, columns: Array) -> Array:
    """Return (N, H', W', C) from rows and columns (N or 1, H' or 1, W' or 1), clipped to the image."""
    memory = as_planes(images)
    samples, planes, height, width, values = memory.shape
    plane = np.arange(samples * planes).reshape(samples, planes, 1, 1)
    rows, columns = (np.rint(place).astype(np.intp)[:, None] for place in (rows, columns))
    pixels = (plane * height + np.clip(rows, 0, height - 1)) * width + np.clip(columns, 0, width - 1)
    return from_planes(memory.reshape(-1, values).take(pixels, axis=0))


def as_planes(images: Array) -> Array:
    """Return a view (N, planes, H, W, values) of images: channels are planes if they are so in memory.

    Functions whose result is always in C order work on it, so that they transpose nothing.
    """
    return np.moveaxis(images, 3, 1)[..., None] if images.strides[3] > images.strides[2] else images[:, None]


def from_planes(memory: Array) -> Array:
    """Return a view (N, H, W, C) of `as_planes`."""
    return memory[:, 0] if memory.shape[1] == 1 else np.moveaxis(memory[..., 0], 1, 3)
