"""Calling the callbacks of a fit: the one place that does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trimtab._typing import Array
from trimtab.callbacks.base import Callback

if TYPE_CHECKING:
    from trimtab.trainer import Trainer


class CallbackList:
    """The callbacks of one fit, in order.

    While a hook is called, ``trainer.position`` says which callbacks have not yet seen it.
    """

    def __init__(self, callbacks: Sequence[Callback], trainer: Trainer) -> None:
        self._labeled, self._trainer = labeled(callbacks), trainer

    def check_fit(self, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Ask every callback whether it can do its work."""
        if len({id(callback) for _, callback in self._labeled}) < len(self._labeled):
            raise ValueError(f"fit: callbacks must be different objects, got {[*dict(self._labeled)]}")
        for _, callback in self._labeled:
            callback.check_fit(self._trainer, metric_names, epochs, batches)

    @contextmanager
    def running(self, epochs: int, batches: int) -> Iterator[None]:
        """Begin, and end every callback that began, however the body ends."""
        begun: list[Callback] = []
        failure: BaseException | None = None
        try:
            for _, callback in self._labeled:
                callback.on_fit_begin(self._trainer, epochs, batches)
                begun.append(callback)
            yield
        except BaseException as error:
            failure = error
        for callback in begun:
            try:
                callback.on_fit_end(self._trainer)
            except BaseException as error:
                if failure is None:
                    failure = error
                else:
                    failure.add_note(f"{callback.identity}: on_fit_end: {type(error).__name__}: {error}")
        if failure is not None:
            raise failure

    def resume(self, states: Mapping[str, Mapping[str, Array]]) -> None:
        """Give the states of a checkpoint to the callbacks that they came from."""
        for label, callback in self._labeled:
            if label in states:
                try:
                    callback.on_resume(self._trainer, states[label])
                except KeyError as error:
                    raise ValueError(
                        f"fit: resume must have the whole state of {label}, got no {error}"
                    ) from error

    def __call__(self, hook: str, *arguments: Any, waiting: Sequence[str] | None = None) -> None:
        """Call a hook of every callback, or of those that are still waiting for it."""
        position = self._trainer.position
        called = [pair for pair in self._labeled if waiting is None or pair[0] in waiting]
        for number, (_, callback) in enumerate(called, start=1):
            position.pending = hook, arguments, [label for label, _ in called[number:]]
            getattr(callback, hook)(self._trainer, *arguments)
        position.pending = None


def labeled(callbacks: Sequence[Callback]) -> list[tuple[str, Callback]]:
    """Pair callbacks with labels: their identities, numbered where several have the same."""
    seen: Counter[str] = Counter()
    pairs = []
    for callback in callbacks:
        identity = callback.identity
        seen[identity] += 1
        pairs.append((f"{identity} #{seen[identity]}" if seen[identity] > 1 else identity, callback))
    return pairs
