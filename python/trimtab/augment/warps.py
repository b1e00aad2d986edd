"""Linear maps of the plane about the centre of the image."""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce

import numpy as np

from trimtab._typing import Array
from trimtab.augment.transform import Transform, as_wide, nearest_pixels, require_between


class Warp(Transform):
    """A linear map of the plane about the centre of the image, by bilinear interpolation.

    `Compose` turns warps that follow one another into a single one, so that pixels are interpolated once.
    """

    @abstractmethod
    def matrices(self, samples: int, rng: np.random.Generator) -> Array:
        """Draw matrices (N, 2, 2): from (row, column) of the result to where its pixel comes from."""

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, warped."""
        return _warped(images, self.matrices(len(images), rng))


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
        self.degrees = require_between("Rotation: degrees", degrees, 0, 180)

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
        self.degrees = require_between("Shear: degrees", degrees, 0, 89)

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
        self.amount = require_between("Zoom: amount", amount, 0, 0.99)

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


def _warped(images: Array, matrices: Array) -> Array:
    """Return the images seen through matrices (N, 2, 2) about their centre."""
    wide = as_wide(images)
    height, width = images.shape[2:4]
    matrices = matrices.astype(wide.dtype)[:, :, :, None, None]
    down = np.arange(height, dtype=wide.dtype)[:, None] - (height - 1) / 2
    right = np.arange(width, dtype=wide.dtype) - (width - 1) / 2
    corners, shares = [], []
    for position, extent in enumerate((height, width)):
        place = matrices[:, position, 0] * down + matrices[:, position, 1] * right + (extent - 1) / 2
        place = np.clip(place, 0, extent - 1)[:, None]
        corner = np.floor(place)
        corners.append(corner.astype(np.intp))
        shares.append((place - corner)[..., None])
    (row, column), (share_down, share_right) = corners, shares
    upper, lower = (
        _mixed(nearest_pixels(wide, one, column), nearest_pixels(wide, one, column + 1), share_right)
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
