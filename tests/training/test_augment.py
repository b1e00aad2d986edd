"""Augmentation: each transform against a plain loop or scipy.ndimage, in every layout and dtype."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import augment
from trimtab.augment import (
    Blur,
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

KINDS = [Flip, Shift, Crop, Rotation, Shear, Zoom, Brightness, Contrast, Blur, lambda **how: CutOut(3, **how)]
ALL = [*KINDS, augment.light, augment.heavy]
# axis and what turns (N, C, H, W) into the layout
LAYOUTS = {
    "NCHW": (1, lambda images: images),
    "NHWC": (-1, lambda images: np.moveaxis(images, 1, -1)),
    "a view": (-1, lambda images: images.transpose(0, 2, 3, 1)[:, ::-1, ::-1]),
}


@pytest.fixture
def images(rng):
    return rng.random((40, 9, 7), dtype=np.float32)


def seen(transform, images, candidates):
    """Index of the candidate that each image became; candidates (K, N, H, W)."""
    changed = transform(images, rng=3)
    same = (candidates == changed).all(axis=(2, 3))
    assert same.any(axis=0).all()
    return same.argmax(axis=0)


def padded(images, rows, columns):
    return np.pad(images, ((0, 0), (rows, rows), (columns, columns)), mode="edge")


@pytest.mark.parametrize("vertical", [False, True])
def test_flip(vertical, images):
    flipped = images[:, ::-1] if vertical else images[:, :, ::-1]
    which = seen(Flip(0.3, vertical=vertical), images, np.stack([images, flipped]))
    assert 4 <= which.sum() <= 20
    assert_array_equal(Flip(0, vertical=vertical)(images), images)
    assert_array_equal(Flip(1, vertical=vertical)(images), flipped)


def test_shift(images):
    pad = padded(images, 2, 1)
    candidates = np.stack(
        [pad[:, down : down + 9, right : right + 7] for down in range(5) for right in range(3)]
    )
    which = seen(Shift(0.2), images, candidates)
    assert set(which // 3) == set(range(5))
    assert set(which % 3) == set(range(3))


@pytest.mark.parametrize("size", [None, (4, 5), (13, 11)])
def test_crop(size, images):
    height, width = size or (9, 7)
    pad = padded(images, 2, 2)
    places = [(row, column) for row in range(14 - height) for column in range(12 - width)]
    candidates = np.stack([pad[:, row : row + height, column : column + width] for row, column in places])
    which = seen(Crop(2, size=size), images, candidates)
    rows, columns = np.array(places)[which].T
    assert (rows.min(), rows.max()) == (0, 13 - height)
    assert (columns.min(), columns.max()) == (0, 11 - width)


# ---- warps ----


def warped_by_scipy(image, matrix):
    ndimage = pytest.importorskip("scipy.ndimage")
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - matrix @ centre
    return ndimage.affine_transform(image.astype(float), matrix, offset, order=1, mode="nearest")


@pytest.mark.parametrize("warp", [Rotation(60), Shear(40), Zoom(0.6)], ids=lambda warp: type(warp).__name__)
def test_warps_are_those_of_scipy(warp, images):
    matrices = warp.matrices(len(images), np.random.default_rng(3))
    expected = [warped_by_scipy(*pair) for pair in zip(images, matrices, strict=True)]
    assert_allclose(warp(images, rng=3), expected, atol=2e-6)


def fixed(monkeypatch, transform, value):
    """Let a transform draw one value."""

    class Fixed:
        def uniform(self, low, high, size):
            assert low <= value <= high
            return np.full(size, value)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Fixed())
    return transform


def test_rotation_is_against_the_clock(images, monkeypatch):
    square = images[:, :7]
    turn = fixed(monkeypatch, Rotation(180), 90)
    assert_allclose(turn(square), np.rot90(square, axes=(1, 2)), atol=1e-5)


def test_shear_moves_rows(monkeypatch):
    image = np.zeros((1, 5, 9), np.float32)
    image[:, :, 4] = 1
    leaning = fixed(monkeypatch, Shear(45), 45)(image)
    assert_allclose(leaning[0], np.eye(9)[::-1][2:7], atol=1e-6)


def test_zoom_enlarges(monkeypatch):
    image = np.zeros((1, 9, 9), np.float32)
    image[:, 3:6, 3:6] = 1
    assert fixed(monkeypatch, Zoom(0.5), 1.5)(image).sum() > 1.8 * image.sum()


def test_warps_in_a_row_are_one(images):
    warps = [Rotation(30), Zoom(0.3), Shear(20)]
    generator = np.random.default_rng(3)
    drawn = [warp.matrices(len(images), generator) for warp in warps]
    # the place where a pixel comes from, backwards through the transforms
    matrices = drawn[0] @ drawn[1] @ drawn[2]
    expected = [warped_by_scipy(*pair) for pair in zip(images, matrices, strict=True)]
    assert_allclose(Compose(*warps)(images, rng=3), expected, atol=2e-6)


def test_warps_in_a_row_are_what_they_are_one_by_one():
    """On a picture that interpolation leaves as it is, away from the edges."""
    rows, columns = np.mgrid[:41, :41].astype(np.float32)
    images = np.stack([rows, columns, rows + 2 * columns])
    warps = [Rotation(30), Zoom(0.3), Shear(20)]
    generator = np.random.default_rng(3)
    one_by_one = images
    for warp in warps:
        one_by_one = warp(one_by_one, rng=generator)
    middle = np.s_[:, 15:26, 15:26]
    assert_allclose(Compose(*warps)(images, rng=3)[middle], one_by_one[middle], atol=1e-3)


def test_only_warps_of_one_layout_in_a_row_are_merged():
    merged = Compose(Rotation(), Flip(), Zoom(), Shear(), Rotation(axis=1)).transforms
    assert [len(getattr(step, "warps", [0])) for step in merged] == [1, 1, 2, 1]


# ---- values ----


def test_brightness(images):
    changed = Brightness(0.25, limits=(-9, 9))(images, rng=3)
    added = (changed - images)[:, :1, :1]
    assert_allclose(changed, images + added, atol=2e-6)
    assert (np.abs(added) <= 0.25 * 18).all()
    assert np.ptp(added) > 0.25 * 18


def test_contrast(images):
    changed = Contrast(0.5, 1.5, limits=(-9, 9))(images, rng=3)
    means = images.mean(axis=(1, 2), keepdims=True)
    factors = ((changed - means) / (images - means)).reshape(len(images), -1)
    assert_allclose(np.median(factors, axis=1)[:, None, None] * (images - means) + means, changed, atol=1e-5)
    assert 0.5 <= np.median(factors, axis=1).min() < 0.7
    assert 1.3 < np.median(factors, axis=1).max() <= 1.5


@pytest.mark.parametrize("transform", [Brightness(5), Contrast(5, 9)])
def test_values_stay_in_range(transform, images):
    """That of the dtype for integers, else that of the image."""
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


def test_blur_is_that_of_scipy(images):
    ndimage = pytest.importorskip("scipy.ndimage")
    sigmas = np.random.default_rng(3).uniform(0, 1.5, (len(images), 1))
    expected = [
        ndimage.gaussian_filter(image.astype(float), sigma, radius=5, mode="nearest")
        for image, (sigma,) in zip(images, sigmas, strict=True)
    ]
    assert_allclose(Blur(1.5)(images, rng=3), expected, atol=2e-6)
    assert_allclose(Blur(0)(images), images)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cut_out(size, images):
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


# ---- what all have in common ----


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_agree_and_channels_share_the_change(kind, layout, rng):
    axis, arrange = LAYOUTS[layout]
    planes = rng.random((6, 1, 9, 7), dtype=np.float32).repeat(2, axis=1)
    if layout == "a view":
        planes = planes[:, :, ::-1, ::-1]
        expected = kind()(np.ascontiguousarray(planes[:, 0, ::-1, ::-1]), rng=3)
    else:
        expected = kind()(planes[:, 0], rng=3)
    changed = kind(axis=axis)(arrange(planes), rng=3)
    assert changed.shape == arrange(planes).shape
    for channel in range(2):
        assert_allclose(changed[:, channel] if axis == 1 else changed[..., channel], expected, atol=2e-6)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "uint8", "int16", "int64"])
def test_dtype_is_kept(kind, dtype, images):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    given = np.rint(images * 100).astype(dtype)
    kept = given.copy()
    limits = {"limits": (0, 100)} if kind in (Brightness, Contrast) else {}
    changed = kind(**limits)(given, rng=3)
    assert changed.dtype == given.dtype
    assert_array_equal(given, kept)
    assert not np.shares_memory(changed, given)
    if kind is not augment.heavy:  # whose limits are those of the dtype
        expected = kind(**limits)(given.astype(np.float64), rng=3)
        is_integer = np.issubdtype(given.dtype, np.integer)
        precision = 0.501 if is_integer else 200 * 2.0 ** -(given.itemsize * 4 - 1)
        assert_allclose(changed.astype(np.float64), expected, atol=precision)


@pytest.mark.parametrize("kind", ALL)
def test_a_seed_fixes_the_change_and_images_differ_in_theirs(kind, images):
    transform = kind()
    same = np.broadcast_to(images[:1], images.shape)
    changed = transform(same, rng=3)
    assert_array_equal(changed, transform(same, rng=3))
    assert_array_equal(changed, transform(same, rng=np.random.default_rng(3)))
    assert not np.array_equal(changed, transform(same, rng=4))
    assert len(np.unique(changed.reshape(len(changed), -1), axis=0)) > 1
    generator = np.random.default_rng(3)
    transform(same, rng=generator)
    assert not np.array_equal(changed, transform(same, rng=generator))


@pytest.mark.parametrize("kind", ALL)
def test_constant_images_stay(kind):
    """Whatever comes in over an edge is the nearest pixel."""
    images = np.full((5, 9, 7), 0.3, np.float32)
    transform = CutOut(3, fill=0.3) if kind is KINDS[-1] else kind()
    assert_allclose(transform(images, rng=3), images, rtol=1e-6)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("shape", [(0, 9, 7), (1, 1, 1), (3, 1, 5)])
def test_small_and_empty_batches(kind, shape):
    assert kind()(np.ones(shape, np.float32), rng=3).shape == shape


def test_presets_have_the_published_settings():
    light, heavy = augment.light(), augment.heavy(axis=-1)
    flip, shift, warps, brightness, contrast = heavy.transforms
    assert [vars(one) for one in light.transforms] == [
        vars(one) | {"axis": None} for one in heavy.transforms[:2]
    ]
    rotation, shear, zoom = warps.warps
    assert (flip.p, flip.vertical, shift.fraction) == (0.5, False, 0.1)
    assert (rotation.degrees, shear.degrees, zoom.amount) == (22.5, 8.6, 0.15)
    assert (brightness.amount, contrast.low, contrast.high) == (0.25, 0.5, 1.5)
    assert {one.axis for one in heavy.transforms} == {-1}


def test_compose_takes_any_function(images):
    changed = Compose(lambda batch, rng: batch + 1, Flip(1), lambda batch, rng: batch * 2)(images)
    assert_array_equal(changed, (images[:, :, ::-1] + 1) * 2)
    assert_array_equal(Compose()(images), images)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_documented(kind):
    assert issubclass(kind, Transform)
    for name in inspect.signature(kind).parameters:
        assert name in kind.__doc__ + Transform.__doc__, name


@pytest.mark.parametrize(("axis", "shape"), [(None, (3, 9, 7)), (1, (3, 1, 9, 7)), (-1, (3, 9, 7, 3))])
def test_plot_shows_originals_first(axis, shape, rng):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    images = rng.random(shape)
    figure = augment.plot(augment.heavy(axis), images, columns=4, axis=axis, rng=3)
    shown = [panel.images[0].get_array() for panel in figure.axes]
    assert len(shown) == 12
    for image, original in zip(images, shown[::4], strict=True):
        assert_array_equal(original, image.squeeze())
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])
    pyplot.close("all")
