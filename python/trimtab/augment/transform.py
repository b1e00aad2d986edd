"""What every transform shares: the layouts of images, their dtypes, pixels beyond the edge, and masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from trimtab._checks import whole
from trimtab._inputs import as_array, as_generator
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
        if axis is not None and whole(f"{type(self).__name__}: axis", axis) not in LAYOUTS:
            raise ValueError(f"{type(self).__name__}: axis must be None, 1 or -1, got {axis}")
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
            What is drawn from.
        masks : array_like, optional
            Labels of the pixels, of any dtype: (N, H, W), or in the layout of the images with channels of
            their own. They are moved as the images are, each pixel taking the label nearest to where it
            comes from, and keep their values otherwise.

        Returns
        -------
        numpy.ndarray, or a tuple of images and masks where masks are given
        """
        given = self._five_axes("images", images, self.axis)
        if not is_real(given.dtype):
            raise TypeError(f"{self._name}: images must be integers or real, got dtype {given.dtype}")
        generator = as_generator(f"{self._name}: rng", rng)
        if masks is None:
            return self._changed(given, generator)
        again = deepcopy(generator)
        axis = None if np.ndim(masks) == 3 else self.axis
        labels = self._five_axes("masks", masks, axis)
        if (len(labels), *labels.shape[2:4]) != (len(given), *given.shape[2:4]):
            raise ValueError(
                f"{self._name}: masks must be of the size of the images, {len(given)} of {given.shape[2:4]}, "
                f"got {len(labels)} of {labels.shape[2:4]}"
            )
        moved = self.change_masks(labels, given, again)
        return self._changed(given, generator), moved.squeeze(ADDED_AXES[axis])

    @abstractmethod
    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return changed images. Whatever the layout, they are (N, C, H, W, D) here, with C or D being 1.

        What becomes of an image depends on no other image. The result may be of a wider dtype: it is rounded
        to that of the images, and what does not fit is the nearest value that does.
        """

    def change_masks(self, masks: Array, images: Array, rng: np.random.Generator) -> Array:
        """Return masks (N, C', H, W, D') moved as `change` moves the images with the same draws."""
        raise TypeError(f"{self._name}: masks must be None where change_masks is not defined")

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _five_axes(self, argument: str, given: ArrayLike, axis: int | None) -> Array:
        array = as_array(f"{self._name}: {argument}", given)
        if array.ndim != len(LAYOUTS[axis].split()):
            raise ValueError(f"{self._name}: {argument} must be {LAYOUTS[axis]}, got shape {array.shape}")
        return np.expand_dims(array, ADDED_AXES[axis])

    def _changed(self, given: Array, rng: np.random.Generator) -> Array:
        return as_dtype(self.change(given, rng), given.dtype).squeeze(ADDED_AXES[self.axis])


class Values(Transform):
    """A change of the values of pixels where they are."""

    def change_masks(self, masks: Array, images: Array, rng: np.random.Generator) -> Array:
        """Return the masks as they are."""
        return masks.copy()


class Geometry(Transform):
    """A change of places: every pixel comes from somewhere in its image."""

    @abstractmethod
    def places(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw the rows and columns that pixels come from, each (N or 1, H' or 1, W' or 1)."""

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the pixels from there."""
        return nearest_pixels(images, *self.places(images, rng))

    def change_masks(self, masks: Array, images: Array, rng: np.random.Generator) -> Array:
        """Return the labels from there."""
        return nearest_pixels(masks, *self.places(images, rng))


def nearest_pixels(images: Array, rows: Array, columns: Array) -> Array:
    """Return (N, C, H', W', D) from places (N or 1, H' or 1, W' or 1); beyond the edge, the nearest."""
    samples, channels, height, width, depth = images.shape
    rows, columns = (np.rint(place).astype(np.intp)[:, None] for place in (rows, columns))
    planes = np.arange(samples * channels).reshape(samples, channels, 1, 1)
    places = (planes * height + np.clip(rows, 0, height - 1)) * width + np.clip(columns, 0, width - 1)
    found: Array = images.reshape(-1, depth).take(places, axis=0)
    return found


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is that of integers or floats."""
    return dtype.kind in "iuf" or dtype.name == "bfloat16"


def as_wide(images: Array) -> Array:
    """Return the images in a floating type of at least 32 bits, for integers of 32 bits and more of 64."""
    return images.astype(np.result_type(images.dtype, np.float32), copy=False)


def as_dtype(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return values in a dtype: in integers the nearest that there is, in floats rounded."""
    if values.dtype == dtype:
        return values
    if dtype.kind not in "iu":
        return values.astype(dtype)
    ends = np.iinfo(dtype)
    rounded = np.rint(values)
    # float(ends.max) of 64 bits is one more than the largest
    above = rounded >= float(ends.max)
    result = np.where(above, 0, np.maximum(rounded, float(ends.min))).astype(dtype)
    result[above] = ends.max
    return result
