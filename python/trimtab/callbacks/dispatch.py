"""Calls the hooks of all callbacks of a fit; nothing else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

from trimtab._typing import Array
from trimtab.callbacks.base import Callback
from trimtab.callbacks.protocol import TrainerLike
from trimtab.training.history import EPOCH

HOOKS = {  # and the names of their parameters
    name: tuple(signature(hook).parameters)[1:]
    for name, hook in vars(Callback).items()
    if name.startswith("on_")
}


class CallbackList:
    """The callbacks of one fit, in order.

    While a hook is being called, ``trainer.position.pending`` lists the callbacks that have not yet seen it:
    a checkpoint saved inside the hook resumes with these.
    """

    def __init__(self, callbacks: Sequence[Callback], trainer: TrainerLike) -> None:
        self._labeled, self._trainer = labeled(callbacks), trainer

    def measure(self, taken: Collection[str]) -> dict[str, float]:
        """Return the values of `Callback.measure` of all; raise a ValueError if a name is not their own.

        `taken` are the names of the metrics.
        """
        values: dict[str, float] = {}
        for label, callback in self._labeled:
            for name, value in callback.measure(self._trainer).items():
                if name in taken or name in values or name == EPOCH:
                    raise ValueError(f"fit: {label} must measure what has a name of its own, got {name!r}")
                values[name] = float(value)
        return values

    def check_fit(self, metric_names: Sequence[str], epochs: int, batches: int) -> None:
        """Call `Callback.check_fit` of each; raise a ValueError if an object is listed twice."""
        if len({id(callback) for _, callback in self._labeled}) < len(self._labeled):
            raise ValueError(f"fit: callbacks must be different objects, got {[*dict(self._labeled)]}")
        for _, callback in self._labeled:
            _require_hooks(callback)
        for _, callback in self._labeled:
            callback.check_fit(self._trainer, metric_names, epochs, batches)

    @contextmanager
    def running(self, epochs: int, batches: int) -> Iterator[None]:
        """Call `on_fit_begin` of each, and after the body `on_fit_end` of those that have begun.

        The first error is raised; later ones are notes to it.
        """
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
        """Call `on_resume` of the callbacks whose labels have a state in the checkpoint."""
        for label, callback in self._labeled:
            if label in states:
                try:
                    callback.on_resume(self._trainer, states[label])
                except KeyError as error:
                    raise ValueError(
                        f"fit: resume must have the whole state of {label}, got no {error}"
                    ) from error

    def notify(self, hook: str, *arguments: Any, only: Sequence[str] | None = None) -> None:
        """Call a hook of each, or of the callbacks with the labels in `only`."""
        position = self._trainer.position
        called = [pair for pair in self._labeled if only is None or pair[0] in only]
        for number, (_, callback) in enumerate(called, start=1):
            position.pending = hook, arguments, [label for label, _ in called[number:]]
            getattr(callback, hook)(self._trainer, *arguments)
        position.pending = None


def _require_hooks(callback: Callback) -> None:
    """Raise a TypeError unless the hooks of a callback take what they are called with, the trainer first."""
    for hook, wanted in HOOKS.items():
        try:
            parameters = signature(getattr(callback, hook))
        except (TypeError, ValueError):  # of a compiled function
            continue
        names = [*parameters.parameters]
        try:
            parameters.bind(*wanted)
        except TypeError:
            names = names[:0]
        if not names or names[0] in wanted[1:]:
            raise TypeError(
                f"fit: {type(callback).__name__}.{hook} must take {', '.join(wanted)}, got {parameters}"
            )


@contextmanager
def validating(callbacks: Sequence[Callback], trainer: TrainerLike) -> Iterator[None]:
    """Enter `Callback.validating` of each."""
    with ExitStack() as stack:
        for callback in callbacks:
            stack.enter_context(callback.validating(trainer))
        yield


def labeled(callbacks: Sequence[Callback]) -> list[tuple[str, Callback]]:
    """Pair each callback with a label: its identity, numbered from the second with the same identity on."""
    seen: Counter[str] = Counter()
    pairs = []
    for callback in callbacks:
        identity = callback.identity
        seen[identity] += 1
        pairs.append((f"{identity} #{seen[identity]}" if seen[identity] > 1 else identity, callback))
    return pairs
