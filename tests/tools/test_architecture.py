"""The layers of the library, and the pages that name its files."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
PAGES = [*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.fixture(scope="module")
def drawing():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_includes_and_imports_keep_to_the_layers(drawing):
    """None goes up or sideways, or from what is compiled once to what is compiled for an instruction set."""
    assert not drawing.violations()


def test_picture_is_drawn_from_the_code(drawing):
    """Run `python docs/draw_architecture.py` after a change of what includes or imports what."""
    assert drawing.PICTURE.read_text() == drawing.picture()


def test_glossary_is_that_of_the_kernels():
    listed = (ROOT / "cpp" / "kernels.h").read_text().partition("Glossary")[2].partition("drawings")[0]
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## Words")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^//   (\w+)  +(.+)$", listed, re.MULTILINE)) == dict(
        re.findall(r"^\| (\w+) \| (.+) \|$", page, re.MULTILINE)[1:]
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_files_that_exist(page):
    """`cpp/kernels.h` is a file of the repository; `cpp/kernels/<family>.cpp` stands for several."""
    named = re.findall(r"`((?:\.ci|bench|cpp|docs|examples|python|tests)/[\w./-]*)`", page.read_text())
    assert not [name for name in named if not (ROOT / name).exists()]
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert not [name for name in linked if not (page.parent / name).exists()]
