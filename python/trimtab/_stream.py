"""Batches that the caller's iterable yields, one at a time, or those of the arrays given instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from numpy.typing import ArrayLike

from trimtab import _checks
from trimtab._batches import Batch, Data, Samples, read_data, read_samples, read_some_samples
from trimtab._typing import Array

Item = TypeVar("Item")


class Stream(Generic[Item]):
    """An iterable of batches, read once for each pass.

    The first batch is read at once, for checks; the first pass begins with it.

    Parameters
    ----------
    function : str
        Errors begin with its name.
    given : iterable
    of : str
        The end of the names of the arguments in errors.
    passes : int
        How often it will be read.
    purpose : str
        What the passes are for, in errors.

    Attributes
    ----------
    first : batch
        The first batch.
    place : str
        The argument, and the number of the batch that was read last.
    length : int
        Number of batches in a pass as the iterable says it, 0 if it does not. It is only shown: a pass ends
        when the iterable does.
    """

    rule: str  # what it must yield

    def __init__(
        self, function: str, given: Iterable[Any], of: str = "", passes: int = 1, purpose: str = "epochs"
    ) -> None:
        self._function, self._given, self._of = function, given, of
        self._name = f"{function}: x{of}"
        self.place = self._name  # the batch read last
        iterator = self._iterator()
        if passes > 1 and iterator is given:
            raise ValueError(
                f"{self._name} must be iterable once for each of {passes} {purpose}, "
                f"got a {type(given).__name__}, which is used up after one"
            )
        head = list(islice(iterator, 1))
        if not head:
            used_up = f" from a {type(given).__name__}, which may be used up" if iterator is given else ""
            raise ValueError(f"{self._name} must yield at least one batch, got none{used_up}")
        self.first = self._read(0, head[0])
        self._ahead: Iterator[Any] | None = chain(head, iterator)
        self.length = _length(given)

    def batches(self, batch_size: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Item]:
        """Return the batches of a pass, whatever the batch size: each rank has an iterable of its own."""
        stream, self._ahead = self._ahead or self._iterator(), None
        number = -1
        for number, given in enumerate(stream):
            yield self._read(number, given)
        if number < 0:
            raise ValueError(f"{self._name} must yield batches in every pass, got none in a later one")

    def _unpacked(self, given: Any) -> tuple[Any, ...] | None:
        """Return the arguments of `_read_unpacked`, None if the iterable must not yield this."""
        raise NotImplementedError

    def _read_unpacked(self, of: str, *arguments: Any) -> Item:
        """Return a batch; `of` ends the names of the arguments in errors."""
        raise NotImplementedError

    def _read(self, number: int, given: Any) -> Item:
        self.place = f"{self._name}, batch {number}"
        arguments = self._unpacked(given)
        if arguments is None:
            raise TypeError(f"{self._name} must yield {self.rule}, got {described(given)} as batch {number}")
        return self._read_unpacked(f" of batch {number}{self._of}", *arguments)

    def _iterator(self) -> Iterator[Any]:
        try:
            return iter(self._given)
        except (TypeError, NotImplementedError) as error:  # the latter by a memory view of several axes
            raise TypeError(
                f"{self._name} must be an iterable of batches, got {_checks.shown(self._given)}"
            ) from error


@contextmanager
def located_errors(source: Data | Samples | Stream[Any]) -> Iterator[None]:
    """Note at an error of the model or the loss which batch of a stream it is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(source, Stream):
            error.add_note(source.place)
        raise


class PairStream(Stream[Batch]):
    """An iterable of samples with targets, and weights if there are any."""

    rule = "(x, y) or (x, y, sample_weight)"

    def _unpacked(self, given: Any) -> tuple[Any, ...] | None:
        return tuple(given) if isinstance(given, tuple | list) and len(given) in (2, 3) else None

    def _read_unpacked(self, of: str, *arguments: Any) -> Batch:
        return read_data(self._function, *arguments, of=of).take(slice(None))


class SampleStream(Stream[Array]):
    """An iterable of samples, of whose targets and weights nothing is read."""

    rule = "arrays x, or tuples that begin with x"

    def _unpacked(self, given: Any) -> tuple[Any, ...] | None:
        if is_array_like(given):
            return (given,)
        is_tuple = isinstance(given, tuple) and len(given) > 0
        return (given[0],) if is_tuple or _axes_of_first(given) > 0 else None

    def _read_unpacked(self, of: str, *arguments: Any) -> Array:
        return read_some_samples(f"{self._function}: x{of}", *arguments)


def read_pairs(
    function: str, x: Any, y: ArrayLike | None, weight: ArrayLike | None, *, passes: int = 1
) -> Data | PairStream:
    """Return samples with targets and weights: without y, x is an iterable of batches."""
    if y is not None:
        return read_data(function, x, y, weight)
    if is_array_like(x):
        raise TypeError(f"{function}: y must be given with an array, got None and x, a {type(x).__name__}")
    if weight is not None:
        raise ValueError(
            f"{function}: sample_weight must be None with an iterable of batches, which yields the weights "
            f"itself, got {_checks.shown(weight)}"
        )
    return PairStream(function, x, passes=passes)


def read_unpaired(
    function: str, x: Any, *, passes: int = 1, purpose: str = "epochs"
) -> Samples | SampleStream:
    """Return samples of an array_like, or of an iterable of batches.

    A list is one of batches if its items are pairs that begin with an array: ``[(x, y), ...]``. Every other
    sequence, such as a list of arrays, is what NumPy makes of it.
    """
    if isinstance(x, list | tuple):
        # In a list of lists, arrays of one axis may be rows, as those of two channels of a sample
        is_stream = len(x) > 0 and _axes_of_first(x[0]) > (0 if isinstance(x[0], tuple) else 1)
    else:
        is_iterable = hasattr(x, "__iter__") or hasattr(x, "__getitem__")
        is_stream = is_iterable and not isinstance(x, Sequence | type) and not is_array_like(x)
    if is_stream:
        return SampleStream(function, x, passes=passes, purpose=purpose)
    return Samples(read_samples(f"{function}: x", x))


def is_array_like(given: Any) -> bool:
    """Whether an object is data rather than an iterable of batches."""
    return hasattr(given, "__array__") or hasattr(given, "__dlpack__")


def is_list_of_pairs(given: Any) -> bool:
    """Whether it is a list of tuples that begin with an array."""
    if not isinstance(given, list):
        return False
    return bool(given) and all(isinstance(item, tuple) and _axes_of_first(item) > 0 for item in given)


def _axes_of_first(given: Any) -> int:
    """Return the number of axes of the array that a tuple or list begins with, 0 if it does not."""
    if not isinstance(given, tuple | list) or not given or not is_array_like(given[0]):
        return 0
    return len(getattr(given[0], "shape", ()))


def described(given: Any) -> str:
    """Return what an error says of something that is no batch."""
    kind = type(given).__name__
    return f"a {kind} of {len(given)}" if isinstance(given, tuple | list) else f"a {kind}"


def _length(given: Any) -> int:
    """Return the length, 0 where there is none."""
    try:
        return len(given)
    except Exception:  # the length is only shown: whatever it raises, the batches can be read
        return 0
