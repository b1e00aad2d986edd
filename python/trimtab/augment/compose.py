"""`Compose`: transforms applied in sequence; and the presets `light` and `heavy`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from trimtab._checks import shown
from trimtab._inputs import as_array, as_generator
from trimtab._typing import Array, Seed
from trimtab.augment.affine import Rotation, Shear, Warp, Warps, Zoom
from trimtab.augment.dtypes import as_dtype
from trimtab.augment.flip_shift_crop import Flip, Shift
from trimtab.augment.pixel_level import Brightness, Contrast
from trimtab.augment.transform import Transform


class Compose:
    """Applies transforms in sequence; consecutive warps become one.

    Parameters
    ----------
    *transforms : callable
        Transforms, or any ``transform(images, rng=None) -> images``. The images that such a function returns
        are rounded to the dtype of those it is given.

    Examples
    --------
    >>> import numpy as np
    >>> from trimtab import augment
    >>> change = augment.Compose(augment.Flip(), augment.Rotation(10), augment.Zoom(0.1))
    >>> images = np.random.default_rng(0).random((32, 28, 28), dtype=np.float32)
    >>> change(images, rng=0).shape
    (32, 28, 28)
    """

    def __init__(self, *transforms: Any) -> None:
        for transform in transforms:
            if not callable(transform) or isinstance(transform, type):
                raise TypeError(f"Compose: transforms must be functions of images, got {shown(transform)}")
        self.transforms = list(_merged(transforms))

    @overload
    def __call__(self, images: ArrayLike, rng: Seed = None, masks: None = None) -> Array: ...
    @overload
    def __call__(self, images: ArrayLike, rng: Seed = None, *, masks: ArrayLike) -> tuple[Array, Array]: ...
    def __call__(self, images: ArrayLike, rng: Seed = None, masks: ArrayLike | None = None) -> Any:
        """Return changed copies of the images, in their dtype; see `Transform`.

        Raises
        ------
        TypeError
            If masks are given, and one of the transforms is a function that cannot move them.
        """
        generator = as_generator("Compose: rng", rng)
        changed = np.array(as_array("Compose: images", images))
        dtype = changed.dtype
        if masks is None:
            for transform in self.transforms:
                changed = as_dtype(as_array("Compose: images", transform(changed, rng=generator)), dtype)
            return changed
        moved = np.array(as_array("Compose: masks", masks))
        for transform in self.transforms:
            if not isinstance(transform, Transform | Compose):
                raise TypeError(f"Compose: masks must be None beside a function, got {shown(transform)}")
        for transform in self.transforms:
            changed, moved = transform(changed, rng=generator, masks=moved)
        return changed, moved


def light(axis: int | None = None) -> Compose:
    """Return the light augmentation of Hernandez-Garcia and Koenig (2018).

    Flips left to right, and shifts by up to a tenth.

    Parameters
    ----------
    axis : {None, 1, -1}
        The channel axis.

    Returns
    -------
    Compose

    Examples
    --------
    >>> from trimtab import augment
    >>> [type(one).__name__ for one in augment.light(axis=-1).transforms]
    ['Flip', 'Shift']
    """
    return Compose(Flip(axis=axis), Shift(0.1, axis=axis))


def heavy(axis: int | None = None) -> Compose:
    """Return the heavier augmentation of Hernandez-Garcia and Koenig (2018).

    `light`, then rotation by up to 22.5 degrees, shear by up to 8.6, zoom by up to 0.15, brightness by up to
    0.25 of the range of values and contrast between half and one and a half.

    Parameters
    ----------
    axis : {None, 1, -1}
        The channel axis.

    Returns
    -------
    Compose

    Examples
    --------
    >>> from trimtab import augment
    >>> [type(one).__name__ for one in augment.heavy(axis=-1).transforms]
    ['Flip', 'Shift', 'Warps', 'Brightness', 'Contrast']
    """
    return Compose(
        *light(axis).transforms,
        Rotation(22.5, axis=axis),
        Shear(8.6, axis=axis),
        Zoom(0.15, axis=axis),
        Brightness(0.25, axis=axis),
        Contrast(0.5, 1.5, axis=axis),
    )


def _merged(transforms: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the transforms, consecutive warps of one layout as one."""
    for axis, group in groupby(transforms, lambda one: (one.axis,) if isinstance(one, Warp) else None):
        if axis is None:
            yield from group
        else:
            yield Warps(*group)
