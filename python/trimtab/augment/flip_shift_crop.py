"""`Flip`, `Shift`, `Crop`: transforms that move whole pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab._checks import flag, items, number, shown, whole
from trimtab._typing import Array
from trimtab.augment.transform import Spatial


class Flip(Spatial):
    """Flips an image left to right with probability p.

    Parameters
    ----------
    p : float
        Probability of a flip, from 0 to 1.
    vertical : bool
        Whether the flip is upside down instead.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.arange(16.0).reshape(1, 4, 4)
    >>> augment.Flip(p=1.0)(images)[0, 0]
    array([3., 2., 1., 0.])
    """

    def __init__(self, p: float = 0.5, *, vertical: bool = False, axis: int | None = None) -> None:
        super().__init__(axis)
        self.p = number("Flip: p", p, 0, 1)
        self.vertical = flag("Flip: vertical", vertical)

    def sources(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw which images are flipped."""
        samples, height, width, _ = images.shape
        rows, columns = np.arange(height)[None], np.arange(width)[None]
        flipped = rng.random((samples, 1)) < self.p
        if self.vertical:
            rows = np.where(flipped, rows[:, ::-1], rows)
        else:
            columns = np.where(flipped, columns[:, ::-1], columns)
        return _grid(rows, columns)


class Shift(Spatial):
    """Shifts an image vertically and horizontally, by uniform distances rounded to whole pixels.

    Parameters
    ----------
    fraction : float
        The largest shift either way, as a fraction of height and width; from 0 to 1.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.arange(16.0).reshape(1, 4, 4)
    >>> augment.Shift(0.25)(images, rng=1)[0]
    array([[ 0.,  0.,  1.,  2.],
           [ 4.,  4.,  5.,  6.],
           [ 8.,  8.,  9., 10.],
           [12., 12., 13., 14.]])
    """

    def __init__(self, fraction: float = 0.1, *, axis: int | None = None) -> None:
        super().__init__(axis)
        self.fraction = number("Shift: fraction", fraction, 0, 1)

    def sources(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw how far each image is shifted."""
        samples, height, width, _ = images.shape
        down, right = rng.uniform(-self.fraction, self.fraction, (2, samples, 1))
        rows = np.arange(height) - np.rint(down * height).astype(np.intp)
        columns = np.arange(width) - np.rint(right * width).astype(np.intp)
        return _grid(rows, columns)


class Crop(Spatial):
    """Cuts a window out of the image padded with its edge pixels, at a uniform position.

    Parameters
    ----------
    padding : int
        Rows and columns of padding on each side, >= 0.
    size : (height, width), optional
        Size of the window; by default that of the image.
    axis : {None, 1, -1}
        The channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> images = np.zeros((2, 8, 8))
    >>> augment.Crop(padding=1)(images, rng=0).shape
    (2, 8, 8)
    >>> augment.Crop(padding=0, size=(6, 6))(images, rng=0).shape
    (2, 6, 6)
    """

    def __init__(
        self, padding: int = 4, *, size: Sequence[int] | None = None, axis: int | None = None
    ) -> None:
        super().__init__(axis)
        self.padding = whole("Crop: padding", padding, 0)
        self.size = None if size is None else _as_size("Crop: size", size)

    def sources(self, images: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw where each window begins."""
        samples, height, width, _ = images.shape
        padded = height + 2 * self.padding, width + 2 * self.padding
        size = self.size or (height, width)
        if size[0] > padded[0] or size[1] > padded[1]:
            raise ValueError(f"Crop: size must be at most that of the padded image {padded}, got {size}")
        top = rng.integers(0, padded[0] - size[0] + 1, (samples, 1))
        left = rng.integers(0, padded[1] - size[1] + 1, (samples, 1))
        return _grid(np.arange(size[0]) - self.padding + top, np.arange(size[1]) - self.padding + left)


def _grid(rows: Array, columns: Array) -> tuple[Array, Array]:
    """Return rows (N or 1, H') and columns (N or 1, W') as (N or 1, H', 1) and (N or 1, 1, W')."""
    return rows[:, :, None], columns[:, None, :]


def _as_size(name: str, size: Sequence[int]) -> tuple[int, int]:
    """Return height and width, or raise an error."""
    extents = tuple(whole(name, extent) for extent in items(name, size, "be (height, width)"))
    if len(extents) != 2 or min(extents) < 1:
        raise ValueError(f"{name} must be at least (1, 1), got {shown(size)}")
    return extents
