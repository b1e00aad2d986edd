"""Transforms that move whole pixels."""

from __future__ import annotations

import numpy as np

from trimtab._typing import Array
from trimtab.augment.transform import Transform, nearest_pixels, require_between


class Flip(Transform):
    """Mirrors an image, or leaves it as it is.

    Parameters
    ----------
    p : float
        Probability of mirroring, from 0 to 1.
    vertical : bool
        Whether it is upside down rather than left to right.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, p: float = 0.5, *, vertical: bool = False, axis: int | None = None) -> None:
        super().__init__(axis)
        self.p, self.vertical = require_between("Flip: p", p, 0, 1), vertical

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, some of them mirrored."""
        samples, _, *size, _ = images.shape
        places = [np.arange(extent)[None] for extent in size]
        along = 0 if self.vertical else 1
        flipped = rng.random((samples, 1)) < self.p
        places[along] = np.where(flipped, places[along][:, ::-1], places[along])
        return _moved(images, *places)


class Shift(Transform):
    """Shifts an image up or down and left or right, each by a uniform share rounded to whole pixels.

    Parameters
    ----------
    fraction : float
        Of height and width, the largest shift either way; from 0 to 1.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(self, fraction: float = 0.1, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.fraction = require_between("Shift: fraction", fraction, 0, 1)

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, shifted."""
        samples, _, *size, _ = images.shape
        shares = rng.uniform(-self.fraction, self.fraction, (2, samples, 1))
        return _moved(
            images,
            *(
                np.arange(extent) - np.rint(share * extent).astype(np.intp)
                for extent, share in zip(size, shares, strict=True)
            ),
        )


class Crop(Transform):
    """Cuts a part out of the image, or of the image with its edges continued; all places are as likely.

    Parameters
    ----------
    padding : int
        Rows and columns that continue the image on each side, >= 0.
    size : (height, width), optional
        Of the part; by default that of the image.
    axis : {None, 1, -1}
        The channel axis.
    """

    def __init__(
        self, padding: int = 4, *, size: tuple[int, int] | None = None, axis: int | None = None
    ) -> None:
        super().__init__(axis)
        if padding < 0:
            raise ValueError(f"Crop: padding must be at least 0, got {padding}")
        if size is not None and min(size) < 1:
            raise ValueError(f"Crop: size must be at least (1, 1), got {size}")
        self.padding, self.size = padding, size

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the parts, of shape (N, C, *size, D)."""
        samples, _, *extents, _ = images.shape
        padded = tuple(extent + 2 * self.padding for extent in extents)
        size = self.size or tuple(extents)
        room = [extent - wanted for extent, wanted in zip(padded, size, strict=True)]
        if min(room) < 0:
            raise ValueError(f"Crop: size must be at most that of the padded image {padded}, got {size}")
        return _moved(
            images,
            *(
                np.arange(wanted) - self.padding + rng.integers(0, free + 1, (samples, 1))
                for wanted, free in zip(size, room, strict=True)
            ),
        )


def _moved(images: Array, rows: Array, columns: Array) -> Array:
    """Return the pixels at rows (N or 1, H') and columns (N or 1, W'), or those nearest to them."""
    return nearest_pixels(images, rows[:, None, :, None], columns[:, None, None, :])
