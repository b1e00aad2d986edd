"""The imports inside the package: none form a circle, and public modules are imported when they are used."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest
import trimtab
from helpers.interpreter import interpret

PACKAGE = Path(trimtab.__file__).parent


def name_of(path):
    parts = ["trimtab", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")} | {"trimtab._core": PACKAGE / "_core.pyi"}


def is_for_types(node):
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def imported(node, *, types):
    """Yield the modules of the package that a syntax tree imports, in functions, too."""
    if is_for_types(node) and not types:
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            member = f"{node.module}.{alias.name}"
            yield member if member in MODULES else node.module
    for child in ast.iter_child_nodes(node):
        yield from imported(child, types=types)


def test_no_imports_form_a_circle():
    """Imports for types count, too, except in `nn`: the helpers of `Module` take modules."""
    graph = {
        name: {*imported(ast.parse(path.read_text()), types=not name.startswith("trimtab.nn."))} & {*MODULES}
        for name, path in MODULES.items()
    }
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules
    assert order.index("trimtab._core") < order.index("trimtab.nn.module") < order.index("trimtab.trainer")


@pytest.mark.parametrize(
    "name", [name for name in trimtab.__all__ if isinstance(getattr(trimtab, name), ModuleType)]
)
def test_a_public_module_is_an_attribute_after_the_import_alone(name):
    assert interpret(f"import trimtab; print(trimtab.{name}.__name__)").stdout == f"trimtab.{name}\n"
