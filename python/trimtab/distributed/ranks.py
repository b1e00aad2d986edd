"""The processes that work together: the ranks of an MPI communicator, or one process alone."""

from __future__ import annotations

import os
import pickle
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from trimtab import extras
from trimtab._checks import shown
from trimtab._typing import Array
from trimtab.distributed.part import Rows

EXTRA = "mpi"
GRACE = 1.0  # seconds that a rank which fails waits for the others to fail, too
FORWARDING = 0.2  # seconds in which the launcher fetches what was printed, before it ends the processes
Value = TypeVar("Value")


def world() -> Any:
    """Return MPI's communicator of all processes, ``mpi4py.MPI.COMM_WORLD``.

    Returns
    -------
    mpi4py.MPI.Intracomm

    Raises
    ------
    MissingExtra
        If mpi4py is not installed, or finds no MPI; the message says what to install.

    Examples
    --------
    >>> from trimtab import distributed
    >>> comm = distributed.world()  # doctest: +SKIP
    """
    try:
        return extras.load("mpi4py.MPI", EXTRA).COMM_WORLD
    except extras.MissingExtra:
        raise
    except (ImportError, RuntimeError) as error:  # of mpi4py without an MPI
        reason = str(error).partition("\n")[0]
        raise extras.MissingExtra(
            f'mpi4py finds no MPI: pip install "trimtab[{EXTRA}]", or load that of your cluster ({reason})'
        ) from error


class Alone:
    """One process that needs no MPI, as the only rank."""

    rank, size = 0, 1
    updates = True
    rows: Rows | None = None

    @cached_property
    def cpus(self) -> int:
        """Number of CPUs for this process."""
        return len(os.sched_getaffinity(0))

    def gather(self, array: Array) -> Array:
        """Return the arrays of all ranks, stacked."""
        return array[None]

    def share(self, value: Value) -> list[Value]:
        """Return the values of all ranks, which may be any objects."""
        return [value]

    def same_seed(self) -> int | None:
        """Return a seed that is drawn once for all ranks; None where there is one."""
        return None

    def in_turn(self, values: Iterable[Value]) -> Iterable[Value]:
        """Return the values of all ranks: the first one of each, then the second one of each, and so on."""
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return flag

    def add(self, array: Array) -> None:
        """Replace a contiguous array by its sum over the ranks."""

    def exchange(self, sent: Array, lengths: list[int], received: Array, lengths_there: list[int]) -> None:
        """Send the slices of a vector to the ranks, and receive one from each, of these lengths."""
        received[...] = sent

    def join(self, own: Array, whole: Array, lengths: list[int]) -> None:
        """Write the vectors of all ranks, of these lengths, into one, end to end."""
        whole[...] = own

    def wait(self) -> None:
        """Return when all ranks have come here."""

    def together(self, function: Callable[[], Value]) -> Value:
        """Return what a function returns; if it raises an error on any rank, raise it on all."""
        return function()

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """Let an error on one rank end all."""
        yield


class Ranks(Alone):
    """The ranks of a communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._ending: Any = None

    @cached_property
    def cpus(self) -> int:
        """Number of CPUs for this process, shared with the ranks that may run on the same ones."""
        machine = self.comm.Split_type(extras.load("mpi4py.MPI", EXTRA).COMM_TYPE_SHARED)
        own = os.sched_getaffinity(0)
        sharing = sum(bool(own & of_rank) for of_rank in machine.allgather(own))
        machine.Free()
        return max(1, len(own) // sharing)

    def __deepcopy__(self, memo: Any) -> Ranks:
        return self

    def __reduce__(self) -> Any:
        return ranks_of, ("comm", self.comm)

    def __repr__(self) -> str:
        return f"rank {self.rank} of {self.size}"

    def gather(self, array: Array) -> Array:
        """Return the arrays of all ranks, stacked."""
        own = np.ascontiguousarray(array)
        whole: Array = np.empty((self.size, *own.shape), own.dtype)
        self.comm.Allgather(own, whole)
        return whole

    def share(self, value: Value) -> list[Value]:
        """Return the values of all ranks, which may be any objects."""
        values: list[Value] = self.comm.allgather(value)
        return values

    def same_seed(self) -> int:
        """Return a seed that is drawn once for all ranks."""
        return int(self.share(secrets.randbits(128))[0])

    def in_turn(self, values: Iterable[Value]) -> Iterable[Value]:
        """Return the values of all ranks: the first one of each, then the second one of each, and so on."""
        of_ranks = self.share([*values])
        turns = max(map(len, of_ranks))
        return [of_rank[turn] for turn in range(turns) for of_rank in of_ranks if turn < len(of_rank)]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return bool(self.gather(np.array(flag)).any())

    def add(self, array: Array) -> None:
        """Replace a contiguous array by its sum over the ranks."""
        self.comm.Allreduce(extras.load("mpi4py.MPI", EXTRA).IN_PLACE, array)

    def exchange(self, sent: Array, lengths: list[int], received: Array, lengths_there: list[int]) -> None:
        """Send the slices of a vector to the ranks, and receive one from each, of these lengths."""
        self.comm.Alltoallv([sent, lengths], [received, lengths_there])

    def join(self, own: Array, whole: Array, lengths: list[int]) -> None:
        """Write the vectors of all ranks, of these lengths, into one, end to end."""
        self.comm.Allgatherv(own, [whole, lengths])

    def wait(self) -> None:
        """Return when all ranks have come here."""
        self.comm.Barrier()

    def together(self, function: Callable[[], Value]) -> Value:
        """Return what a function returns; if it raises an error on any rank, raise it on all.

        The ranks raise the error of the first of them that has one.
        """
        failure: Exception | None = None
        try:
            value = function()
        except Exception as error:
            failure = error
        failures = self.share(_portable(failure))
        failed = [rank for rank, shared in enumerate(failures) if shared is not None]
        if not failed:
            return value
        first = failure if failure is not None and self.rank == failed[0] else failures[failed[0]]
        assert first is not None
        if len(failed) < self.size:
            first.add_note(f"raised on rank {failed[0]} of {self.size}")
        raise first

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """Let an error on one rank end all.

        If all ranks fail, as after a NaN, each raises its error. If some do, the others wait for them: the
        first one prints its error and ends all processes.
        """
        if self._ending is None and self.size > 1:
            self._ending = self.comm.Dup()  # messages of its own: the others may be in any operation
        try:
            yield
        except BaseException as error:
            if self.size > 1:
                self._end(error)
            raise

    def _end(self, error: BaseException) -> None:
        """Return if all ranks come here; else end all processes."""
        everyone = self._ending.Ibarrier()
        # If several fail but not all, the first one shows its error
        deadline = time.monotonic() + (GRACE if self.rank == 0 else 2 * GRACE)
        while not everyone.Test():
            if time.monotonic() > deadline:
                text = "".join(traceback.format_exception(error))
                print(f"trimtab: {self} ends all: {error!r}\n{text}", end="", file=sys.stderr, flush=True)
                time.sleep(FORWARDING)
                self.comm.Abort(1)
                os._exit(1)  # an MPI may return from it, and end the processes a little later
            time.sleep(0.001)
        if self.rank:
            _leave_to_first_rank(error)


def _leave_to_first_rank(error: BaseException) -> None:
    """Do not show an error that is not caught and that the first rank shows, too."""
    show = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, where: Any) -> None:
        if value is not error:
            show(kind, value, where)

    sys.excepthook = hook


def _portable(error: Exception | None) -> Exception | None:
    """Return an error that can be sent to another process, with the same text."""
    try:
        copy: Exception | None = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return copy


_known: dict[int, Ranks] = {}


def ranks_of(name: str, comm: Any) -> Ranks:
    """Return the ranks of a communicator; the name begins errors."""
    if isinstance(comm, Ranks):
        return comm
    if not all(hasattr(comm, method) for method in ("Allgather", "Allreduce", "Ibarrier", "Abort")):
        raise TypeError(f"{name} must be a communicator of mpi4py, such as MPI.COMM_WORLD, got {shown(comm)}")
    known = _known.get(comm.handle)
    if known is None or known.comm != comm:  # the handle of one that was freed may be used again
        known = _known[comm.handle] = Ranks(comm)
    return known
