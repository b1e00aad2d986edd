"""Augmentation image by image: what others have no part in, dtypes and their ends, masks, wrong arguments."""

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

MOVES = [Flip, Shift, Crop, lambda **how: Crop(2, size=(4, 5), **how)]
WARPS = [Rotation, Shear, Zoom]
VALUES = [Brightness, Contrast, Blur, lambda **how: CutOut(3, **how)]
ALL = [*MOVES, *WARPS, *VALUES, augment.light, augment.heavy]
LAYOUTS = {None: (8, 9, 7), 1: (8, 3, 9, 7), -1: (8, 9, 7, 3)}


@pytest.fixture
def images(rng):
    return rng.random((40, 9, 7), dtype=np.float32)


# ---- one image ----

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


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("axis", LAYOUTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what an infinite image says of itself
def test_an_image_has_no_part_in_others(kind, axis, rng):
    """To the bit, whatever the first and the last image are."""
    given = rng.standard_normal(LAYOUTS[axis]).astype("f4")
    expected = kind(axis=axis)(given, rng=3)[1:-1]
    for other in OTHERS.values():
        changed = given.copy()
        changed[0], changed[-1] = other(given[0]), other(given[-1])
        assert kind(axis=axis)(changed, rng=3)[1:-1].tobytes() == expected.tobytes()
    view = np.moveaxis(np.ascontiguousarray(np.moveaxis(given, 0, -1)), -1, 0)
    assert kind(axis=axis)(view, rng=3)[1:-1].tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", [Brightness, Contrast])
def test_a_pixel_that_is_no_number_leaves_the_range_of_its_image(kind, images):
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


# ---- dtypes ----

INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_saturate(dtype):
    """Light and dark pixels at the ends of the dtype, and none that wraps around."""
    ends = np.iinfo(dtype)
    given = np.tile(np.array([100, ends.max - 1], dtype), (200, 1, 1))
    shares = np.random.default_rng(3).uniform(-1, 1, 200)
    changed = Brightness(1.0)(given, rng=3)
    width = float(ends.max) - float(ends.min)
    exact = [min(max(round(100 + share * width), int(ends.min)), int(ends.max)) for share in shares]
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


# ---- masks ----

LABELS = ["u1", "i8", "?", "f4", "U3"]


def assert_moved_along(transform, images, masks, expected):
    """Images as without masks; and the next draw, too."""
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
@pytest.mark.parametrize("axis", LAYOUTS)
def test_masks_are_moved_with_the_pixels(kind, axis, rng):
    """Where pixels move as a whole, a mask becomes what an image of its values would."""
    images = rng.random(LAYOUTS[axis])
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
    assert np.mean(moved == np.stack(expected)) > 0.995  # but for places half way between two pixels
    assert_array_equal(changed, warp(images.astype("f8"), rng=3))


@pytest.mark.parametrize("kind", VALUES)
def test_masks_keep_their_values(kind, images):
    masks = (images > 0.5).astype("u1")
    assert_moved_along(kind(), images, masks, masks)


@pytest.mark.parametrize("dtype", LABELS)
def test_masks_of_any_dtype(dtype, images):
    masks = np.rint(9 * images).astype("i8")
    for transform in (augment.light(), augment.heavy(), Compose(Shift(), CutOut(3), Rotation())):
        _, moved = transform(images, rng=3, masks=masks)
        _, typed = transform(images, rng=3, masks=masks.astype(dtype))
        assert typed.dtype == dtype
        assert_array_equal(typed, moved.astype(dtype))


def test_masks_follow_through_a_composition(images):
    """As one by one, with the draws of one generator; a composition in another, too."""
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


def test_masks_of_the_wrong_size(images):
    for shape in ((39, 9, 7), (40, 9, 8), (40, 8, 7)):
        with pytest.raises(ValueError, match=r"^Flip: masks must be of the size of the images, 40 of "):
            Flip()(images, masks=np.ones(shape))
    with pytest.raises(ValueError, match=r"^Flip: masks must be \(N, H, W\), got shape \(40, 1, 9, 7\)$"):
        Flip()(images, masks=images[:, None])
    with pytest.raises(ValueError, match=r"^Flip: masks must be \(N, C, H, W\), got shape \(40, 9\)$"):
        Flip(axis=1)(images[:, None], masks=np.ones((40, 9)))


def test_what_cannot_move_masks_says_so(images):
    with pytest.raises(TypeError, match=r"^Compose: masks must be None beside a function, got <"):
        Compose(Flip(), lambda batch, rng: batch)(images, masks=images)

    class Darker(Transform):
        def change(self, images, rng):
            return images / 2

    with pytest.raises(TypeError, match=r"^Darker: masks must be None where change_masks is not defined$"):
        Darker()(images, masks=images)
    assert_array_equal(Darker()(images), images / 2)


# ---- who is changed, and which way ----


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_each_image_is_flipped_with_its_own_probability(p, images):
    many = np.broadcast_to(images[:1], (4000, 9, 7))
    flipped = (Flip(p)(many, rng=3) != many).any(axis=(1, 2))
    assert abs(flipped.mean() - p) < 5 * np.sqrt(p * (1 - p) / 4000)
    changes = np.mean(flipped[1:] != flipped[:-1])
    assert abs(changes - 2 * p * (1 - p)) < 0.05


def spread(values, low, high):
    """Whether values are uniform between two ends."""
    shares = (np.sort(values) - low) / (high - low)
    return np.abs(shares - (np.arange(len(shares)) + 0.5) / len(shares)).max() < 0.04


def test_draws_reach_both_sides():
    """Angles, slants, scales of rows and columns, shifts and shades are uniform either way."""
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


class Fixed:
    """A generator that draws one value."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high, size):
        assert low <= self.value <= high
        return np.full(size, self.value)


@pytest.mark.parametrize("sign", [-1, 1])
def test_warps_either_way(sign, images, monkeypatch):
    square = images[:, :7]
    monkeypatch.setattr(np.random, "default_rng", Fixed)
    assert_allclose(Rotation(180)(square, rng=90 * sign), np.rot90(square, sign, axes=(1, 2)), atol=1e-5)
    upright = np.zeros((1, 5, 9), np.float32)
    upright[:, :, 4] = 1
    leaning = Shear(45)(upright, rng=45 * sign)[0]
    assert_allclose(leaning, np.eye(9)[::-sign][2:7], atol=1e-6)
    assert_array_equal(Shear(45)(upright.transpose(0, 2, 1), rng=45 * sign), upright.transpose(0, 2, 1))
    dot = np.zeros((1, 21, 21), np.float32)
    dot[:, 6:15, 6:15] = 1
    side = (Zoom(0.5)(dot, rng=1 + sign / 2)[0, 10] >= 0.5).sum()
    assert side == (5 if sign < 0 else 13)


# ---- arguments ----


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(1.5), "Flip: p must be between 0 and 1, got 1.5"),
        (lambda: Flip(axis=2), "Flip: axis must be None, 1 or -1, got 2"),
        (lambda: Shift(-0.1), "Shift: fraction must be between 0 and 1, got -0.1"),
        (lambda: Crop(-1), "Crop: padding must be at least 0, got -1"),
        (lambda: Crop(size=(0, 3)), r"Crop: size must be at least \(1, 1\), got \(0, 3\)"),
        (
            lambda: Crop(1, size=(12, 3))(np.ones((2, 9, 7))),
            r"Crop: size must be at most that of the padded image \(11, 9\), got \(12, 3\)",
        ),
        (lambda: Rotation(np.nan), "Rotation: degrees must be between 0 and 180, got nan"),
        (lambda: Shear(90), "Shear: degrees must be between 0 and 89, got 90"),
        (lambda: Zoom(1), "Zoom: amount must be between 0 and 0.99, got 1"),
        (lambda: Brightness(np.inf), "Brightness: amount must be finite and >= 0, got inf"),
        (lambda: Contrast(2, 1), "Contrast: high must be finite and >= 2, got 1"),
        (
            lambda: Contrast(limits=(1, 0)),
            r"Contrast: limits must be \(low, high\) with low < high, got \(1, 0\)",
        ),
        (lambda: Blur(-1), "Blur: sigma must be between 0 and 100, got -1"),
        (lambda: CutOut(0), "CutOut: size must be at least 1, got 0"),
        (lambda: Flip()(np.ones((2, 3))), r"Flip: images must be \(N, H, W\), got shape \(2, 3\)"),
        (
            lambda: Flip(axis=1)(np.ones((2, 3, 4))),
            r"Flip: images must be \(N, C, H, W\), got shape \(2, 3, 4\)",
        ),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize("dtype", [bool, complex, object, "U1"])
def test_wrong_dtypes(dtype):
    with pytest.raises(TypeError, match="Flip: images must be integers or real, got dtype"):
        Flip()(np.zeros((2, 3, 4), dtype))


NUMBERS = {
    "Flip: p": Flip,
    "Shift: fraction": Shift,
    "Rotation: degrees": Rotation,
    "Shear: degrees": Shear,
    "Zoom: amount": Zoom,
    "Brightness: amount": Brightness,
    "Contrast: low": Contrast,
    "Contrast: high": lambda high: Contrast(0.5, high),
    "Blur: sigma": Blur,
    "CutOut: fill": lambda fill: CutOut(3, fill=fill),
    "Brightness: limits": lambda low: Brightness(limits=(low, 9)),
    "Contrast: limits": lambda high: Contrast(limits=(-9, high)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_must_be_finite_numbers(name):
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=f"^{name} must be (finite|between).*, got {value}$"):
            NUMBERS[name](value)
    for value in ("0.1", None, True, 1j, np.ones(2)):
        with pytest.raises(TypeError, match=f"^{name} must be a number, got "):
            NUMBERS[name](value)
    NUMBERS[name](np.float32(0.75))
    NUMBERS[name](np.int8(1) if "Zoom" not in name else np.int8(0))


@pytest.mark.parametrize("kind", [Brightness, Contrast])
def test_limits_are_a_pair_in_order(kind):
    for limits in ((1, 1), (2, 1), [0.5, 0.5]):
        with pytest.raises(
            ValueError, match=rf"^{kind.__name__}: limits must be \(low, high\) with low < high"
        ):
            kind(limits=limits)
    for limits in (3, (1,), (1, 2, 3), "ab", {}):
        with pytest.raises((TypeError, ValueError), match=rf"^{kind.__name__}: limits must be "):
            kind(limits=limits)
    images = np.linspace(0, 1, 12).reshape(1, 3, 4)
    assert_array_equal(kind(limits=[0, 1])(images, rng=3), kind(limits=np.array([0, 1]))(images, rng=3))


def test_a_hole_is_empty_unless_it_is_filled():
    assert set(np.unique(CutOut(3)(np.full((4, 5, 5), 7), rng=3))) == {0, 7}


def test_sizes_are_ints_of_any_kind(images):
    expected = Crop(2, size=(4, 5))(images, rng=3)
    for size in ([4, 5], np.array([4, 5]), (np.int64(4), np.uint8(5))):
        assert_array_equal(Crop(np.int16(2), size=size)(images, rng=3), expected)
    assert_array_equal(CutOut(np.int32(3))(images, rng=3), CutOut(3)(images, rng=3))
    for make in (lambda: Crop(1.0), lambda: Crop(True), lambda: CutOut(3.0), lambda: Crop(size=(4.0, 5))):
        with pytest.raises(TypeError, match=r"^C\w+: \w+ must be an int, got "):
            make()
    for size in (4, "ab", (4,), (4, 5, 6), (4, 0)):
        with pytest.raises((TypeError, ValueError), match=r"^Crop: size must be "):
            Crop(size=size)


@pytest.mark.parametrize("kind", [*MOVES[:3], *WARPS, *VALUES[:3]])
def test_axes(kind):
    for axis in (0, 2, -2):
        with pytest.raises(ValueError, match=rf"^\w+: axis must be None, 1 or -1, got {axis}$"):
            kind(axis=axis)
    for axis in (True, 1.0, "1", [1]):
        with pytest.raises(TypeError, match=r"^\w+: axis must be an int, got "):
            kind(axis=axis)
    assert kind(axis=np.int64(1))(np.ones((1, 2, 9, 9))).shape[:2] == (1, 2)


def test_flags_and_functions():
    with pytest.raises(TypeError, match=r"^Flip: vertical must be a bool, got 1$"):
        Flip(vertical=1)
    for bad in (3, None, Flip, "flip"):
        with pytest.raises(TypeError, match=r"^Compose: transforms must be functions of images, got "):
            Compose(Flip(), bad)
    with pytest.raises(ValueError, match=r"^plot: columns must be at least 1, got 0$"):
        augment.plot(Flip(), np.ones((1, 3, 3)), columns=0)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_masked_arrays_are_refused(kind):
    with pytest.raises(TypeError, match=r"^\w+: images must be a plain array, got a MaskedArray"):
        kind()(np.ma.masked_array(np.ones((1, 9, 9)), np.zeros((1, 9, 9))))
    with pytest.raises(TypeError, match=r"^\w+: masks must be a plain array, got a MaskedArray"):
        kind()(np.ones((1, 9, 9)), masks=np.ma.masked_array(np.ones((1, 9, 9))))


def test_every_source_of_chance(images):
    """A seed, a generator, the older generator of NumPy, and none."""
    transform = Shift(0.3)
    legacy = np.random.RandomState(3)
    assert transform(images, rng=legacy).shape == images.shape
    assert legacy.random() != np.random.RandomState(3).random()
    assert not np.array_equal(transform(images), transform(images))
    for bad in (Compose(transform), transform):
        with pytest.raises(TypeError, match=r"^\w+: rng must be a seed, a generator or None, got 1.5$"):
            bad(images, rng=1.5)
