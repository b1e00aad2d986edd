"""Batches that the caller's iterable yields, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from trimtab import _checks
from trimtab.training.batches import Batch, Data, read_data


class Stream:
    """An iterable of batches ``(x, y)`` or ``(x, y, sample_weight)``, read once for each pass.

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

    Attributes
    ----------
    first : Data
        The first batch.
    length : int
        Number of batches in a pass as the iterable says it, 0 if it does not. It is only shown: a pass ends
        when the iterable does.
    """

    def __init__(self, function: str, given: Iterable[Any], of: str = "", passes: int = 1) -> None:
        self._function, self._given, self._of = function, given, of
        self._name = f"{function}: x{of}"
        iterator = self._iterator()
        if passes > 1 and iterator is given:
            raise ValueError(
                f"{self._name} must be iterable once for each of {passes} epochs, "
                f"got a {type(given).__name__}, which is used up after one"
            )
        head = list(islice(iterator, 1))
        if not head:
            raise ValueError(f"{self._name} must yield at least one batch, got none")
        self.first = self._read(0, head[0])
        self._ahead: Iterator[Any] | None = chain(head, iterator)
        self.length = _length(given)

    def batches(self, batch_size: int = 0) -> Iterator[Batch]:
        """Return the batches of a pass, whatever the batch size."""
        stream, self._ahead = self._ahead or self._iterator(), None
        number = -1
        for number, given in enumerate(stream):
            yield self._read(number, given).take(slice(None))
        if number < 0:
            raise ValueError(f"{self._name} must yield batches in every epoch, got none in a later one")

    def _iterator(self) -> Iterator[Any]:
        try:
            return iter(self._given)
        except (TypeError, NotImplementedError) as error:  # the latter by a memory view of several axes
            raise TypeError(
                f"{self._name} must be an iterable of batches, got {_checks.shown(self._given)}"
            ) from error

    def _read(self, number: int, given: Any) -> Data:
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            raise TypeError(
                f"{self._name} must yield (x, y) or (x, y, sample_weight), got {described(given)} "
                f"as batch {number}"
            )
        return read_data(self._function, *given, of=f" of batch {number}{self._of}")


def is_array_like(given: Any) -> bool:
    """Whether an object is data rather than an iterable of batches."""
    return hasattr(given, "__array__") or hasattr(given, "__dlpack__")


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
