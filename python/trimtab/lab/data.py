"""The data sets of the experiments, in a folder of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trimtab.datasets import (
    FASHION_MNIST,
    FOLDER_VARIABLE,
    MNIST,
    Dataset,
    IdxSource,
    load_fashion_mnist,
    load_mnist,
)

SOURCES: dict[str, tuple[IdxSource, Callable[[Path], Dataset]]] = {
    source.name: (source, load) for source, load in ((MNIST, load_mnist), (FASHION_MNIST, load_fashion_mnist))
}


def default_folder() -> Path:
    """Return the folder of the environment variable TRIMTAB_DATA, or "data"."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "data")


@dataclass(frozen=True)
class Data:
    """The data sets in the folders ``mnist`` and ``fashion-mnist`` of a folder, loaded when first asked for.

    ``x_*`` are float32 (N, 784) from 0 to 1, ``y_*`` int64 (N,) from 0 to 9: 60,000 samples to train on and
    10,000 to test.
    """

    folder: Path

    @property
    def mnist(self) -> Dataset:
        """Handwritten digits."""
        return _load("mnist", self.folder)

    @property
    def fashion_mnist(self) -> Dataset:
        """Clothes."""
        return _load("fashion-mnist", self.folder)

    def require(self, names: Iterable[str]) -> None:
        """Load data sets.

        Raises
        ------
        ValueError
            If files are missing or damaged; the message says what to put where.
        """
        missing = []
        for name in dict.fromkeys(names):
            try:
                _load(name, self.folder)
            except FileNotFoundError:
                missing.append(name)
        if missing:
            raise ValueError(
                "lab: data must be a folder with these files, as they are or gzipped, "
                f"got {str(self.folder)!r} without\n" + "\n".join(map(_wanted, missing))
            )


@cache
def _load(name: str, folder: Path) -> Dataset:
    x_train, y_train, x_test, y_test = SOURCES[name][1](folder / name)
    return Dataset(x_train.reshape(len(x_train), -1), y_train, x_test.reshape(len(x_test), -1), y_test)


def _wanted(name: str) -> str:
    """Say which files a data set has, with the SHA-256 of each, and where they are."""
    source = SOURCES[name][0]
    files = [f"  {name}/{file}  SHA-256 {digest}" for file, digest in source.digests.items()]
    return "\n".join([*files, f"  from {source.address}"])
