"""Transforms that change values: brightness, contrast, blur and cut-out; ranges of dtypes and of images."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab.augment import (
    Blur,
    Brightness,
    Contrast,
    CutOut,
    Flip,
    Rotation,
    Zoom,
)


def test_brightness_adds_a_value_to_each_image(images):
    changed = Brightness(0.25, limits=(-9, 9))(images, rng=3)
    added = (changed - images)[:, :1, :1]
    assert_allclose(changed, images + added, atol=2e-6)
    assert (np.abs(added) <= 0.25 * 18).all()
    assert np.ptp(added) > 0.25 * 18


def test_contrast_scales_about_the_mean_of_each_image(images):
    changed = Contrast(0.5, 1.5, limits=(-9, 9))(images, rng=3)
    means = images.mean(axis=(1, 2), keepdims=True)
    factors = ((changed - means) / (images - means)).reshape(len(images), -1)
    assert_allclose(np.median(factors, axis=1)[:, None, None] * (images - means) + means, changed, atol=1e-5)
    assert 0.5 <= np.median(factors, axis=1).min() < 0.7
    assert 1.3 < np.median(factors, axis=1).max() <= 1.5


@pytest.mark.parametrize("transform", [Brightness(5), Contrast(5, 9)])
def test_values_stay_in_range(transform, images):
    """The range of the dtype for integers, of the image for floats."""
    for dtype, low, high in (("u1", 0, 255), ("i1", -128, 127)):
        given = np.rint(images * (high - low) + low).astype(dtype)
        changed = transform(given, rng=3)
        assert (changed.min(), changed.max()) == (low, high)
    changed, within = transform(images, rng=3), {"axis": (1, 2)}
    assert (changed.min(**within) >= images.min(**within)).all()
    assert (changed.max(**within) <= images.max(**within)).all()
    reached = (changed.min(**within) == images.min(**within)) | (
        changed.max(**within) == images.max(**within)
    )
    assert reached.all()


def test_blur_equals_that_of_scipy(images):
    ndimage = pytest.importorskip("scipy.ndimage")
    sigmas = np.random.default_rng(3).uniform(0, 1.5, (len(images), 1))
    expected = [
        ndimage.gaussian_filter(image.astype(float), sigma, radius=5, mode="nearest")
        for image, (sigma,) in zip(images, sigmas, strict=True)
    ]
    assert_allclose(Blur(1.5)(images, rng=3), expected, atol=2e-6)
    assert_allclose(Blur(0)(images), images)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cut_out_fills_a_rectangle(size, images):
    changed = CutOut(size, fill=-1)(images, rng=3)
    hole = changed == -1
    assert_array_equal(changed[~hole], images[~hole])
    for place in hole:
        rows, columns = np.flatnonzero(place.any(axis=1)), np.flatnonzero(place.any(axis=0))
        assert_array_equal(place, np.isin(np.arange(9), rows)[:, None] & np.isin(np.arange(7), columns))
        for cut, extent in ((rows, 9), (columns, 7)):
            touches_an_edge = cut[0] == 0 or cut[-1] == extent - 1
            assert np.ptp(cut) == len(cut) - 1
            assert len(cut) == size or (size // 2 <= len(cut) < size and touches_an_edge)
    assert hole.any(axis=(0, 1)).all()
    assert hole.any(axis=(0, 2)).all()


def test_a_hole_is_empty_unless_it_is_filled():
    assert set(np.unique(CutOut(3)(np.full((4, 5, 5), 7), rng=3))) == {0, 7}


@pytest.mark.parametrize(
    ("dtype", "fill", "filled"),
    [
        ("u1", -3, 0),
        ("u1", 300, 255),
        ("u1", 2.6, 3),
        ("i1", -2.4, -2),
        ("i8", 1e30, 2**63 - 1),
        ("f4", 0.3, 0.3),
    ],
)
def test_a_fill_is_a_value_of_the_dtype(dtype, fill, filled):
    changed = CutOut(3, fill=fill)(np.full((4, 3, 3), 7, dtype), rng=3)
    assert changed.dtype == dtype
    assert set(np.unique(changed)) == {np.dtype(dtype).type(filled), np.dtype(dtype).type(7)}


@pytest.mark.parametrize("kind", [Brightness, Contrast])
def test_a_nan_pixel_does_not_change_the_range_of_its_image(kind, images):
    expected = kind()(images, rng=3)
    for bad in (np.nan, np.inf):
        changed = images.copy()
        at = np.unravel_index(np.argsort(images[0], axis=None)[30], images[0].shape)
        changed[0][at] = bad
        if kind is Brightness:
            others = np.ones(images[0].shape, bool)
            others[at] = False
            assert_array_equal(kind()(changed, rng=3)[0][others], expected[0][others])


def test_the_largest_floats_stay_finite():
    for dtype in (np.float32, np.float16):
        top = np.finfo(dtype).max
        given = np.array([[[top, -top], [0, 1]]] * 20, dtype)
        for transform in (Brightness(0.5), Contrast(0.5, 0.9), Contrast(1.5, 9.0)):
            changed = transform(given, rng=3)
            assert np.isfinite(changed).all()
            assert (np.abs(changed) <= top).all()


INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_saturate(dtype):
    """Light and dark pixels stop at the limits of the dtype; none wraps around."""
    ends = np.iinfo(dtype)
    given = np.tile(np.array([100, ends.max - 1], dtype), (200, 1, 1))
    factors = np.random.default_rng(3).uniform(-1, 1, 200)
    changed = Brightness(1.0)(given, rng=3)
    width = float(ends.max) - float(ends.min)
    exact = [min(max(round(100 + factor * width), int(ends.min)), int(ends.max)) for factor in factors]
    assert changed.dtype == given.dtype
    distance = [abs(int(value) - right) for value, right in zip(changed[:, 0, 0], exact, strict=True)]
    assert max(distance) <= width * 2**-20
    assert ends.max in changed
    assert ends.min in changed
    kept = np.array([[[ends.min, ends.max]]] * 3, dtype)
    for transform in (Brightness(0), Contrast(1, 1), Blur(0), Rotation(0), Flip(0)):
        assert_array_equal(transform(kept, rng=3), kept)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4"])
def test_integers_are_rounded_to_the_nearest(dtype, rng):
    given = rng.integers(0, 100, (30, 5, 4)).astype(dtype)
    for transform in (Blur(1.5), Rotation(40), Zoom(0.5), Brightness(0.1, limits=(0, 100)), Contrast()):
        limits = {"limits": (-1e9, 1e9)} if isinstance(transform, Contrast) else {}
        transform = Contrast(**limits) if limits else transform
        exact = transform(given.astype(np.float64), rng=3)
        ends = np.iinfo(dtype)
        assert_allclose(transform(given, rng=3), np.clip(exact, ends.min, ends.max), atol=0.5 + 1e-4)
