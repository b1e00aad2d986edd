"""The threads of a process that shares CPUs with others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trimtab import extras
from trimtab.distributed.ranks import EXTRA, Alone


@contextmanager
def limited_threads(ranks: Alone, *, of_blas: int | None = None) -> Iterator[None]:
    """Let the kernels and BLAS use the CPUs of a rank, and no more threads than before.

    Parameters
    ----------
    ranks : Alone or Ranks
    of_blas : int, optional
        The number for BLAS alone: with another number of threads, matrix products have other bits.
    """
    pools = extras.load("threadpoolctl", EXTRA).ThreadpoolController()
    limits = {"blas": ranks.cpus, "openmp": ranks.cpus}  # the kernels count as OpenMP
    for pool in pools.info():
        kind = pool["user_api"]
        limits[kind] = min(limits.get(kind, ranks.cpus), pool["num_threads"])
    if of_blas is not None:
        limits["blas"] = of_blas
    with pools.limit(limits=limits):
        yield
