"""Transforms that change the values of pixels where they are."""

from __future__ import annotations

from math import ceil

import numpy as np

from trimtab._typing import Array
from trimtab.augment.transform import Transform, as_wide, require_between

Limits = tuple[float, float] | None


class Brightness(Transform):
    """Adds one value to the whole image, uniform up to a share of the range of values either way.

    Parameters
    ----------
    amount : float
        The largest share, >= 0.
    limits : (low, high), optional
        The range, which the result is clipped to. By default that of the dtype for integers, and the smallest
        and the largest value of the batch for floating types.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, amount: float = 0.25, *, limits: Limits = None, axis: int | None = None) -> None:
        super().__init__(axis)
        self.amount = require_between("Brightness: amount", amount, 0, np.inf)
        self.limits = _require_order("Brightness", limits)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, lighter or darker."""
        low, high = _limits(images, self.limits)
        shares = rng.uniform(-self.amount, self.amount, len(images))
        changed: Array = np.clip(as_wide(images) + _per_image(shares * (high - low), images), low, high)
        return changed


class Contrast(Transform):
    """Scales the distance of values from the mean of the image, by a uniform factor.

    Parameters
    ----------
    low, high : float
        The ends of the factor, ``0 <= low <= high``; 1 is no change.
    limits : (low, high), optional
        The range that the result is clipped to; by default as for `Brightness`.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(
        self, low: float = 0.5, high: float = 1.5, *, limits: Limits = None, axis: int | None = None
    ) -> None:
        super().__init__(axis)
        self.low = require_between("Contrast: low", low, 0, np.inf)
        self.high = require_between("Contrast: high", high, low, np.inf)
        self.limits = _require_order("Contrast", limits)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, flatter or sharper."""
        low, high = _limits(images, self.limits)
        wide = as_wide(images)
        means = wide.mean(axis=(1, 2, 3, 4), keepdims=True)
        factors = _per_image(rng.uniform(self.low, self.high, len(images)), images)
        changed: Array = np.clip((wide - means) * factors + means, low, high)
        return changed


class Blur(Transform):
    """Blurs an image by a Gaussian of uniform standard deviation.

    Parameters
    ----------
    sigma : float
        The largest standard deviation in pixels, from 0 to 100; all Gaussians are cut off at ``3 * sigma``.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, sigma: float = 1.0, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.sigma = require_between("Blur: sigma", sigma, 0, 100)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, blurred along rows and columns in turn."""
        reach = ceil(3 * self.sigma)
        # from above 0, where the Gaussian is a single pixel
        sigma = rng.uniform(0, self.sigma, (len(images), 1)) + np.finfo(np.float32).tiny
        weights = np.exp(-((np.arange(reach + 1) / sigma) ** 2) / 2)
        weights /= weights @ np.array([1] + [2] * reach)[:, None]
        blurred = as_wide(images)
        for axis in (2, 3):
            source, places = blurred, np.arange(blurred.shape[axis])
            blurred = source * _per_image(weights[:, 0], source)
            for distance in range(1, reach + 1):
                both = source.take(places - distance, axis, mode="clip") + source.take(
                    places + distance, axis, mode="clip"
                )
                blurred += both * _per_image(weights[:, distance], source)
        return blurred


class CutOut(Transform):
    """Fills a square, centred at any pixel of the image, with one value (DeVries and Taylor 2017).

    Parameters
    ----------
    size : int
        Length of a side in pixels, at least 1. What lies outside the image is lost.
    fill : float
        The value.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, size: int, *, fill: float = 0.0, axis: int | None = None) -> None:
        super().__init__(axis)
        if size < 1:
            raise ValueError(f"CutOut: size must be at least 1, got {size}")
        self.size, self.fill = size, fill

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, a part of each filled."""
        samples, _, height, width, _ = images.shape
        rows, columns = (
            _inside(np.arange(extent) - rng.integers(0, extent, (samples, 1)) + self.size // 2, self.size)
            for extent in (height, width)
        )
        hole = rows[:, None, :, None, None] & columns[:, None, None, :, None]
        return np.where(hole, np.array(self.fill, images.dtype), images)


def _per_image(values: Array, images: Array) -> Array:
    """Return values (N,) in a shape and type to go with images (N, C, H, W, D)."""
    return values.astype(as_wide(images[:0]).dtype).reshape(-1, 1, 1, 1, 1)


def _require_order(owner: str, limits: Limits) -> Limits:
    if limits is not None and not limits[0] < limits[1]:
        raise ValueError(f"{owner}: limits must be (low, high) with low < high, got {limits}")
    return limits


def _limits(images: Array, limits: Limits) -> tuple[float, float]:
    """Return the range of values that was given, or that of the images."""
    if limits is not None:
        return limits
    if np.issubdtype(images.dtype, np.integer):
        ends = np.iinfo(images.dtype)
        return float(ends.min), float(ends.max)
    return float(images.min(initial=np.inf)), float(images.max(initial=-np.inf))


def _inside(places: Array, size: int) -> Array:
    return (places >= 0) & (places < size)
