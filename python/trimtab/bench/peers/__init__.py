"""The same operations in every library that is installed, a file for each library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from trimtab.bench.peers.library import Library
from trimtab.bench.peers.numpy import NumPy
from trimtab.bench.peers.trimtab import Trimtab


def installed(quick: bool) -> list[Library]:
    """Return all installed libraries, ours first; in a quick run, none that compiles."""
    libraries: list[Library] = [Trimtab(), NumPy()]
    if find_spec("torch"):
        from trimtab.bench.peers.torch import Torch

        libraries += [Torch()] if quick else [Torch(), Torch(compiled=True)]
    if find_spec("jax") and not quick:
        from trimtab.bench.peers.jax import Jax

        libraries.append(Jax())
    if find_spec("numba") and not quick:
        from trimtab.bench.peers.numba import Numba

        libraries.append(Numba())
    return libraries


@contextmanager
def use_threads(libraries: Sequence[Library], threads: int) -> Iterator[None]:
    """Set the same number of threads for all libraries within the context."""
    before = [library.get_num_threads() for library in libraries]
    try:
        for library in libraries:
            library.set_num_threads(threads)
        yield
    finally:
        for library, number in zip(libraries, before, strict=True):
            library.set_num_threads(number)
