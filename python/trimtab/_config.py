"""What the library runs on."""

import contextlib
import platform
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from trimtab import _core


def show_config() -> dict[str, str | int]:
    """Print the instruction set, threads, memory cap and build in use, and return them.

    Returns
    -------
    config : dict
        "trimtab", "numpy", "python", "machine", "isa", "isa_levels", "compiler", "num_threads" and
        "memory_cap" (bytes).
    """
    from trimtab import __version__

    config: dict[str, str | int] = {
        "trimtab": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **_core.build_info(),
    }
    width = max(map(len, config))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in config.items()))
    return config


class _WhenImported:
    """Registers with threadpoolctl when somebody else imports it: its import takes longer than ours."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "threadpoolctl":
            return None
        _stop_waiting()
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _stop_waiting() -> None:
    with contextlib.suppress(ValueError):  # of a thread that was as quick
        sys.meta_path.remove(_WhenImported)


def _register(threadpoolctl: ModuleType) -> None:
    if hasattr(threadpoolctl, "register"):  # since version 3.2
        import trimtab._threadpoolctl  # noqa: F401


def follow_threadpoolctl() -> None:
    """Have threadpoolctl see and limit our threads, whenever it is imported."""
    if "threadpoolctl" in sys.modules:
        _register(sys.modules["threadpoolctl"])
    else:
        sys.meta_path.insert(0, _WhenImported)
