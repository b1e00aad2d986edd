"""Transforms that move pixels as they are: flip, shift and crop, against all candidates."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from trimtab.augment import (
    Crop,
    Flip,
    Shift,
)


def which_candidate(transform, images, candidates):
    """Index of the candidate that each image became; candidates (K, N, H, W)."""
    changed = transform(images, rng=3)
    same = (candidates == changed).all(axis=(2, 3))
    assert same.any(axis=0).all()
    return same.argmax(axis=0)


def padded(images, rows, columns):
    return np.pad(images, ((0, 0), (rows, rows), (columns, columns)), mode="edge")


@pytest.mark.parametrize("vertical", [False, True])
def test_flip_mirrors_some_images(vertical, images):
    flipped = images[:, ::-1] if vertical else images[:, :, ::-1]
    which = which_candidate(Flip(0.3, vertical=vertical), images, np.stack([images, flipped]))
    assert 4 <= which.sum() <= 20
    assert_array_equal(Flip(0, vertical=vertical)(images), images)
    assert_array_equal(Flip(1, vertical=vertical)(images), flipped)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_each_image_is_flipped_with_its_own_probability(p, images):
    many = np.broadcast_to(images[:1], (4000, 9, 7))
    flipped = (Flip(p)(many, rng=3) != many).any(axis=(1, 2))
    assert abs(flipped.mean() - p) < 5 * np.sqrt(p * (1 - p) / 4000)
    changes = np.mean(flipped[1:] != flipped[:-1])
    assert abs(changes - 2 * p * (1 - p)) < 0.05


def test_shift_moves_by_up_to_a_fraction(images):
    pad = padded(images, 2, 1)
    candidates = np.stack(
        [pad[:, down : down + 9, right : right + 7] for down in range(5) for right in range(3)]
    )
    which = which_candidate(Shift(0.2), images, candidates)
    assert set(which // 3) == set(range(5))
    assert set(which % 3) == set(range(3))


@pytest.mark.parametrize("size", [None, (4, 5), (13, 11)])
def test_crop_reaches_every_offset(size, images):
    height, width = size or (9, 7)
    pad = padded(images, 2, 2)
    places = [(row, column) for row in range(14 - height) for column in range(12 - width)]
    candidates = np.stack([pad[:, row : row + height, column : column + width] for row, column in places])
    which = which_candidate(Crop(2, size=size), images, candidates)
    rows, columns = np.array(places)[which].T
    assert (rows.min(), rows.max()) == (0, 13 - height)
    assert (columns.min(), columns.max()) == (0, 11 - width)
