"""Batches from a folder of `.npy` files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from trimtab import _checks
from trimtab._inputs import path_text
from trimtab._typing import Array
from trimtab.distributed.part import part_edges
from trimtab.distributed.ranks import Alone, ranks_of


class NpyBatches:
    """An iterable of batches from a folder of ``.npy`` files, of which each rank reads its part.

    The files ``x*.npy`` have samples along axis 0, and ``y*.npy`` their targets, as many in each pair, in the
    order of the names. They are cut into batches as if they were one array: batches may span files. Files are
    memory maps, so that the rows of one batch are in memory at a time, and of it those of this rank.

    Parameters
    ----------
    folder : path_like
    batch_size : int
        Number of samples of a batch on all ranks together. The last batch may be smaller; if it has a single
        sample, or fewer than there are ranks, it joins the one before it.
    comm : mpi4py.MPI.Intracomm, optional
        That of the trainer.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, the folder has no such files, their numbers of
        samples differ, or a sample or target has another shape or dtype than the first one.
    OSError
        If a file cannot be read.

    Notes
    -----
    The order is that of the files in every epoch: write the samples in a random order.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from trimtab import distributed
    >>> folder = tempfile.mkdtemp()
    >>> for number in range(2):
    ...     np.save(f"{folder}/x{number}.npy", np.ones((5, 3), np.float32))
    ...     np.save(f"{folder}/y{number}.npy", np.arange(5))
    >>> [len(x) for x, y in distributed.NpyBatches(folder, batch_size=4)]
    [4, 4, 2]
    """

    def __init__(self, folder: str | os.PathLike[str], batch_size: int, comm: Any = None) -> None:
        place = Path(path_text("NpyBatches: folder", folder))
        batch_size = _checks.whole("NpyBatches: batch_size", batch_size, 1)
        self._ranks = Alone() if comm is None else ranks_of("NpyBatches: comm", comm)
        if batch_size < self._ranks.size:
            raise ValueError(
                f"NpyBatches: batch_size must be at least the number of ranks, {self._ranks.size}, "
                f"got {batch_size}"
            )
        self._samples, self._targets = (_Joined(place, pattern) for pattern in ("x*.npy", "y*.npy"))
        if self._samples.lengths != self._targets.lengths:
            raise ValueError(
                f"NpyBatches: folder must have as many targets as samples in each pair of files, "
                f"got {self._samples.lengths} and {self._targets.lengths}"
            )
        samples = sum(self._samples.lengths)
        self._edges = [*range(0, samples, batch_size), samples]
        smallest = max(self._ranks.size, min(batch_size, 2))
        if len(self._edges) > 2 and samples - self._edges[-2] < smallest:
            del self._edges[-2]

    def __len__(self) -> int:
        return len(self._edges) - 1

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for begin, end in pairwise(self._edges):
            first, last = part_edges(end - begin, self._ranks.rank, self._ranks.size)
            rows = begin + first, begin + last
            yield self._samples.read(*rows), self._targets.read(*rows)


class _Joined:
    """The arrays of several files as one, read where it is needed."""

    def __init__(self, folder: Path, pattern: str) -> None:
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise ValueError(f"NpyBatches: folder must have files {pattern}, got {os.fspath(folder)!r}")
        self._arrays: list[Array] = [np.load(path, mmap_mode="r") for path in paths]
        first = self._arrays[0]
        for path, array in zip(paths, self._arrays, strict=True):
            if array.ndim == 0 or (array.dtype, array.shape[1:]) != (first.dtype, first.shape[1:]):
                raise ValueError(
                    f"NpyBatches: folder must have files {pattern} of {first.dtype} of shape "
                    f"(N, ...{first.shape[1:]}), got {array.dtype} of shape {array.shape} in {path.name}"
                )
        self.lengths = [len(array) for array in self._arrays]
        self._starts = np.cumsum([0, *self.lengths[:-1]])

    def read(self, begin: int, end: int) -> Array:
        """Return a copy of some rows."""
        parts = [
            array[max(begin - start, 0) : max(end - start, 0)]
            for start, array in zip(self._starts, self._arrays, strict=True)
            if start < end and begin < start + len(array)
        ]
        return np.concatenate(parts)
