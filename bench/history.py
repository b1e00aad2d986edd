"""Draw how the times of the quick cases changed from release to release, one line for each operation.

    trimtab bench --quick --json bench/results/VERSION-MACHINE.json     adds a release
    python bench/history.py [--results FOLDER] [--out FILE]

Times are relative to the first release of the same machine; an operation is the geometric mean of its cases.
"""

import argparse
import json
from collections import defaultdict
from math import exp, log
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
Times = dict[str, dict[str, float]]  # operation, case: seconds


def read(path: Path) -> Times:
    """Return our medians by operation and case."""
    times: Times = defaultdict(dict)
    for result in json.loads(path.read_text())["results"]:
        case = json.dumps({name: value for name, value in result.items() if name != "seconds"})
        times[result["op"]][case] = result["seconds"]["trimtab"]["median"]
    return times


def relative(times: Times, first: Times) -> dict[str, float]:
    """Return the geometric mean for each operation of the times over those of the first release."""
    means = {}
    for op, cases in times.items():
        ratios = [seconds / first[op][case] for case, seconds in cases.items() if case in first.get(op, {})]
        if ratios:
            means[op] = exp(sum(map(log, ratios)) / len(ratios))
    return means


def history(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return machine, release, operation: relative time; releases in order."""
    releases: dict[str, dict[str, Times]] = defaultdict(dict)

    def order(path: Path) -> list[int]:
        return [int(part) for part in path.stem.partition("-")[0].split(".")]

    for path in sorted(folder.glob("*-*.json"), key=order):
        version, _, machine = path.stem.partition("-")
        releases[machine][version] = read(path)
    return {
        machine: {version: relative(times, next(iter(of.values()))) for version, times in of.items()}
        for machine, of in releases.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=Path("history.png"))
    options = parser.parse_args()
    machines = history(options.results)
    if not machines:
        parser.error(f"results must have files VERSION-MACHINE.json, got {str(options.results)!r}")

    from matplotlib.figure import Figure

    figure = Figure((9, 5 * len(machines)), layout="constrained")
    panels = figure.subplots(len(machines), squeeze=False)[:, 0]
    for axes, (machine, releases) in zip(panels, machines.items(), strict=True):
        for op in dict.fromkeys(op for means in releases.values() for op in means):
            of_op = {version: means[op] for version, means in releases.items() if op in means}
            axes.plot([*of_op], [*of_op.values()], marker="o", label=op)
        axes.set(title=machine, ylabel="time, relative to the first release")
        axes.legend(fontsize=6, ncols=2, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(options.out)


if __name__ == "__main__":
    main()
