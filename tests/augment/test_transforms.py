"""Every transform: layouts, dtypes, seeds, one image at a time; compositions, presets and plots."""

import inspect

import numpy as np
import pytest
from helpers.transforms import ALL, IMAGE_SHAPES, TRANSFORMS, crop_to_size, cut_out
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import augment
from trimtab.augment import (
    Brightness,
    Compose,
    Contrast,
    CutOut,
    Flip,
    Rotation,
    Shear,
    Shift,
    Transform,
    Zoom,
)

# the channel axis, and a function from (N, C, H, W) to the layout
LAYOUTS = {
    "NCHW": (1, lambda images: images),
    "NHWC": (-1, lambda images: np.moveaxis(images, 1, -1)),
    "a view": (-1, lambda images: images.transpose(0, 2, 3, 1)[:, ::-1, ::-1]),
}


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
    if kind is not augment.heavy:  # its limits are those of the dtype
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


def test_rng_is_a_seed_a_generator_or_none(images):
    """Also a RandomState."""
    transform = Shift(0.3)
    legacy = np.random.RandomState(3)
    assert transform(images, rng=legacy).shape == images.shape
    assert legacy.random() != np.random.RandomState(3).random()
    assert not np.array_equal(transform(images), transform(images))
    for bad in (Compose(transform), transform):
        with pytest.raises(TypeError, match=r"^\w+: rng must be a seed, a generator or None, got 1.5$"):
            bad(images, rng=1.5)


def spread(values, low, high):
    """Whether values are uniformly distributed between two limits."""
    shares = (np.sort(values) - low) / (high - low)
    return np.abs(shares - (np.arange(len(shares)) + 0.5) / len(shares)).max() < 0.04


def test_draws_are_uniform_in_both_directions():
    """Angles, slants, scales of rows and columns, shifts and shades."""
    count, generator = 5000, np.random.default_rng(3)
    turns = Rotation(30).matrices(count, generator)
    assert spread(np.degrees(np.arctan2(turns[:, 0, 1], turns[:, 0, 0])), -30, 30)
    assert_allclose(np.linalg.det(turns), 1)
    slants = Shear(20).matrices(count, generator)
    assert spread(np.degrees(np.arctan(slants[:, 1, 0])), -20, 20)
    assert_allclose(slants[:, [0, 0, 1], [0, 1, 1]], np.broadcast_to([1, 0, 1], (count, 3)))
    zooms = Zoom(0.4).matrices(count, generator)
    for which in (0, 1):
        assert spread(1 / zooms[:, which, which], 0.6, 1.4)
    assert abs(np.corrcoef(zooms[:, 0, 0], zooms[:, 1, 1])[0, 1]) < 0.1
    ramp = np.broadcast_to(np.arange(101.0), (count, 101, 101))
    moved = Shift(0.1)(np.stack([ramp[0], ramp[0].T] * 200), rng=3)[:, 50, 50] - 50
    for along in (moved[::2], moved[1::2]):
        assert set(along) == set(range(-10, 11))
    flat = np.broadcast_to(np.array([[0.0, 1.0, 0.5]]), (count, 1, 3))
    shades = Brightness(0.3, limits=(-9, 9))(flat, rng=3)[:, 0, 2] - 0.5
    assert spread(shades, -0.3 * 18, 0.3 * 18)
    factors = np.ptp(Contrast(0.5, 1.7, limits=(-9, 9))(flat, rng=3), axis=(1, 2))
    assert spread(factors, 0.5, 1.7)


OTHERS = {
    "NaN": lambda image: np.full_like(image, np.nan),
    "a NaN": lambda image: np.where(np.arange(image.size).reshape(image.shape) == 5, np.nan, image),
    "infinite": lambda image: np.full_like(image, np.inf),
    "an infinite pixel": lambda image: np.where(
        np.arange(image.size).reshape(image.shape) == 5, -np.inf, image
    ),
    "huge": lambda image: image * 3e38,
    "constant": lambda image: np.full_like(image, 7),
}


@pytest.mark.parametrize("kind", [*ALL, crop_to_size])
@pytest.mark.parametrize("axis", IMAGE_SHAPES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the infinite image
def test_an_image_does_not_depend_on_others(kind, axis, rng):
    """Bit for bit, whatever the first and the last image are."""
    given = rng.standard_normal(IMAGE_SHAPES[axis]).astype("f4")
    expected = kind(axis=axis)(given, rng=3)[1:-1]
    for other in OTHERS.values():
        changed = given.copy()
        changed[0], changed[-1] = other(given[0]), other(given[-1])
        assert kind(axis=axis)(changed, rng=3)[1:-1].tobytes() == expected.tobytes()
    view = np.moveaxis(np.ascontiguousarray(np.moveaxis(given, 0, -1)), -1, 0)
    assert kind(axis=axis)(view, rng=3)[1:-1].tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ALL)
def test_constant_images_do_not_change(kind):
    """Pixels from beyond an edge are the nearest pixel."""
    images = np.full((5, 9, 7), 0.3, np.float32)
    transform = CutOut(3, fill=0.3) if kind is cut_out else kind()
    assert_allclose(transform(images, rng=3), images, rtol=1e-6)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("shape", [(0, 9, 7), (1, 1, 1), (3, 1, 5)])
def test_small_and_empty_batches_keep_their_shape(kind, shape):
    assert kind()(np.ones(shape, np.float32), rng=3).shape == shape


def test_compose_takes_any_function(images):
    changed = Compose(lambda batch, rng: batch + 1, Flip(1), lambda batch, rng: batch * 2)(images)
    assert_array_equal(changed, (images[:, :, ::-1] + 1) * 2)
    assert_array_equal(Compose()(images), images)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "uint8", "int64"])
def test_a_function_in_a_composition_does_not_change_the_dtype(dtype):
    dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    given = np.arange(24).reshape(2, 3, 4).astype(dtype)
    seen = []

    def noise(batch, rng):
        seen.append(batch.dtype)
        return batch.astype(np.float64) * 1.5 + 0.75

    changed = Compose(noise, Flip(1), noise)(given, rng=0)
    assert seen == [dtype, dtype]
    assert changed.dtype == dtype
    once = (given.astype("f8") * 1.5 + 0.75)[:, :, ::-1]
    once = np.rint(once) if dtype.kind in "iu" else once.astype(dtype).astype("f8")
    twice = once * 1.5 + 0.75
    assert_array_equal(changed, (np.rint(twice) if dtype.kind in "iu" else twice).astype(dtype))


@pytest.mark.parametrize("axis", IMAGE_SHAPES)
def test_a_custom_transform_gets_channels_last(axis, rng):
    class Weighted(Transform):
        def change(self, images, rng):
            shapes.append(images.shape)
            return images * np.arange(images.shape[-1])

        def change_masks(self, masks, images, rng):
            shapes.append(masks.shape)
            return masks

    given, shapes = rng.random(IMAGE_SHAPES[axis]), []
    channels = 1 if axis is None else 3
    changed, masks = Weighted(axis)(given, masks=given > 0.5)
    assert shapes == [(8, 9, 7, channels)] * 2
    last = given[..., None] if axis is None else np.moveaxis(given, axis, -1)
    assert_array_equal(changed, np.moveaxis(last * np.arange(channels), -1, axis or -1).reshape(given.shape))
    assert_array_equal(masks, given > 0.5)


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


@pytest.mark.parametrize("kind", TRANSFORMS[:-1])
def test_options_are_documented(kind):
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
