"""`Rotation`, `Shear`, `Zoom`: linear maps about the center of the image, by bilinear interpolation."""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce

import numpy as np

from trimtab._checks import number
from trimtab._typing import Array
from trimtab.augment.dtypes import as_wide
from trimtab.augment.transform import Spatial, nearest_pixels


class Warp(Spatial):
    """A linear map of the plane about the center of the image, by bilinear interpolation.

    `Compose` merges consecutive warps into one, which interpolates once.
    """

    @abstractmethod
    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Draw matrices (N, 2, 2), from (row, column) of the result to (row, column) of its source."""

    def sources(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw matrices, and return the rows and columns that they map pixels to."""
        dtype = as_wide(images[:0]).dtype
        height, width = images.shape[1:3]
        matrices = self.matrices(len(images), rng).astype(dtype)[:, :, :, None, None]
        down = np.arange(height, dtype=dtype)[:, None] - (height - 1) / 2
        right = np.arange(width, dtype=dtype) - (width - 1) / 2
        rows, columns = (
            np.clip(matrices[:, i, 0] * down + matrices[:, i, 1] * right + (extent - 1) / 2, 0, extent - 1)
            for i, extent in enumerate((height, width))
        )
        return rows, columns

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, warped."""
        return _interpolated(as_wide(images), *self.sources(images, rng))


class Rotation(Warp):
    """Rotates an image by a uniform angle.

    Parameters
    ----------
    degrees : float
        The largest angle either way, from 0 to 180.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.arange(16.0).reshape(1, 4, 4)
    >>> augment.Rotation(10)(images, rng=0).shape
    (1, 4, 4)
    """

    def __init__(self, degrees: float = 22.5, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.degrees = number("Rotation: degrees", degrees, 0, 180)

    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Draw rotations."""
        angle = np.radians(rng.uniform(-self.degrees, self.degrees, samples))
        cos, sin = np.cos(angle), np.sin(angle)
        return _matrices(cos, sin, -sin, cos)


class Shear(Warp):
    """Shears an image horizontally by a uniform angle: vertical lines are slanted.

    Parameters
    ----------
    degrees : float
        The largest angle either way, from 0 to 89.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.arange(16.0).reshape(1, 4, 4)
    >>> augment.Shear(5)(images, rng=0).shape
    (1, 4, 4)
    """

    def __init__(self, degrees: float = 8.6, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.degrees = number("Shear: degrees", degrees, 0, 89)

    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Draw shears."""
        slope = np.tan(np.radians(rng.uniform(-self.degrees, self.degrees, samples)))
        return _matrices(np.ones(samples), np.zeros(samples), slope, np.ones(samples))


class Zoom(Warp):
    """Scales height and width, each by a uniform factor of its own from ``1 - amount`` to ``1 + amount``.

    Parameters
    ----------
    amount : float
        From 0 to 0.99.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.arange(16.0).reshape(1, 4, 4)
    >>> augment.Zoom(0.1)(images, rng=0).shape
    (1, 4, 4)
    """

    def __init__(self, amount: float = 0.15, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.amount = number("Zoom: amount", amount, 0, 0.99)

    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Draw scalings."""
        rows, columns = 1 / rng.uniform(1 - self.amount, 1 + self.amount, (2, samples))
        return _matrices(rows, np.zeros(samples), np.zeros(samples), columns)


class Warps(Warp):
    """Several warps in one: the product of their matrices."""

    def __init__(self, *warps: Warp) -> None:
        super().__init__(warps[0].axis)
        self.warps = warps

    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Multiply the matrices of the warps; the first warp is the last step on the way to the source."""
        return reduce(np.matmul, [warp.matrices(samples, rng) for warp in self.warps])


def _interpolated(images: Array, rows: Array, columns: Array) -> Array:
    """Return the values at rows and columns (N, H, W), interpolated between the four nearest pixels."""
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows % 1)[..., None], (columns % 1)[..., None]
    upper, lower = (
        _mixed(nearest_pixels(images, row, left), nearest_pixels(images, row, left + 1), right)
        for row in (top, top + 1)
    )
    return _mixed(upper, lower, down)


def _mixed(one: Array, other: Array, weight: Array) -> Array:
    """Return ``one + weight * (other - one)``, in the memory of `other`; exact where both are equal."""
    other -= one
    other *= weight
    other += one
    return other


def _matrices(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Return (N, 2, 2) matrices ((a, b), (c, d))."""
    return np.stack([a, b, c, d], axis=-1).reshape(-1, 2, 2)
