"""Output to a terminal: status lines and tables, as far as the terminal can show them."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO


def can_style(stream: TextIO) -> bool:
    """Whether the stream is a terminal with ANSI styles, and NO_COLOR is not set."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def in_notebook() -> bool:
    """Whether the code runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def can_encode(text: str, stream: TextIO) -> bool:
    """Whether the encoding of the stream has all characters of the text."""
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def print_status(text: str, stays: bool = False) -> None:
    """Print a line on stderr. On a terminal it replaces the last one, unless that one stays."""
    replaces = can_style(sys.stderr)
    start, end = "\r\033[K" if replaces else "", "" if replaces and not stays else "\n"
    if replaces or text:
        print(start + text, end=end, file=sys.stderr, flush=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a header, a rule and rows; the first column is aligned to the left, the others to the right."""
    stream = sys.stdout
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "  ".join(aligned).rstrip()

    title = line(header)
    rule = "─" if can_encode("─", stream) else "-"
    print(f"\033[1m{title}\033[0m" if can_style(stream) else title)
    print(rule * (sum(widths) + 2 * (len(widths) - 1)))
    for row in rows:
        print(line(row))
