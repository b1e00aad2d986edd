"""Transforms that interpolate: rotation, shear and zoom, against scipy.ndimage."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab.augment import (
    Compose,
    Flip,
    Rotation,
    Shear,
    Zoom,
)


def warped_by_scipy(image, matrix):
    ndimage = pytest.importorskip("scipy.ndimage")
    center = (np.array(image.shape) - 1) / 2
    offset = center - matrix @ center
    return ndimage.affine_transform(image.astype(float), matrix, offset, order=1, mode="nearest")


@pytest.mark.parametrize("warp", [Rotation(60), Shear(40), Zoom(0.6)], ids=lambda warp: type(warp).__name__)
def test_warps_equal_those_of_scipy(warp, images):
    matrices = warp.matrices(len(images), np.random.default_rng(3))
    expected = [warped_by_scipy(*pair) for pair in zip(images, matrices, strict=True)]
    assert_allclose(warp(images, rng=3), expected, atol=2e-6)


class Fixed:
    """A generator that always draws the same value."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high, size):
        assert low <= self.value <= high
        return np.full(size, self.value)


@pytest.mark.parametrize("sign", [-1, 1])
def test_warps_go_in_both_directions(sign, images, monkeypatch):
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


def test_consecutive_warps_are_one_interpolation(images):
    warps = [Rotation(30), Zoom(0.3), Shear(20)]
    generator = np.random.default_rng(3)
    drawn = [warp.matrices(len(images), generator) for warp in warps]
    # from pixels to their sources, backwards through the transforms
    matrices = drawn[0] @ drawn[1] @ drawn[2]
    expected = [warped_by_scipy(*pair) for pair in zip(images, matrices, strict=True)]
    assert_allclose(Compose(*warps)(images, rng=3), expected, atol=2e-6)


def test_consecutive_warps_equal_single_ones():
    """On linear images, which interpolation reproduces, away from the edges."""
    rows, columns = np.mgrid[:41, :41].astype(np.float32)
    images = np.stack([rows, columns, rows + 2 * columns])
    warps = [Rotation(30), Zoom(0.3), Shear(20)]
    generator = np.random.default_rng(3)
    one_by_one = images
    for warp in warps:
        one_by_one = warp(one_by_one, rng=generator)
    middle = np.s_[:, 15:26, 15:26]
    assert_allclose(Compose(*warps)(images, rng=3)[middle], one_by_one[middle], atol=1e-3)


def test_only_consecutive_warps_of_one_layout_are_merged():
    merged = Compose(Rotation(), Flip(), Zoom(), Shear(), Rotation(axis=1)).transforms
    assert [len(getattr(step, "warps", [0])) for step in merged] == [1, 1, 2, 1]
