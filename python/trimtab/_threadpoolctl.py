"""Lets threadpoolctl see and limit our threads, if somebody imports it.

We do not import it ourselves: that takes longer than our own import. A finder on ``sys.meta_path`` waits for
its import and registers our controller right after it.
"""

import contextlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from trimtab import _core
from trimtab._config import __version__


def register_with_threadpoolctl() -> None:
    """Register our controller, now or when threadpoolctl is imported."""
    if "threadpoolctl" in sys.modules:
        _register(sys.modules["threadpoolctl"])
    else:
        sys.meta_path.insert(0, _ImportWatcher)


class _ImportWatcher:
    """A finder that finds nothing itself; it registers our controller once threadpoolctl is imported."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "threadpoolctl":
            return None
        with contextlib.suppress(ValueError):  # another thread that imports it has removed the watcher
            sys.meta_path.remove(_ImportWatcher)
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


class _NoLimit(int):
    """The number of threads while no limit is set. Setting it as the limit removes the limit."""


def _register(threadpoolctl: Any) -> None:
    if not hasattr(threadpoolctl, "register"):  # before version 3.2
        return

    class TrimtabController(threadpoolctl.LibController):  # type: ignore[misc]
        """One of the OpenMP libraries: a limit on these is meant for all loops that run in threads."""

        user_api = "openmp"
        internal_api = "trimtab"
        filename_prefixes = ("_core",)
        check_symbols = ("trimtab_get_thread_limit", "trimtab_set_thread_limit")

        def get_num_threads(self) -> int:
            return self.dynlib.trimtab_get_thread_limit() or _NoLimit(_core.get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            limited = num_threads is not None and not isinstance(num_threads, _NoLimit)
            self.dynlib.trimtab_set_thread_limit(num_threads if limited else 0)

        def get_version(self) -> str:
            return __version__

    threadpoolctl.register(TrimtabController)
