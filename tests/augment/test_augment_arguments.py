"""Arguments of transforms: which are taken, and errors that name the transform and the argument."""

import numpy as np
import pytest
from helpers.transforms import ALL, MOVES, VALUES, WARPS
from numpy.testing import assert_array_equal
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
    Zoom,
)


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
def test_wrong_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize("dtype", [bool, complex, object, "U1"])
def test_images_of_other_dtypes_are_refused(dtype):
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
def test_the_axis_of_channels_is_none_1_or_minus_1(kind):
    for axis in (0, 2, -2):
        with pytest.raises(ValueError, match=rf"^\w+: axis must be None, 1 or -1, got {axis}$"):
            kind(axis=axis)
    for axis in (True, 1.0, "1", [1]):
        with pytest.raises(TypeError, match=r"^\w+: axis must be an int, got "):
            kind(axis=axis)
    assert kind(axis=np.int64(1))(np.ones((1, 2, 9, 9))).shape[:2] == (1, 2)


def test_flags_functions_and_columns_are_checked():
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
