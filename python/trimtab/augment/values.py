"""Transforms that change the values of pixels where they are."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from trimtab._checks import items, number, shown, whole
from trimtab._typing import Array
from trimtab.augment.transform import Values, as_dtype, as_wide

Limits = tuple[float, float] | None


class Brightness(Values):
    """Adds one value to the whole image, uniform up to a share of the range of values either way.

    Parameters
    ----------
    amount : float
        The largest share, >= 0.
    limits : (low, high), optional
        The range, which the result is clipped to. By default that of the dtype for integers, and for floating
        types from the smallest to the largest finite value of the image.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, amount: float = 0.25, *, limits: Limits = None, axis: int | None = None) -> None:
        super().__init__(axis)
        self.amount = number("Brightness: amount", amount, 0)
        self.limits = _as_limits("Brightness", limits)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, lighter or darker."""
        wide = as_wide(images)
        low, high = _limits(images, self.limits)
        shares = _per_image(rng.uniform(-self.amount, self.amount, len(images)))
        with np.errstate(over="ignore"):  # infinite before it is clipped
            added = (shares * high - shares * low).astype(wide.dtype)
            return _clipped(wide + added, low, high)


class Contrast(Values):
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
        self.low = number("Contrast: low", low, 0)
        self.high = number("Contrast: high", high, self.low)
        self.limits = _as_limits("Contrast", limits)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, flatter or sharper."""
        wide = as_wide(images)
        low, high = _limits(images, self.limits)
        factors = _per_image(rng.uniform(self.low, self.high, len(images))).astype(wide.dtype)
        means = _per_image(_flat(wide).mean(axis=1, dtype=np.float64)).astype(wide.dtype)
        with np.errstate(over="ignore"):  # infinite before it is clipped
            return _clipped((wide - means) * factors + means, low, high)


class Blur(Values):
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
        self.sigma = number("Blur: sigma", sigma, 0, 100)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, blurred along rows and columns in turn."""
        reach = ceil(3 * self.sigma)
        # from above 0, where the Gaussian is a single pixel
        sigma = rng.uniform(0, self.sigma, (len(images), 1)) + np.finfo(np.float32).tiny
        weights = np.exp(-((np.arange(reach + 1) / sigma) ** 2) / 2)
        weights /= weights[:, :1] + 2 * weights[:, 1:].sum(axis=1, keepdims=True)
        blurred = as_wide(images)
        weights = weights.astype(blurred.dtype)
        for axis in (2, 3):
            source, places = blurred, np.arange(blurred.shape[axis])
            blurred = source * _per_image(weights[:, 0])
            for distance in range(1, reach + 1):
                both = source.take(places - distance, axis, mode="clip") + source.take(
                    places + distance, axis, mode="clip"
                )
                blurred += both * _per_image(weights[:, distance])
        return blurred


class CutOut(Values):
    """Fills a square, centred at any pixel of the image, with one value (DeVries and Taylor 2017).

    Parameters
    ----------
    size : int
        Length of a side in pixels, at least 1. What lies outside the image is lost.
    fill : float
        The value; for integers it is rounded, and the nearest one that there is.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, size: int, *, fill: float = 0.0, axis: int | None = None) -> None:
        super().__init__(axis)
        self.size, self.fill = whole("CutOut: size", size, 1), number("CutOut: fill", fill)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, a part of each filled."""
        samples, _, height, width, _ = images.shape
        rows, columns = (
            _inside(
                np.arange(extent) - rng.integers(0, max(extent, 1), (samples, 1)) + self.size // 2, self.size
            )
            for extent in (height, width)
        )
        hole = rows[:, None, :, None, None] & columns[:, None, None, :, None]
        return np.where(hole, as_dtype(np.array(self.fill), images.dtype), images)


def _per_image(values: Array) -> Array:
    """Return values (N,) in a shape to go with images (N, C, H, W, D)."""
    return values.reshape(-1, 1, 1, 1, 1)


def _flat(images: Array) -> Array:
    """Return images as rows (N, C * H * W * D), which are summed one by one."""
    return np.ascontiguousarray(images).reshape(len(images), prod(images.shape[1:]))


def _as_limits(owner: str, limits: Limits) -> Limits:
    if limits is None:
        return None
    ends = items(f"{owner}: limits", limits, "be (low, high)")
    if len(ends) != 2:
        raise ValueError(f"{owner}: limits must be (low, high), got {shown(limits)}")
    low, high = (number(f"{owner}: limits", end) for end in ends)
    if not low < high:
        raise ValueError(f"{owner}: limits must be (low, high) with low < high, got {shown(limits)}")
    return low, high


def _limits(images: Array, limits: Limits) -> tuple[Array | float, Array | float]:
    """Return the range that was given, or that of the dtype, or those of the images (N, 1, 1, 1, 1)."""
    if limits is not None:
        return limits
    if images.dtype.kind in "iu":
        ends = np.iinfo(images.dtype)
        return float(ends.min), float(ends.max)
    rows = _flat(as_wide(images))
    finite = np.isfinite(rows)
    low = rows.min(axis=1, initial=np.inf, where=finite).astype(np.float64)
    high = rows.max(axis=1, initial=-np.inf, where=finite).astype(np.float64)
    without = ~finite.any(axis=1)
    low[without] = high[without] = 0
    return _per_image(low), _per_image(high)


def _clipped(images: Array, low: Array | float, high: Array | float) -> Array:
    """Return images between limits, which are numbers of their dtype."""
    return np.clip(images, np.asarray(low, images.dtype), np.asarray(high, images.dtype))


def _inside(places: Array, size: int) -> Array:
    return (places >= 0) & (places < size)
