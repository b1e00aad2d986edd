"""Optional dependencies: loaded where they are used, and asked for by name where they are absent."""

from importlib import import_module
from types import ModuleType


class MissingExtra(ImportError):
    """An optional dependency is not installed; the message says how to install it."""


def load(module: str, extra: str = "demo") -> ModuleType:
    """Import an optional module.

    Raises
    ------
    MissingExtra
        If it is not installed; `extra` is the set of dependencies that brings it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f'{module.partition(".")[0]} is not installed: pip install "trimtab[{extra}]"'
        ) from error
