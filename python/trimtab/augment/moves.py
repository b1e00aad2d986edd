"""Transforms that move whole pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab._checks import flag, items, number, shown, whole
from trimtab._typing import Array
from trimtab.augment.transform import Geometry


class Flip(Geometry):
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
        self.p = number("Flip: p", p, 0, 1)
        self.vertical = flag("Flip: vertical", vertical)

    def places(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw which images are mirrored."""
        samples, _, *size, _ = images.shape
        places = [np.arange(extent)[None] for extent in size]
        along = 0 if self.vertical else 1
        flipped = rng.random((samples, 1)) < self.p
        places[along] = np.where(flipped, places[along][:, ::-1], places[along])
        return _grid(*places)


class Shift(Geometry):
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
        self.fraction = number("Shift: fraction", fraction, 0, 1)

    def places(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw how far each image is shifted."""
        samples, _, *size, _ = images.shape
        shares = rng.uniform(-self.fraction, self.fraction, (2, samples, 1))
        return _grid(
            *(
                np.arange(extent) - np.rint(share * extent).astype(np.intp)
                for extent, share in zip(size, shares, strict=True)
            )
        )


class Crop(Geometry):
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
        self, padding: int = 4, *, size: Sequence[int] | None = None, axis: int | None = None
    ) -> None:
        super().__init__(axis)
        self.padding = whole("Crop: padding", padding, 0)
        self.size = None if size is None else _as_size("Crop: size", size)

    def places(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw where each part begins."""
        samples, _, *extents, _ = images.shape
        padded = tuple(extent + 2 * self.padding for extent in extents)
        size = self.size or tuple(extents)
        room = [extent - wanted for extent, wanted in zip(padded, size, strict=True)]
        if min(room) < 0:
            raise ValueError(f"Crop: size must be at most that of the padded image {padded}, got {size}")
        return _grid(
            *(
                np.arange(wanted) - self.padding + rng.integers(0, free + 1, (samples, 1))
                for wanted, free in zip(size, room, strict=True)
            )
        )


def _grid(rows: Array, columns: Array) -> tuple[Array, Array]:
    """Return rows (N or 1, H') and columns (N or 1, W') as (N or 1, H', 1) and (N or 1, 1, W')."""
    return rows[:, :, None], columns[:, None, :]


def _as_size(name: str, size: Sequence[int]) -> tuple[int, int]:
    """Return height and width, or raise an error."""
    extents = tuple(whole(name, extent) for extent in items(name, size, "be (height, width)"))
    if len(extents) != 2 or min(extents) < 1:
        raise ValueError(f"{name} must be at least (1, 1), got {shown(size)}")
    return extents
