"""The site: what its reference lists, and how it shows the formulas of docstrings."""

import importlib
import importlib.util
import inspect
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import trimtab as tt
from trimtab import metrics, optim

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
REFERENCE = ROOT / "docs" / "api"
INDEX = REFERENCE / "index.rst"
ITEM, DESCRIPTION = r"   (\w+)$", r"\.\. auto(?:function|class|data):: (\S+)"

sys.path.insert(0, str(ROOT / "docs" / "extensions"))
import formulas  # noqa: E402
import module_tables  # noqa: E402


def listed(page, pattern):
    """Return the full names that a page lists after it has named their module."""
    found, module = set(), None
    for line in page.read_text().splitlines():
        if named := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = named[1]
        elif module and (match := re.match(pattern, line)):
            found.add(f"{module}.{match[1]}")
    return found


DESCRIBED = {name for page in REFERENCE.glob("*.rst") for name in listed(page, DESCRIPTION)}


def public_names(module):
    """Return the full names of what a module offers; `losses.accuracy` is described as `metrics.accuracy`."""
    elsewhere = set() if module is metrics else {id(getattr(metrics, name)) for name in metrics.__all__}
    members = {name: getattr(module, name) for name in module.__all__}
    return {
        f"{module.__name__}.{name}"
        for name, member in members.items()
        if not isinstance(member, ModuleType) and id(member) not in elsewhere
    }


@pytest.mark.parametrize(
    "name", ["trimtab", *(f"trimtab.{name}" for name in tt._submodules if name != "early_stopping")]
)
def test_the_reference_describes_every_public_name_and_no_other(name):
    if name == "trimtab.estimators":
        pytest.importorskip("sklearn")
    module = importlib.import_module(name)
    described = {full for full in DESCRIBED if full.rpartition(".")[0] == name}
    assert described == public_names(module)


def test_the_reference_describes_the_conventions():
    functions = {
        f"trimtab.optim.conventions.{name}"
        for name, member in vars(optim.conventions).items()
        if inspect.isfunction(member) and member.__module__ == optim.conventions.__name__ and name[0] != "_"
    }
    assert {full for full in DESCRIBED if "conventions" in full} == functions


@pytest.mark.parametrize("full", sorted(DESCRIBED))
def test_every_function_of_the_reference_has_an_example(full):
    """They run in test_examples.py and test_docstrings.py."""
    module, _, name = full.rpartition(".")
    if module == "trimtab.estimators":
        pytest.importorskip("sklearn")
    member = getattr(importlib.import_module(module), name)
    if inspect.isroutine(member):
        assert ">>> " in member.__doc__


def test_the_index_of_the_reference_lists_what_it_describes():
    assert listed(INDEX, ITEM) == DESCRIBED


# ---- formulas ----

TYPESET = {
    "y = gamma * (x - mean) / sqrt(var + eps) + beta": [
        r"y &= \frac{\gamma \, \left(x - \mathrm{mean}\right)}{\sqrt{\mathrm{var} + \varepsilon}} + \beta \\"
    ],
    "dx = dy where y > 0, else 0": [
        r"\mathrm{d}x &= \begin{cases} \mathrm{d}y & \text{where } y > 0 \\ 0 & \text{else} \end{cases} \\"
    ],
    "a = -b1^2 * |w|;  c_i = sum of n_i over the samples": [
        r"a &= -b_{1}^{2} \, \left|w\right| \\",
        r"c_{i} &= \sum_{\text{samples}} n_{i} \\",
    ],
    "a - (b - c) - 2x": [r"& a - \left(b - c\right) - 2 \, x \\"],
    "a = max_norm * 2   where maximize": [r"a &= \mathrm{max\_norm} \cdot 2 \qquad \text{where maximize} \\"],
}


@pytest.mark.parametrize("text", TYPESET)
def test_formulas_are_typeset(text):
    first, *rows, last = formulas.typeset([f"    {text}"])
    assert rows == TYPESET[text]
    assert (first, last) == (r"\begin{aligned}", r"\end{aligned}")


def test_what_is_no_formula_is_shown_as_it_is_written():
    lines = [
        "With X::",
        "",
        "    W = V L^(-1/2) V'",
        "",
        "Bounds |w|.",
        "",
        "Parameters",
        "----------",
        "",
        "    a = b",
    ]
    formulas.process(None, "", "", None, None, lines)
    assert lines[:6] == ["With X:", "", ".. code-block:: none", "", "    W = V L^(-1/2) V'", ""]
    assert [text for text in lines[6:] if text] == [r"Bounds \|w\|.", "Parameters", "----------", "    a = b"]


def test_tables_of_files_are_left_out():
    lines = [
        "Layers.",
        "",
        "====  ====",
        "module  contents",
        "====  ====",
        "``a``  `A`",
        "====  ====",
        "",
        "More.",
    ]
    shown = [*lines]
    module_tables.process(None, "module", "", None, None, shown)
    assert [text for text in shown if text] == ["Layers.", "More."]
    other = [text.replace("module", "name") for text in lines]
    module_tables.process(None, "module", "", None, None, other)
    assert len(other) == len(lines)


def test_few_docstrings_have_formulas_that_are_not_typeset():
    plain = set()
    for name in tt.__all__:
        lines = (inspect.getdoc(getattr(tt, name)) or "").split("\n")
        found = formulas.blocks(lines)
        if not all(formulas.typeset(lines[start:stop]) for start, stop in found):
            plain.add(name)
    allowed = {"alpha_dropout_forward", "gelu", "gelu_backward", "whiten_backward", "whiten_forward"}
    assert plain <= allowed | {"early_stopping_theory", *tt._submodules}


# ---- pages ----


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_benchmarks_has_the_table_of_the_measurements():
    """Run `python docs/draw_benchmarks.py` after a change of docs/benchmarks.csv."""
    drawing = load(ROOT / "docs" / "draw_benchmarks.py")
    measured = drawing.rows()
    text = drawing.PAGE.read_text()
    assert drawing.page(text, measured) == text
    assert text.count("\n| ") >= len(measured) > 40
    for operation in {row["operation"] for row in measured}:
        assert f">{operation}<" in drawing.PICTURE.read_text()


def test_the_mean_of_ratios_is_geometric():
    drawing = load(ROOT / "docs" / "draw_benchmarks.py")
    measured = [
        {"operation": "a", "NumPy": "2.0"},
        {"operation": "a", "NumPy": "8.0"},
        {"operation": "a", "NumPy": ""},
        {"operation": "b", "NumPy": "3.0"},
    ]
    assert drawing.ratios(measured, "a", "NumPy") == [2.0, 8.0]
    assert drawing.mean([2.0, 8.0]) == pytest.approx(4)


def test_the_citation_has_the_version_of_the_package():
    [version] = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert version == tt.__version__


def test_pages_install_extras_that_exist():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    named = {name for page in pages for name in re.findall(r"pip install \"\.\[(\w+)\]\"", page.read_text())}
    assert {"demo", "docs"} <= named <= set(declared)


def test_every_page_is_in_the_navigation():
    """The build of the site says so, too, but it is not part of the tests."""
    pages = {
        str(page.relative_to(ROOT / "docs").with_suffix(""))
        for page in (ROOT / "docs").glob("**/*.md")
        if "_build" not in page.parts and (page.parent.name != "lab" or page.stem in ("README", "settings"))
    }
    navigation = (ROOT / "docs" / "index.md").read_text()
    listed = set(re.findall(r"^(?:.+ <)?([\w/-]+)>?$", navigation, re.MULTILINE))
    assert pages - {"index"} <= listed
