"""Datasets: sizes, ranges, a fixed split, and files that are complete or refused."""

import gzip
import hashlib
import os
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from trimtab import datasets, extras
from trimtab.datasets import load_digits, load_fashion_mnist, load_mnist, read_idx


def test_digits_have_their_sizes_and_ranges():
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


def test_every_fifth_digit_in_the_order_of_classes_is_for_testing():
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


# ---- IDX files ----

LOADERS = {"MNIST": load_mnist, "FASHION_MNIST": load_fashion_mnist}
NAMES = [*datasets.MNIST.digests]


def idx(array):
    """The bytes of an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture(params=["", ".gz"], ids=["raw", "gzipped"])
def small(request, tmp_path, monkeypatch, rng):
    """A folder of small files, the arrays in them, and sources with their digests."""
    arrays = [
        array
        for samples in (5, 3)
        for array in (rng.integers(0, 256, (samples, 28, 28)), rng.integers(0, 10, samples))
    ]
    contents = {name: idx(array.astype(np.uint8)) for name, array in zip(NAMES, arrays, strict=True)}
    for name, content in contents.items():
        stored = gzip.compress(content) if request.param else content
        (tmp_path / (name + request.param)).write_bytes(stored)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for source in LOADERS:
        monkeypatch.setattr(datasets, source, getattr(datasets, source)._replace(digests=digests))
    return tmp_path, arrays


@pytest.mark.parametrize("source", LOADERS)
def test_idx_files_are_loaded(source, small, monkeypatch):
    folder, arrays = small
    own = folder / getattr(datasets, source).name
    own.symlink_to(folder)
    monkeypatch.setenv("TRIMTAB_DATA", str(folder))
    for given in (folder, str(folder), None):
        loaded = LOADERS[source](given)
        for pixels, expected in zip(loaded[::2], arrays[::2], strict=True):
            assert pixels.dtype == np.float32
            assert_array_equal(np.rint(pixels * 255), expected)
            assert (pixels.min(), pixels.max()) == (expected.min() / 255, expected.max() / np.float32(255))
        for labels, expected in zip(loaded[1::2], arrays[1::2], strict=True):
            assert labels.dtype == np.int64
            assert_array_equal(labels, expected)


def cut(content):
    return content[:-3]


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip_a_bit, lambda content: b"", lambda content: b"<html>"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named(name, damage, small):
    folder, _ = small
    (path,) = folder.glob(f"{name}*")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"^read_idx: {re.escape(str(path))} must .*, got "):
        load_mnist(folder)


def test_a_missing_file_is_named_with_its_url(small):
    folder, _ = small
    for name in NAMES[1:3]:
        next(folder.glob(f"{name}*")).unlink()
    message = (
        "load_fashion_mnist: folder must have train-labels-.*, t10k-images-.* https://github.com/zalando"
    )
    with pytest.raises(FileNotFoundError, match=message):
        load_fashion_mnist(folder)


def test_a_missing_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMTAB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"load_mnist: folder must be there, got '.*/mnist'; .*https"):
        load_mnist()
    with pytest.raises(FileNotFoundError, match=r"load_mnist: folder must be there, got '.*/absent'; "):
        load_mnist(tmp_path / "absent")
    monkeypatch.delenv("TRIMTAB_DATA")
    with pytest.raises(ValueError, match="load_mnist: folder must be given where TRIMTAB_DATA is not set"):
        load_mnist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"must begin as IDX of unsigned bytes, got b''"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 0]), "must begin as IDX of unsigned bytes"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], "must have 18 bytes, got 17"),
        (idx(np.zeros((2, 3), np.uint8)) + b"0", "must have 18 bytes, got 19"),
        (bytes([0, 0, 8, 255]), "must have"),
        # every byte of a size counts
        *(
            (bytes([0, 0, 8, 1, *np.eye(4, dtype=int)[at], 0]), f"must have {8 + size} bytes, got 9")
            for at, size in enumerate((2**24, 2**16, 2**8))
        ),
        (idx(np.zeros(3, np.uint8))[:6], "must have"),
        (bytes([0, 0, 8, 2]) + b"\xff" * 8, "must have"),
    ],
)
def test_malformed_idx_files_are_refused(content, message, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_idx(path)


def test_an_array_of_any_rank_is_read(tmp_path, rng):
    path = tmp_path / "file"
    for shape in ((), (0,), (7,), (2, 3), (2, 0, 3), (1, 300, 2, 2)):
        array = rng.integers(0, 256, shape).astype(np.uint8)
        path.write_bytes(idx(array))
        assert_array_equal(read_idx(path), array)
        assert read_idx(str(path)).shape == shape
    assert not read_idx(path).flags.writeable


def test_paths_are_any_path_objects(tmp_path):
    for load in (*LOADERS.values(), lambda folder: read_idx(folder)):
        with pytest.raises(TypeError, match=r"^\w+: (folder|path) must be a path, got 3$"):
            load(3)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_idx(tmp_path / "absent")


@pytest.mark.parametrize("source", LOADERS)
def test_the_real_files_have_their_sizes_and_ranges(source):
    name = getattr(datasets, source).name
    if not os.path.isdir(os.path.join(os.environ.get("TRIMTAB_DATA", ""), name)):
        pytest.skip("TRIMTAB_DATA does not name a folder with the data")
    loaded = LOADERS[source]()
    assert [array.shape for array in loaded] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert (loaded.x_train.min(), loaded.x_train.max()) == (0, 1)
    assert_array_equal(np.unique(loaded.y_test), np.arange(10))
