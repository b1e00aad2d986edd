"""Random changes of images that leave their class alone.

=============  ======================================================================
module         contents
=============  ======================================================================
``transform``  `Transform`: the protocol, layouts and dtypes
``moves``      `Flip`, `Shift`, `Crop`: whole pixels
``warps``      `Rotation`, `Shear`, `Zoom`: bilinear interpolation
``values``     `Brightness`, `Contrast`, `Blur`, `CutOut`
``compose``    `Compose`, and the presets `light` and `heavy`
``plotting``   `plot`: what a transform does
=============  ======================================================================

Each transform is a function ``transform(images, rng=None)`` of a batch. It treats every image by a draw of
its own and looks at no other, and returns a new array of the same dtype; integers are rounded, and beyond
their range the last that there is. ``axis`` says where the channels are: None for (N, H, W), 1 for (N, C, H,
W), -1 for (N, H, W, C). What comes in over an edge is the nearest pixel of the image. A trainer applies
``fit(..., augment=transform)`` to the batches it trains with, and to nothing else.

``transform(images, rng, masks=labels)`` returns images and masks, whose labels are moved along:

>>> import numpy as np
>>> from trimtab import augment
>>> images = np.random.default_rng(0).random((32, 3, 28, 28), dtype=np.float32)
>>> labels = (images[:, 0] > 0.5).astype(np.uint8)
>>> images, labels = augment.heavy(axis=1)(images, rng=0, masks=labels)
>>> images.shape, labels.shape, np.unique(labels).tolist()
((32, 3, 28, 28), (32, 28, 28), [0, 1])
"""

from trimtab.augment.compose import Compose, heavy, light
from trimtab.augment.moves import Crop, Flip, Shift
from trimtab.augment.plotting import plot
from trimtab.augment.transform import Transform
from trimtab.augment.values import Blur, Brightness, Contrast, CutOut
from trimtab.augment.warps import Rotation, Shear, Warp, Zoom

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
