"""`Brightness`, `Contrast`, `Blur`, `CutOut`: transforms that change the values of pixels."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from trimtab._checks import items, number, shown, whole
from trimtab._typing import Array
from trimtab.augment.dtypes import as_dtype, as_wide
from trimtab.augment.transform import PixelLevel, as_planes, from_planes

Limits = tuple[float, float] | None


class Brightness(PixelLevel):
    """Adds one value to the whole image, uniform up to a fraction of the range of values either way.

    Parameters
    ----------
    amount : float
        The largest fraction, >= 0.
    limits : (low, high), optional
        The range, which the result is clipped to. By default that of the dtype for integers, and for floating
        types from the smallest to the largest finite value of the image.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.full((2, 4, 4), 0.5)
    >>> brighter = augment.Brightness(0.25)(images, rng=0)
    >>> bool(abs(brighter - 0.5).max() <= 0.25)
    True
    """

    def __init__(self, amount: float = 0.25, *, limits: Limits = None, axis: int | None = None) -> None:
        super().__init__(axis)
        self.amount = number("Brightness: amount", amount, 0)
        self.limits = _as_limits("Brightness: limits", limits)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, brighter or darker."""
        wide = as_wide(images)
        low, high = _range(images, self.limits, self.axis)
        fractions = _per_image(rng.uniform(-self.amount, self.amount, len(images)))
        with np.errstate(over="ignore"):  # infinities are clipped
            added = (fractions * high - fractions * low).astype(wide.dtype)
            return _clipped(wide + added, low, high)


class Contrast(PixelLevel):
    """Scales the distance of values from the mean of the image, by a uniform factor.

    Parameters
    ----------
    low, high : float
        The ends of the range of the factor, ``0 <= low <= high``; 1 is no change.
    limits : (low, high), optional
        The range that the result is clipped to; by default as for `Brightness`.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.random.default_rng(0).random((2, 4, 4))
    >>> bool(augment.Contrast(0.5, 0.9)(images, rng=0).std() < images.std())
    True
    """

    def __init__(
        self, low: float = 0.5, high: float = 1.5, *, limits: Limits = None, axis: int | None = None
    ) -> None:
        super().__init__(axis)
        self.low = number("Contrast: low", low, 0)
        self.high = number("Contrast: high", high, self.low)
        self.limits = _as_limits("Contrast: limits", limits)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, with less or more contrast."""
        wide = as_wide(images)
        low, high = _range(images, self.limits, self.axis)
        factors = _per_image(rng.uniform(self.low, self.high, len(images))).astype(wide.dtype)
        means = _per_image(_rows(wide, self.axis).mean(axis=1, dtype=np.float64)).astype(wide.dtype)
        with np.errstate(over="ignore"):  # infinities are clipped
            return _clipped((wide - means) * factors + means, low, high)


class Blur(PixelLevel):
    """Blurs an image by a Gaussian of uniform standard deviation.

    Parameters
    ----------
    sigma : float
        The largest standard deviation in pixels, from 0 to 100; all Gaussians are cut off at ``3 * sigma``.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.random.default_rng(0).random((2, 8, 8))
    >>> bool(augment.Blur(1.0)(images, rng=0).std() < images.std())
    True
    """

    def __init__(self, sigma: float = 1.0, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.sigma = number("Blur: sigma", sigma, 0, 100)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, blurred along the rows and along the columns."""
        reach = ceil(3 * self.sigma)
        # above 0, where the Gaussian is a single pixel
        sigma = rng.uniform(0, self.sigma, (len(images), 1)) + np.finfo(np.float32).tiny
        weights = np.exp(-((np.arange(reach + 1) / sigma) ** 2) / 2)
        weights /= weights[:, :1] + 2 * weights[:, 1:].sum(axis=1, keepdims=True)
        blurred = as_planes(as_wide(images))
        weights = weights.astype(blurred.dtype)[:, :, None, None, None, None]
        for axis in (2, 3):
            source, center = blurred, np.arange(blurred.shape[axis])
            blurred = source * weights[:, 0]
            for distance in range(1, reach + 1):
                before = source.take(center - distance, axis, mode="clip")
                after = source.take(center + distance, axis, mode="clip")
                blurred += (before + after) * weights[:, distance]
        return from_planes(blurred)


class CutOut(PixelLevel):
    """Fills a square, centered at any pixel of the image, with one value (DeVries and Taylor 2017).

    Parameters
    ----------
    size : int
        Length of a side in pixels, at least 1. The part of the square outside the image is cut off.
    fill : float
        The value; in integer images rounded, and clipped to the range of the dtype.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.ones((1, 6, 6))
    >>> int((augment.CutOut(2)(images, rng=0) == 0).sum())
    4
    """

    def __init__(self, size: int, *, fill: float = 0.0, axis: int | None = None) -> None:
        super().__init__(axis)
        self.size, self.fill = whole("CutOut: size", size, 1), number("CutOut: fill", fill)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, each with a filled square."""
        samples, height, width, _ = images.shape
        rows, columns = (self._draw_interval(extent, samples, rng) for extent in (height, width))
        square = rows[:, :, None, None] & columns[:, None, :, None]
        return np.where(square, as_dtype(np.array(self.fill), images.dtype), images)

    def _draw_interval(self, extent: int, samples: int, rng: np.random.Generator) -> Array:
        """Draw which rows, or columns, are in the square: (N, extent)."""
        center = rng.integers(0, max(extent, 1), (samples, 1))
        from_start = np.arange(extent) - center + self.size // 2
        return (from_start >= 0) & (from_start < self.size)


def _per_image(values: Array) -> Array:
    """Return values (N,) in a shape that broadcasts to images (N, H, W, C)."""
    return values.reshape(-1, 1, 1, 1)


def _rows(images: Array, axis: int | None) -> Array:
    """Return each image as a row in the order of its layout, so that its sums depend on no other image."""
    in_order = np.moveaxis(images, -1, 1) if axis == 1 else images
    return np.ascontiguousarray(in_order).reshape(len(images), prod(images.shape[1:]))


def _as_limits(name: str, limits: Limits) -> Limits:
    """Return limits as a pair of floats, or None; raise an error unless low < high."""
    if limits is None:
        return None
    ends = items(name, limits, "be (low, high)")
    if len(ends) != 2:
        raise ValueError(f"{name} must be (low, high), got {shown(limits)}")
    low, high = (number(name, end) for end in ends)
    if not low < high:
        raise ValueError(f"{name} must be (low, high) with low < high, got {shown(limits)}")
    return low, high


def _range(images: Array, limits: Limits, axis: int | None) -> tuple[Array | float, Array | float]:
    """Return the given limits, or the range of the dtype, or that of each image (N, 1, 1, 1)."""
    if limits is not None:
        return limits
    if images.dtype.kind in "iu":
        ends = np.iinfo(images.dtype)
        return float(ends.min), float(ends.max)
    rows = _rows(as_wide(images), axis)
    finite = np.isfinite(rows)
    low = rows.min(axis=1, initial=np.inf, where=finite).astype(np.float64)
    high = rows.max(axis=1, initial=-np.inf, where=finite).astype(np.float64)
    nothing_finite = ~finite.any(axis=1)
    low[nothing_finite] = high[nothing_finite] = 0
    return _per_image(low), _per_image(high)


def _clipped(images: Array, low: Array | float, high: Array | float) -> Array:
    """Return images between limits, which are converted to their dtype."""
    return np.clip(images, np.asarray(low, images.dtype), np.asarray(high, images.dtype))
