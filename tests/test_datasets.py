"""Datasets: sizes, ranges, and a split that never changes."""

import numpy as np
import pytest
from trimtab import extras
from trimtab.datasets import load_digits


def test_digits():
    digits = load_digits()
    assert digits.x_train.shape == (1437, 64)
    assert digits.x_test.shape == (360, 64)
    for pixels in (digits.x_train, digits.x_test):
        assert pixels.dtype == np.float32
        assert pixels.min() == 0
        assert pixels.max() == 1
    counts = np.array([np.bincount(labels) for labels in (digits.y_train, digits.y_test)])
    assert counts.sum(axis=0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.ptp(counts[1]) <= 2


def test_each_fifth_digit_in_the_order_of_classes_is_for_testing():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    by_class = np.concatenate([source.data[source.target == label] for label in range(10)])
    digits = load_digits()
    tested = np.concatenate([digits.x_test[digits.y_test == label] for label in range(10)])
    np.testing.assert_array_equal(tested * 16, by_class[::5])


def test_a_missing_extra_says_how_to_install_it():
    with pytest.raises(
        extras.MissingExtra, match=r'not_there is not installed: pip install "trimtab\[demo\]"'
    ):
        extras.load("not_there.module")
