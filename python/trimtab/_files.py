"""Files that are replaced as a whole: a crash or an error leaves the old file."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trimtab._inputs import require_writable


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a new file, which takes the place of the one at `path` at the end of the body.

    After an error in the body the old file is unchanged. The file keeps its mode, or has that of any other
    new file; a symbolic link keeps pointing to it. A device or a pipe is yielded itself.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.unfinished")
    try:
        with open(unfinished, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
        yield unfinished
        os.chmod(unfinished, stat.S_IMODE(mode))  # a library may have written a file of its own
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())  # the contents must reach the disk before the new name
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def require_replaceable(name: str, path: str | os.PathLike[str]) -> None:
    """Raise a ValueError unless a file can be `replaced`, for which its folder must be writable, too."""
    require_writable(name, path)
    path = Path(os.path.realpath(path))
    if path.is_file() and not os.access(path.parent, os.W_OK):
        raise ValueError(f"{name} must be in a writable folder, got {os.fspath(path)!r}")
