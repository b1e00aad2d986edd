"""Draw docs/architecture.svg: the layers of the library, with an arrow for what includes or imports what.

    python docs/draw_architecture.py

The boxes are the table ROOMS below. The arrows come from the `#include` lines and `import` statements of the
source files; an arrow that others imply is left out.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
PUBLIC_NAMES = ROOT / "python" / "trimtab" / "__init__.py"


class Room(NamedTuple):
    """A box of the picture: files that belong together."""

    name: str
    text: str
    row: int  # 0 is at the top; a file may use files of its own room and of lower rows
    columns: tuple[int, int]  # first and last of the 4 columns that the box fills
    files: str  # patterns, relative to `folder`; a file belongs to the first room that matches
    folder: str = "cpp"
    compiled: str = ""  # "once" or "each": such files do not include files of the other kind


PYTHON = "python/trimtab"
ROOMS = (
    Room(
        "cli.py, demo.py, bench/, lab/",
        "the commands trimtab info, demo, bench, lab",
        row=0,
        columns=(1, 3),
        files="cli.py __main__.py demo.py bench/* lab/*",
        folder=PYTHON,
    ),
    Room("estimators/", "nets for scikit-learn", 0, (0, 0), "estimators/*", PYTHON),
    Room("callbacks/", "early stopping, checkpoints, logs", 2, (1, 3), "callbacks/*", PYTHON),
    Room(
        "training/history.py",
        "what a training did",
        row=3,
        columns=(1, 1),
        files="training/checkpoint_file.py training/evaluation.py training/history.py"
        " training/modes.py training/position.py",
        folder=PYTHON,
    ),
    Room(
        "trainer.py, training/",
        "fit, evaluate, predict; the loop; saving and resuming",
        row=1,
        columns=(1, 3),
        files="trainer.py training/*",
        folder=PYTHON,
    ),
    Room("optim/", "optimizers, schedules, conventions of others", 3, (2, 3), "optim/*", PYTHON),
    Room("nn/", "layers, models", 4, (1, 3), "nn/*", PYTHON),
    Room("__init__.py", "the public names", 6, (0, 0), "__init__.py _config.py _threadpoolctl.py", PYTHON),
    Room("_checks.py, _inputs.py", "checks of arguments", 6, (1, 3), "_*.py extras.py terminal.py", PYTHON),
    Room("distributed/", "ranks, shards", 5, (0, 0), "distributed/*", PYTHON),
    Room("losses.py, augment/, datasets.py", "functions that need no model", 5, (1, 3), "*", PYTHON),
    Room("module.cpp", "registers every function", 7, (0, 1), "module.cpp", compiled="once"),
    Room("bind/", "signature, docstring, checks, output", 8, (0, 1), "bind/*", compiled="once"),
    Room("dispatch.cpp", "picks the tables for this CPU", 10, (0, 1), "dispatch.*", compiled="once"),
    Room("simd.h, simd/", "vectors and their instructions", 10, (2, 3), "simd.h simd/*", compiled="each"),
    Room(
        "kernels.h",
        "the seam: structs, tables of functions, glossary",
        row=11,
        columns=(0, 3),
        files="kernels.h dtype.h kernels/pooled.h",
    ),
    Room("kernels/", "the mathematics, forward and backward", 8, (2, 3), "kernels/*", compiled="each"),
    Room(
        "parallel.h, memory.h, system_limits.h",
        "threads, recycled memory, limits of the process",
        row=12,
        columns=(0, 3),
        files="parallel.* threading.* engine.* job.* team.* region.* openmp.* memory.* "
        "system_limits.* environment.* clock.*",
    ),
    Room("array.h, function.h, gil.h", "reads arguments, raises errors", 9, (0, 1), "*", compiled="once"),
)


# ---- what uses what ----


def source_files() -> list[Path]:
    found = [path for suffix in ("*.h", "*.cpp") for path in (ROOT / "cpp").rglob(suffix)]
    return sorted([*found, *(ROOT / "python" / "trimtab").rglob("*.py")])


def included(path: Path) -> Iterator[Path]:
    """Yield the files of ours that a C++ file includes."""
    for name in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE):
        if name != "levels.h":  # written by CMake
            yield (path.parent / name).resolve()


def module_path(name: str) -> Path | None:
    """Return the file of a module of ours, or of the module that a name belongs to."""
    while name.startswith("trimtab"):
        if name == "trimtab._core":
            return ROOT / "cpp" / "module.cpp"
        path = ROOT / "python" / name.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return file
        name = name.rpartition(".")[0]
    return None


def imported(path: Path) -> Iterator[Path]:
    """Yield the files of ours that a Python file imports."""
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        # The public names that are loaded when they are first used.
        if path == PUBLIC_NAMES and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        nodes.extend(ast.iter_child_nodes(node))
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from filter(None, map(module_path, names))


def uses() -> Iterator[tuple[Path, Path]]:
    for path in source_files():
        for used in imported(path) if path.suffix == ".py" else included(path):
            yield path, used


def room_of(path: Path) -> Room:
    name = path.relative_to(ROOT).as_posix()
    return next(
        room for room in ROOMS if any(fnmatch(name, f"{room.folder}/{file}") for file in room.files.split())
    )


def allowed(room: Room, used: Room) -> bool:
    if room.compiled and used.compiled and room.compiled != used.compiled:
        return False
    return room is used or room.row < used.row


def violations() -> list[str]:
    """List each include and import that goes up or sideways, or across the seam."""
    return [
        f"{path.relative_to(ROOT)} uses {used.relative_to(ROOT)}"
        for path, used in uses()
        if not allowed(room_of(path), room_of(used))
    ]


def arrows() -> list[tuple[Room, Room]]:
    """List which room uses which, as far as it is allowed, without what other arrows imply."""
    edges = {(room_of(path), room_of(used)) for path, used in uses()}
    edges = {(room, used) for room, used in edges if room is not used and allowed(room, used)}

    def reaches(room: Room, used: Room) -> bool:
        return any(next_ is used or reaches(next_, used) for start, next_ in edges if start is room)

    return sorted(
        (room, used)
        for room, used in edges
        if not any(start is room and middle is not used and reaches(middle, used) for start, middle in edges)
    )


# ---- the picture ----

WIDTH, LEFT, TOP = 880, 60, 46
COLUMN, GAP, HEIGHT, STEP = 175, 20, 52, 82
BAND = 14  # between Python and C++

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.name { font: 600 14px ui-monospace, monospace; }
.note { font-size: 12px; fill: #59636e; }
rect { fill: #f6f8fa; stroke: #8b949e; rx: 6px; }
.python rect { fill: #ddf4ff; stroke: #54aeff; }
.each rect { fill: #fff1e5; stroke: #e16f24; }
.both rect { fill: #dafbe1; stroke: #2da44e; }
path { fill: none; stroke: #59636e; stroke-width: 1.4px; }
.table { stroke-dasharray: 5 4; }
marker path { fill: #59636e; stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9ea7b3; }
  rect { fill: #21262d; stroke: #6e7681; }
  .python rect { fill: #0c2d4a; stroke: #388bfd; }
  .each rect { fill: #3d1f0d; stroke: #db6d28; }
  .both rect { fill: #0f2d1a; stroke: #2ea043; }
  path { stroke: #9ea7b3; }
  marker path { fill: #9ea7b3; }
}
"""


class Box(NamedTuple):
    """Where a room is drawn."""

    left: float
    top: float
    right: float
    bottom: float


def box(room: Room) -> Box:
    first, last = room.columns
    left = LEFT + first * (COLUMN + GAP)
    top = TOP + room.row * STEP + (BAND if room.folder == "cpp" else 0)
    return Box(left, top, left + (last - first) * (COLUMN + GAP) + COLUMN, top + HEIGHT)


def free_column(room: Room, used: Room) -> float | None:
    """Return where a straight arrow meets no other box: the x of the middle of a shared column."""
    between = [other for other in ROOMS if room.row < other.row < used.row]
    shared = [
        column
        for column in range(4)
        if all(other.columns[0] <= column <= other.columns[1] for other in (room, used))
        and not any(other.columns[0] <= column <= other.columns[1] for other in between)
    ]
    return LEFT + sum(shared) / len(shared) * (COLUMN + GAP) + COLUMN / 2 if shared else None


def draw_arrows() -> Iterator[str]:
    beside = {"left": 0, "right": 0}  # arrows that pass along an edge of the picture
    for room, used in arrows():
        start, end = box(room), box(used)
        x = free_column(room, used)
        if x is not None:
            yield f'<path d="M{x:g} {start.bottom:g}V{end.top - 2:g}" marker-end="url(#head)"/>'
            continue
        side = "right" if room.columns[0] >= 2 else "left"
        away = 14 + 12 * beside[side]
        beside[side] += 1
        edge, to = (start.right, end.right + 2) if side == "right" else (start.left, end.left - 2)
        x = max(start.right, end.right) + away if side == "right" else min(start.left, end.left) - away
        y, end_y = (start.top + start.bottom) / 2, (end.top + end.bottom) / 2
        yield f'<path d="M{edge:g} {y:g}H{x:g}V{end_y:g}H{to:g}" marker-end="url(#head)"/>'


def draw_table() -> Iterator[str]:
    """Draw how a call crosses the seam: no include leads there."""
    rooms = {room.name: room for room in ROOMS}
    start, end = box(rooms["dispatch.cpp"]), box(rooms["kernels/"])
    x = (start.right + end.left) / 2
    y, end_y = (start.top + start.bottom) / 2, (end.top + end.bottom) / 2
    line = f"M{start.right:g} {y:g}H{x:g}V{end_y:g}H{end.left - 2:g}"
    yield f'<path class="table" d="{line}" marker-end="url(#head)"/>'
    yield f'<text class="note" x="{x + 8:g}" y="{end.bottom + 22:g}">calls through the table</text>'


def draw_room(room: Room) -> str:
    kind = "python" if room.folder == PYTHON else room.compiled or "both"
    place = box(room)
    x, width = (place.left + place.right) / 2, place.right - place.left
    return (
        f'<g class="{kind}" text-anchor="middle">'
        f'<rect x="{place.left:g}" y="{place.top:g}" width="{width:g}" height="{HEIGHT}"/>'
        f'<text class="name" x="{x:g}" y="{place.top + 22:g}">{escape(room.name)}</text>'
        f'<text class="note" x="{x:g}" y="{place.top + 40:g}">{escape(room.text)}</text></g>'
    )


def draw_headings() -> Iterator[str]:
    right = LEFT + 2 * (COLUMN + GAP)
    module = min(box(room).top for room in ROOMS if room.folder == "cpp")
    yield f'<text x="{LEFT}" y="{TOP - 14}">Python: python/trimtab/</text>'
    yield f'<text x="{right}" y="{module + 22:g}">C++: cpp/, on the left compiled once,</text>'
    yield f'<text x="{right}" y="{module + 42:g}">below compiled for each instruction set</text>'


HEAD = """<defs>
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0L8 4L0 8z"/>
</marker>
</defs>"""


def picture() -> str:
    """Return the whole SVG file."""
    height = max(box(room).bottom for room in ROOMS) + 20
    parts = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">',
        "<title>The layers of trimtab: what includes or imports what</title>",
        f"<style>{STYLE}</style>",
        HEAD,
        *draw_headings(),
        *draw_arrows(),
        *draw_table(),
        *map(draw_room, ROOMS),
        "</svg>\n",
    )
    return "\n".join(parts)


if __name__ == "__main__":
    PICTURE.write_text(picture())
    for line in violations():
        print(f"against the layers: {line}")
