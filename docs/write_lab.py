"""Write docs/lab/README.md: what the experiments have found, from the results beside it; and settings.md.

    trimtab lab run all --data data --out docs/lab
    python docs/write_lab.py

What NAME.json says is in the table of the experiment NAME. The text of NAME.md, if there is one, follows:
what the numbers mean beside those that were published, and why a claim does not hold. settings.md has what
`trimtab lab show` prints, of all experiments.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trimtab.lab.registry import find, names
from trimtab.lab.report import HOLDS, duration

FOLDER = Path(__file__).resolve().parent / "lab"
PAGE = FOLDER / "README.md"
SETTINGS = FOLDER / "settings.md"

INTRODUCTION = """# What the experiments have found

Each experiment trains or computes, draws a figure and compares numbers with claims. `trimtab lab show NAME`
has its source and setting, [settings.md](settings.md) those of all; the code is a page each in
`python/trimtab/lab/experiments/`. A claim that fails is published as such. Exact claims are those that
mathematics leaves no choice about. `sd` is the standard deviation over the seeds. Times are those of all
runs, one after the other, and how long the same steps would have taken in PyTorch on that machine.

```sh
trimtab lab run all --data data --out docs/lab && python docs/write_lab.py
```
"""


def number(value: float | None) -> str:
    """Format with four digits; nothing for what was not measured or not finite."""
    return "" if value is None else f"{value:.4g}"


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def results() -> dict[str, dict[str, Any]]:
    """Return what each experiment has found, by name."""
    paths = {name: FOLDER / f"{name}.json" for name in names()}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def overview(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield a table of all experiments."""
    yield row("experiment", "claim", "claims that hold", "time", "in PyTorch")
    yield row("---", "---", "---", "---", "---")
    for name, result in found.items():
        holds = [claim["holds"] for claim in result["claims"] if claim["holds"] is not None]
        in_torch = result["seconds in PyTorch"]
        times = duration(result["seconds"]), "" if in_torch is None else duration(in_torch)
        yield row(f"[{name}](#{name})", find(name).claim, f"{sum(holds)} of {len(holds)}", *times)


def section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about an experiment."""
    experiment = find(name)
    setting = ", ".join(f"{key} {value}" for key, value in result["setting"].items())
    seeds = len(result["seeds"])
    yield from (f"## {name}", "", f"**{experiment.claim}** ({experiment.source})", "")
    yield from (f"A pass: {experiment.passes}", "")
    if seeds > 1:
        yield from (f"Setting: {setting}; {seeds} seeds. {experiment.notes}".rstrip(), "")
    yield from (f"![{experiment.claim}]({name}.png)", "")
    yield row("claim", "measured", "sd", "wanted", "holds")
    yield row("---", "---", "---", "---", "---")
    for claim in result["claims"]:
        wanted = claim["wanted"] + (", exact" if claim["exact"] else "")
        numbers = number(claim["measured"]), number(claim["spread over seeds"])
        yield row(claim["claim"], *numbers, wanted, HOLDS[claim["holds"]])
    yield ""
    text = FOLDER / f"{name}.md"
    if text.exists():
        yield from (text.read_text().strip(), "")


def page() -> str:
    """Return the whole page."""
    found = results()
    sections = [line for name, result in found.items() for line in section(name, result)]
    return "\n".join([INTRODUCTION, *overview(found), "", *sections])


def settings() -> str:
    """Return the page of what each experiment is, and of its settings in full and with --quick."""
    lines = ["# The settings of the experiments", ""]
    for experiment in map(find, names()):
        full, quick = asdict(experiment.setting), asdict(experiment.quick)
        lines += [
            f"## {experiment.name}",
            "",
            f"{experiment.claim} ({experiment.source}). {experiment.minutes:g} min.",
            "",
        ]
        lines += [f"A pass: {experiment.passes}", "", *([experiment.notes, ""] if experiment.notes else [])]
        lines += [row("setting", "full", "--quick"), row("---", "---", "---")]
        lines += [row(name, str(value), str(quick[name])) for name, value in full.items()]
        lines += [row("seeds", str(experiment.seeds), str(experiment.quick_seeds)), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
    SETTINGS.write_text(settings())
