"""Leave out the tables of docstrings that say what is in which file: they are for readers of the code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Remove the table of a package whose first column is ``module``."""
    rules = [number for number, text in enumerate(lines) if re.fullmatch(r"=+  +=+", text)]
    if what == "module" and len(rules) == 3 and lines[rules[0] + 1].startswith("module "):
        del lines[rules[0] : rules[-1] + 1]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
