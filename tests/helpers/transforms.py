"""Every transform of images, as a function of its options, and shapes of images by their channel axis."""

from trimtab import augment
from trimtab.augment import Blur, Brightness, Contrast, Crop, CutOut, Flip, Rotation, Shear, Shift, Zoom


def crop_to_size(**options):
    return Crop(2, size=(4, 5), **options)


def cut_out(**options):
    return CutOut(3, **options)


MOVES = [Flip, Shift, Crop, crop_to_size]
WARPS = [Rotation, Shear, Zoom]
VALUES = [Brightness, Contrast, Blur, cut_out]
TRANSFORMS = [Flip, Shift, Crop, *WARPS, *VALUES]  # results have the size of the images
ALL = [*TRANSFORMS, augment.light, augment.heavy]
IMAGE_SHAPES = {None: (8, 9, 7), 1: (8, 3, 9, 7), -1: (8, 9, 7, 3)}
