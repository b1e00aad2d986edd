"""Output to a terminal: status lines and tables, as far as the terminal can show them."""

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from math import inf
from shutil import get_terminal_size
from textwrap import wrap
from typing import TextIO

GAP = "  "  # between the columns of a table
NARROWEST = 12  # columns of text, where a terminal is too narrow for a table


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


def available_columns(stream: TextIO) -> float:
    """Return the width of the terminal; a file or pipe takes lines of any length."""
    return get_terminal_size().columns if stream.isatty() else inf


def fitting(widths: Sequence[int], available: float) -> list[int]:
    """Return widths of columns that fit, by making the widest narrower, down to `NARROWEST`."""
    fitted = [*widths]
    while sum(fitted) + len(GAP) * (len(fitted) - 1) > available and max(fitted) > NARROWEST:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print a header, a rule and rows; the first `left` columns are aligned left, the others right.

    On a terminal that is narrower than the table, the widest cells take several lines.
    """
    stream = sys.stdout
    natural = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths = fitting(natural, available_columns(stream))

    def lines(cells: Sequence[str]) -> Iterator[str]:
        wrapped = [wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            aligned = [
                part.ljust(width) if number < left else part.rjust(width)
                for number, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            yield GAP.join(aligned).rstrip()

    title = "\n".join(lines(header))
    rule = "─" if can_encode("─", stream) else "-"
    print(f"\033[1m{title}\033[0m" if can_style(stream) else title)
    print(rule * (sum(widths) + len(GAP) * (len(widths) - 1)))
    for row in rows:
        print("\n".join(lines(row)))
