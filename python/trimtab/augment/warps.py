"""Linear maps of the plane about the centre of the image."""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce

import numpy as np

from trimtab._checks import number
from trimtab._typing import Array
from trimtab.augment.transform import Geometry, as_wide, nearest_pixels


class Warp(Geometry):
    """A linear map of the plane about the centre of the image, by bilinear interpolation.

    `Compose` turns warps that follow one another into a single one, so that pixels are interpolated once.
    """

    @abstractmethod
    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Draw matrices (N, 2, 2): from (row, column) of the result to where its pixel comes from."""

    def places(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw matrices, and return where they take the places of pixels."""
        dtype = as_wide(images[:0]).dtype
        height, width = images.shape[2:4]
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
        return _interpolated(as_wide(images), *self.places(images, rng))


class Rotation(Warp):
    """Turns an image by a uniform angle.

    Parameters
    ----------
    degrees : float
        The largest angle either way, from 0 to 180.
    axis : {None, 1, -1}
        The channel axis.
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
    """Slants an image by a uniform angle: upright lines lean, level ones stay.

    Parameters
    ----------
    degrees : float
        The largest angle either way, from 0 to 89.
    axis : {None, 1, -1}
        The channel axis.
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
    """

    def __init__(self, amount: float = 0.15, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.amount = number("Zoom: amount", amount, 0, 0.99)

    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Draw scalings."""
        rows, columns = 1 / rng.uniform(1 - self.amount, 1 + self.amount, (2, samples))
        return _matrices(rows, np.zeros(samples), np.zeros(samples), columns)


class Warps(Warp):
    """Warps one after the other, as one."""

    def __init__(self, *warps: Warp) -> None:
        super().__init__(warps[0].axis)
        self.warps = warps

    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Multiply what each draws, the first on the outside: it is the last on the way to the source."""
        return reduce(np.matmul, [warp.matrices(samples, rng) for warp in self.warps])


def _interpolated(images: Array, rows: Array, columns: Array) -> Array:
    """Return the values at places (N, H, W) between pixels."""
    (row, share_down), (column, share_right) = (
        (np.floor(place), (place % 1)[:, None, :, :, None]) for place in (rows, columns)
    )
    upper, lower = (
        _mixed(nearest_pixels(images, one, column), nearest_pixels(images, one, column + 1), share_right)
        for one in (row, row + 1)
    )
    return _mixed(upper, lower, share_down)


def _mixed(one: Array, other: Array, share: Array) -> Array:
    """Return ``one + share * (other - one)``, in the memory of `other`; exact where both are the same."""
    other -= one
    other *= share
    other += one
    return other


def _matrices(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Return (N, 2, 2) matrices ((a, b), (c, d))."""
    return np.stack([a, b, c, d], axis=-1).reshape(-1, 2, 2)
