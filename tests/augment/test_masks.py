"""Masks: moved with the pixels, warped to the nearest label, and never changed in value."""

import numpy as np
import pytest
from helpers.transforms import IMAGE_SHAPES, MOVES, VALUES
from numpy.testing import assert_array_equal
from trimtab import augment
from trimtab.augment import (
    Brightness,
    Compose,
    Contrast,
    Crop,
    CutOut,
    Flip,
    Rotation,
    Shear,
    Shift,
    Transform,
    Zoom,
)

LABELS = ["u1", "i8", "?", "f4", "U3"]


def assert_moved_along(transform, images, masks, expected):
    """Images change as they do without masks, and so does the next draw of the generator."""
    generator, alone = np.random.default_rng(3), np.random.default_rng(3)
    kept = masks.copy()
    changed, moved = transform(images, rng=generator, masks=masks)
    assert_array_equal(changed, transform(images, rng=alone))
    assert generator.random() == alone.random()
    assert moved.dtype == masks.dtype
    assert_array_equal(moved, expected)
    assert_array_equal(masks, kept)
    assert not np.shares_memory(moved, masks)


@pytest.mark.parametrize("kind", MOVES)
@pytest.mark.parametrize("axis", IMAGE_SHAPES)
def test_masks_are_moved_with_the_pixels(kind, axis, rng):
    """A mask is moved as an image with its values is."""
    images = rng.random(IMAGE_SHAPES[axis])
    masks = rng.integers(0, 9, (8, 9, 7))
    expected = kind()(masks, rng=3)
    assert_moved_along(kind(axis=axis), images, masks, expected)
    if axis is not None:
        layered = np.stack([masks, masks + 1], axis=axis)
        assert_moved_along(kind(axis=axis), images, layered, np.stack([expected, expected + 1], axis=axis))


@pytest.mark.parametrize("warp", [Rotation(60), Shear(40), Zoom(0.6), Compose(Rotation(30), Zoom(0.3))])
def test_masks_are_warped_to_the_nearest_label(warp, images):
    ndimage = pytest.importorskip("scipy.ndimage")
    masks = np.arange(images.size).reshape(images.shape)
    only = warp.transforms[0] if isinstance(warp, Compose) else warp
    expected = []
    for mask, matrix in zip(masks, only.matrices(len(masks), np.random.default_rng(3)), strict=True):
        offset = np.array([4, 3]) - matrix @ [4, 3]
        expected.append(ndimage.affine_transform(mask, matrix, offset, order=0, mode="nearest"))
    changed, moved = warp(images.astype("f8"), rng=3, masks=masks)
    assert np.mean(moved == np.stack(expected)) > 0.995  # except half way between two pixels
    assert_array_equal(changed, warp(images.astype("f8"), rng=3))


@pytest.mark.parametrize("kind", VALUES)
def test_transforms_of_values_leave_masks_alone(kind, images):
    masks = (images > 0.5).astype("u1")
    assert_moved_along(kind(), images, masks, masks)


@pytest.mark.parametrize("dtype", LABELS)
def test_masks_keep_their_dtype(dtype, images):
    masks = np.rint(9 * images).astype("i8")
    for transform in (augment.light(), augment.heavy(), Compose(Shift(), CutOut(3), Rotation())):
        _, moved = transform(images, rng=3, masks=masks)
        _, typed = transform(images, rng=3, masks=masks.astype(dtype))
        assert typed.dtype == dtype
        assert_array_equal(typed, moved.astype(dtype))


def test_a_composition_moves_masks_as_its_steps_do(images):
    """Each step draws from the same generator, also inside another composition."""
    steps = [Flip(), Brightness(), Shift(0.3), Crop(2), Contrast()]
    masks = np.rint(9 * images).astype("i8")
    one_by_one, moved = images, masks
    generator = np.random.default_rng(3)
    for step in steps:
        one_by_one, moved = step(one_by_one, rng=generator, masks=masks if step is steps[0] else moved)
    nested = Compose(steps[0], Compose(*steps[1:4]), steps[4])
    for whole in (Compose(*steps), nested):
        changed, along = whole(images, rng=3, masks=masks)
        assert_array_equal(changed, one_by_one)
        assert_array_equal(along, moved)


def test_masks_of_the_wrong_size_are_refused(images):
    for shape in ((39, 9, 7), (40, 9, 8), (40, 8, 7)):
        with pytest.raises(ValueError, match=r"^Flip: masks must be of the size of the images, 40 of "):
            Flip()(images, masks=np.ones(shape))
    with pytest.raises(ValueError, match=r"^Flip: masks must be \(N, H, W\), got shape \(40, 1, 9, 7\)$"):
        Flip()(images, masks=images[:, None])
    with pytest.raises(ValueError, match=r"^Flip: masks must be \(N, C, H, W\), got shape \(40, 9\)$"):
        Flip(axis=1)(images[:, None], masks=np.ones((40, 9)))


def test_transforms_that_cannot_move_masks_refuse_them(images):
    with pytest.raises(TypeError, match=r"^Compose: masks must be None beside a function, got <"):
        Compose(Flip(), lambda batch, rng: batch)(images, masks=images)

    class Darker(Transform):
        def change(self, images, rng):
            return images / 2

    with pytest.raises(TypeError, match=r"^Darker: masks must be None where change_masks is not defined$"):
        Darker()(images, masks=images)
    assert_array_equal(Darker()(images), images / 2)
