"""Draw docs/speed.svg and write the table of docs/benchmarks.md, both from docs/benchmarks.csv.

    python docs/draw_benchmarks.py

The rows of the file are measurements that `trimtab bench` has printed: our time, and how many times as long
the other libraries take.
"""

import csv
import re
from math import exp, log
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DATA, PAGE, PICTURE = FOLDER / "benchmarks.csv", FOLDER / "benchmarks.md", FOLDER / "speed.svg"
DRAWN = {"NumPy": "#0072b2", "PyTorch": "#d55e00"}
TABLE = re.compile(r"(<!-- table: [^>]* -->\n).*(<!-- end -->)", re.DOTALL)

Row = dict[str, str]


def rows() -> list[Row]:
    """Return the measurements."""
    with DATA.open(newline="") as file:
        return list(csv.DictReader(file))


def ratios(measured: list[Row], operation: str, library: str) -> list[float]:
    """Return how many times as long a library takes, for the shapes of an operation."""
    return [float(row[library]) for row in measured if row["operation"] == operation and row[library]]


def mean(values: list[float]) -> float:
    """Return the geometric mean."""
    return exp(sum(map(log, values)) / len(values))


def table(measured: list[Row]) -> str:
    """Return the table of the page, which names each operation once."""
    names = list(measured[0])
    lines = [names, ["---"] * 3 + ["---:"] * (len(names) - 3)]
    last = None
    for row in measured:
        operation, shape, time, *others = row.values()
        first = "" if operation == last else operation
        lines.append(
            [
                first,
                shape,
                time.replace(" ", "\N{NO-BREAK SPACE}"),
                *(f"{one}×" if one else "" for one in others),
            ]
        )
        last = operation
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(text: str, measured: list[Row]) -> str:
    """Return the page with its table."""
    return TABLE.sub(lambda match: f"{match[1]}\n{table(measured)}\n{match[2]}", text)


def draw(measured: list[Row]) -> None:
    """Draw one line for each operation: the mean and the range of two libraries."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "trimtab"})
    operations = list(dict.fromkeys(row["operation"] for row in measured))
    figure = Figure(figsize=(8, 0.27 * len(operations) + 1.1), layout="constrained")
    axes = figure.subplots()
    for number, operation in enumerate(operations):
        for (library, color), shift in zip(DRAWN.items(), (-0.16, 0.16), strict=True):
            if values := ratios(measured, operation, library):
                at = number + shift
                axes.plot([min(values), max(values)], [at, at], color=color, lw=2, alpha=0.45)
                axes.plot([mean(values)], [at], "o", color=color, ms=5, label=library if not number else None)
    axes.axvline(1, color="black", lw=1)
    axes.set_xscale("log")
    axes.set(yticks=range(len(operations)), yticklabels=operations, ylim=(len(operations) - 0.5, -0.5))
    ticks = [1, 2, 5, 10, 20, 50, 100]
    axes.set_xticks(ticks, [f"{tick}×" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("time of the other library over that of trimtab, float32, two threads")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none")
    figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    measured = rows()
    PAGE.write_text(page(PAGE.read_text(), measured))
    draw(measured)
