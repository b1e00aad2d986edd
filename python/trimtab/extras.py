"""Imports optional dependencies where they are used; if one is missing, the error says how to install it."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from trimtab._inputs import require_writable


class MissingExtra(ImportError):
    """An optional dependency is not installed; the message says how to install it."""


def load(module: str, extra: str = "demo") -> ModuleType:
    """Import an optional module.

    Raises
    ------
    MissingExtra
        If it is not installed; `extra` names the set of dependencies that includes it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f'{module.partition(".")[0]} is not installed: pip install "trimtab[{extra}]"'
        ) from error


def require_figure(name: str, path: Path, extra: str = "demo") -> None:
    """Raise an error unless matplotlib can write a plot at a path.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    ValueError
        If a file cannot be written there, or not in the format of the suffix; the message begins with `name`.
    """
    require_writable(name, path)
    formats = load("matplotlib.figure", extra).Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"{name} must end in one of {', '.join(sorted(formats))}, got {str(path)!r}")
