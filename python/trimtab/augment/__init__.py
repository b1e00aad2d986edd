"""Random changes of images that keep their class.

===================  ====================================================================
module               contents
===================  ====================================================================
``transform``        `Transform`: the base class, layouts and masks
``dtypes``           dtypes of images, and rounding to them
``flip_shift_crop``  `Flip`, `Shift`, `Crop`: moves of whole pixels
``affine``           `Rotation`, `Shear`, `Zoom`: linear maps, by bilinear interpolation
``pixel_level``      `Brightness`, `Contrast`, `Blur`, `CutOut`: changes of values
``compose``          `Compose`, and the presets `light` and `heavy`
``plotting``         `plot`: images before and after a transform
===================  ====================================================================

A transform is a function ``transform(images, rng=None)`` of a batch. It draws for every image by itself, and
returns a new array of the same dtype; integers are rounded and clipped to their range. ``axis`` is the
channel axis: None for (N, H, W), 1 for (N, C, H, W), -1 for (N, H, W, C). Pixels from beyond an edge are
those of the edge. A trainer applies ``fit(..., augment=transform)`` to its training batches only.

``transform(images, rng, masks=labels)`` returns images and masks whose labels move with the pixels:

>>> import numpy as np
>>> from trimtab import augment
>>> images = np.random.default_rng(0).random((32, 3, 28, 28), dtype=np.float32)
>>> labels = (images[:, 0] > 0.5).astype(np.uint8)
>>> images, labels = augment.heavy(axis=1)(images, rng=0, masks=labels)
>>> images.shape, labels.shape, np.unique(labels).tolist()
((32, 3, 28, 28), (32, 28, 28), [0, 1])
"""

from trimtab.augment.affine import Rotation, Shear, Warp, Zoom
from trimtab.augment.compose import Compose, heavy, light
from trimtab.augment.flip_shift_crop import Crop, Flip, Shift
from trimtab.augment.pixel_level import Blur, Brightness, Contrast, CutOut
from trimtab.augment.plotting import plot
from trimtab.augment.transform import Transform

__all__ = [
    "Blur",
    "Brightness",
    "Compose",
    "Contrast",
    "Crop",
    "CutOut",
    "Flip",
    "Rotation",
    "Shear",
    "Shift",
    "Transform",
    "Warp",
    "Zoom",
    "heavy",
    "light",
    "plot",
]
