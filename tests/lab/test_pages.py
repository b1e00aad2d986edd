"""The pages about the lab quote what it computes."""

import importlib.util
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from trimtab.lab.companions import COMPANIONS
from trimtab.lab.registry import ALL, find, names
from trimtab.lab.store import plain

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
CORRECTIONS = (ROOT / "docs" / "corrections.md").read_text()
ROWS = re.findall(r"^\| (.*[^-]) \| (.+) \|$", CORRECTIONS.replace(r"\|", "‖"), re.MULTILINE)
QUOTED = [(text.replace("‖", "|"), shown) for text, shown in ROWS if text != "statement"]


RESULTS = sorted((ROOT / "docs" / "lab").glob("*.json"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture(scope="module")
def claims():
    """All claims of the companions, by their text."""
    found = [one.claims(one.measure()["measured"]) for one in COMPANIONS.values()]
    return {claim.claim: claim for several in found for claim in several}


@pytest.mark.parametrize(("text", "shown"), QUOTED)
def test_the_corrections_quote_statements_with_their_numbers(text, shown, claims):
    """A number, or what is wanted of one that is only rounding."""
    claim = claims[text]
    if re.match("[<>]", shown):
        assert shown == claim.wanted.text
    else:
        assert claim.measured == pytest.approx(float(shown), rel=0.01)


def test_the_corrections_name_companions_that_exist():
    named = set(re.findall(r"`(\w+)`", CORRECTIONS)) & set(COMPANIONS)
    assert {
        name for name in COMPANIONS if any(text in dict(QUOTED) for text, _ in COMPANIONS[name].statements)
    } == named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_run_experiments_that_exist(page):
    called = re.findall(r"trimtab lab (?:run|show) ([a-z]\w*)", page.read_text())
    assert set(called) <= {*names(), ALL}


def test_the_readme_counts_the_statements():
    [count] = re.findall(r"exact +# (\d+) statements", (ROOT / "README.md").read_text())
    assert int(count) == sum(len(one.statements) for one in COMPANIONS.values())


# ---- the results ----


def test_the_page_of_results_is_written_from_them():
    """Run `python docs/write_lab.py` after a change of results, claims or notes."""
    spec = importlib.util.spec_from_file_location("write_lab", ROOT / "docs" / "write_lab.py")
    write_lab = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_lab)
    assert write_lab.PAGE.read_text() == write_lab.page()
    assert write_lab.SETTINGS.read_text() == write_lab.settings()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_published_results_are_of_the_full_setting(path):
    experiment, result = find(path.stem), json.loads(path.read_text())
    assert result["setting"] == plain(asdict(experiment.setting))
    assert len(result["seeds"]) >= experiment.seeds
    assert all(claim["holds"] for claim in result["claims"] if claim["exact"])
    assert path.with_suffix(".png").stat().st_size < 100_000
