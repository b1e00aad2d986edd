"""Data sets of real images: digits and clothes."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trimtab import extras
from trimtab._inputs import path_text
from trimtab._typing import Array

__all__ = ["Dataset", "load_digits", "load_fashion_mnist", "load_mnist", "read_idx"]

FOLDER_VARIABLE = "TRIMTAB_DATA"
UNSIGNED_BYTES = 8  # the type code of IDX
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


class IdxSource(NamedTuple):
    """A data set in four IDX files: train and then test, images before labels."""

    name: str  # of the folder
    address: str  # where to download the files
    digests: dict[str, str]  # file name: SHA-256 of the uncompressed file


MNIST = IdxSource(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    {
        f"train-{IMAGES}": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        f"train-{LABELS}": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        f"t10k-{IMAGES}": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        f"t10k-{LABELS}": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)
FASHION_MNIST = IdxSource(
    "fashion-mnist",
    "https://github.com/zalandoresearch/fashion-mnist",
    {
        f"train-{IMAGES}": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        f"train-{LABELS}": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        f"t10k-{IMAGES}": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        f"t10k-{LABELS}": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)


class Dataset(NamedTuple):
    """Samples and labels for training, and others for testing."""

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
        Every fifth image of each class is for testing: 1,437 images for training and 360 for testing, always
        the same ones.

    Raises
    ------
    MissingExtra
        If scikit-learn is not installed.

    Examples
    --------
    >>> from trimtab import datasets
    >>> digits = datasets.load_digits()
    >>> digits.x_train.shape, digits.x_test.shape, digits.y_test.dtype
    ((1437, 64), (360, 64), dtype('int64'))
    """
    digits = extras.load("sklearn.datasets").load_digits()
    pixels = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    test = np.zeros(len(labels), bool)
    test[np.argsort(labels, kind="stable")[::5]] = True
    return Dataset(pixels[~test], labels[~test], pixels[test], labels[test])


def load_mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load the handwritten digits of MNIST (LeCun, Bottou, Bengio and Haffner 1998).

    Parameters
    ----------
    folder : path_like, optional
        The folder of the four original files, ``train-images-idx3-ubyte`` and so on, uncompressed or gzipped
        (``.gz``). By default the folder ``mnist`` in the folder named by the environment variable
        TRIMTAB_DATA.

    Returns
    -------
    Dataset
        ``x_*`` float32 (N, 28, 28): pixels scaled from 0..255 to 0..1, the background is 0; ``y_*`` int64
        (N,) from 0 to 9. 60,000 images for training and 10,000 for testing. ``x[:, None]`` has the shape
        (N, 1, 28, 28) for convolutions, ``x.reshape(len(x), -1)`` the shape (N, 784).

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing; the message says where to download it.
    ValueError
        If a file is truncated or altered, according to its SHA-256; the message names the file.

    Examples
    --------
    >>> from trimtab import datasets
    >>> mnist = datasets.load_mnist("data/mnist")  # doctest: +SKIP
    >>> mnist.x_train.shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    return _load_idx("load_mnist", folder, MNIST)


def load_fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load the images of clothes of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017).

    The classes 0 to 9 are T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot.
    Files, arrays and errors are as for `load_mnist`.

    Parameters
    ----------
    folder : path_like, optional
        By default the folder ``fashion-mnist`` in the folder named by the environment variable TRIMTAB_DATA.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> from trimtab import datasets
    >>> clothes = datasets.load_fashion_mnist("data/fashion-mnist")  # doctest: +SKIP
    """
    return _load_idx("load_fashion_mnist", folder, FASHION_MNIST)


def read_idx(path: str | os.PathLike[str], digest: str | None = None) -> Array:
    """Read an array of bytes in the IDX format: 0, 0, type, rank, shape as big-endian uint32, elements.

    Parameters
    ----------
    path : path_like
        A name that ends in ``.gz`` is a gzipped file.
    digest : str, optional
        SHA-256 of the uncompressed file, in hexadecimal.

    Returns
    -------
    numpy.ndarray
        uint8, read-only.

    Raises
    ------
    ValueError
        If the file is damaged or has another digest; the message names it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from trimtab import datasets
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
    >>> path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    11
    >>> datasets.read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path_text("read_idx: path", path))
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"read_idx: {path} must be a whole gzip file, got {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if digest is not None and found != digest:
        raise ValueError(
            f"read_idx: {path} must have the SHA-256 {digest}, got {found} of {len(content)} bytes"
        )
    magic, rank = content[:3], content[3] if len(content) > 3 else 0
    if magic != bytes([0, 0, UNSIGNED_BYTES]):
        raise ValueError(f"read_idx: {path} must begin as IDX of unsigned bytes, got {content[:4]!r}")
    start = 4 + 4 * rank
    shape = tuple(int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4))
    if len(content) != start + prod(shape):
        raise ValueError(f"read_idx: {path} must have {start + prod(shape)} bytes, got {len(content)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _load_idx(function: str, folder: str | os.PathLike[str] | None, source: IdxSource) -> Dataset:
    """Load the files of a source from a folder, by default the one below TRIMTAB_DATA."""
    root = os.environ.get(FOLDER_VARIABLE)
    if folder is None and not root:
        raise ValueError(f"{function}: folder must be given where {FOLDER_VARIABLE} is not set, got None")
    given = None if folder is None else path_text(f"{function}: folder", folder)
    path = Path(root or "", source.name) if given is None else Path(given)
    if not path.is_dir():
        raise FileNotFoundError(
            f"{function}: folder must be there, got {str(path)!r}; the files are at {source.address}"
        )
    forms = {name: [path / name, path / f"{name}.gz"] for name in source.digests}
    found = {name: [form for form in forms[name] if form.is_file()] for name in forms}
    missing = [name for name in found if not found[name]]
    if missing:
        raise FileNotFoundError(
            f"{function}: folder must have {', '.join(missing)}, as they are or gzipped, got {str(path)!r} "
            f"without; the files are at {source.address}"
        )
    x_train, y_train, x_test, y_test = (
        read_idx(found[name][0], digest) for name, digest in source.digests.items()
    )
    return Dataset(_scaled(x_train), y_train.astype(np.int64), _scaled(x_test), y_test.astype(np.int64))


def _scaled(pixels: Array) -> Array:
    return pixels / np.float32(255)
