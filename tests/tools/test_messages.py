"""Names in messages: the text given to a check names a function or class, and a parameter."""

import ast
import re
from pathlib import Path

import pytest
import trimtab

PACKAGE = Path(trimtab.__file__).parent
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
NODES = [(path, node) for path, tree in TREES.items() for node in ast.walk(tree)]
# Commands are modules
OWNERS = {node.name for _, node in NODES if isinstance(node, ast.FunctionDef | ast.ClassDef)} | {
    "bench",
    "demo",
}
PARAMETERS = {node.arg for _, node in NODES if isinstance(node, ast.arg)} | {"state"}
TEXTS = {
    f"{path}:{node.lineno}-{node.col_offset}": node.args[0].value
    for path, node in NODES
    if isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[0], ast.Constant)
    if re.match(r"\w+: \w+$", str(node.args[0].value))
}


@pytest.mark.parametrize("place", TEXTS)
def test_a_check_names_its_function_and_argument(place):
    owner, name = TEXTS[place].split(": ")
    assert owner in OWNERS
    assert name in PARAMETERS


def test_most_checks_are_found():
    assert len(TEXTS) > 50
