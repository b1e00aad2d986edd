"""Real data to train on."""

from typing import NamedTuple

import numpy as np

from trimtab import extras
from trimtab._typing import Array


class Dataset(NamedTuple):
    """Samples and labels, apart for training and for testing."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def load_digits() -> Dataset:
    """Load the 1,797 handwritten digits that ship inside scikit-learn (Alpaydin and Kaynak 1998).

    Returns
    -------
    Dataset
        ``x_*`` float32 (N, 64): images of 8 by 8 pixels, scaled from 0..16 to 0..1; ``y_*`` int64 (N,).
        Sorted by class, each fifth image is for testing: 1,437 and 360 images, always the same ones, with the
        classes evenly in both parts.

    Raises
    ------
    MissingExtra
        If scikit-learn is not installed.
    """
    digits = extras.load("sklearn.datasets").load_digits()
    pixels = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    test = np.zeros(len(labels), bool)
    test[np.argsort(labels, kind="stable")[::5]] = True
    return Dataset(pixels[~test], labels[~test], pixels[test], labels[test])
