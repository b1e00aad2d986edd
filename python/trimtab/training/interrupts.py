"""Ctrl-C during a fit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupt_calls(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C call `stop` instead of raising KeyboardInterrupt; the next one raises it.

    Python delivers signals to the main thread only; in other threads nothing changes. A process that ignores
    interrupts, as under nohup, or handles them outside Python, keeps doing so.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return

    def handle(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, previous)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
