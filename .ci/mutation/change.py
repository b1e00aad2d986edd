"""One change to one file."""

import difflib
from pathlib import Path
from typing import NamedTuple


class Change(NamedTuple):
    path: Path  # relative to the root of the repository
    line: int
    scope: range  # lines of the innermost enclosing function; empty outside of functions
    start: int  # bytes from the beginning of the file
    end: int
    text: str  # that replaces them

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line}:{self.start}-{self.end}:{self.text}"

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]

    def diff(self, root: Path) -> str:
        source = (root / self.path).read_bytes()
        texts = [text.decode().splitlines() for text in (source, self.apply(source))]
        lines = [*difflib.unified_diff(*texts, n=0, lineterm="")][2:]
        return "\n".join(line for line in lines if not line.startswith("@@"))
