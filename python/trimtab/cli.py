"""The command line: ``trimtab info``, ``trimtab demo``, ``trimtab bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import trimtab
from trimtab.extras import MissingExtra

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def positive(text: str) -> int:
    """Parse an int of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each names the function that runs it."""
    root = argparse.ArgumentParser(
        prog="trimtab", description="Normalization, dropout and weight-decay kernels for NumPy arrays."
    )
    root.add_argument("--version", action="version", version=f"trimtab {trimtab.__version__}")
    commands = root.add_subparsers(title="commands", required=True, metavar="{info,demo,bench}")

    info = commands.add_parser("info", help="show the instruction set, threads, caches and build")
    info.set_defaults(run=run_info)

    demo = commands.add_parser("demo", help="train on real digits with and without normalization")
    demo.add_argument(
        "--out", type=Path, default=Path("trimtab-demo.png"), help="plot to write (%(default)s)"
    )
    demo.add_argument("--epochs", type=positive, default=15, help="epochs of each run (%(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="seed of the first run (%(default)s)")
    demo.set_defaults(run=run_demo)

    bench = commands.add_parser(
        "bench", help="time the kernels beside NumPy and every other library that is installed"
    )
    bench.add_argument("--quick", action="store_true", help="small shapes, few rounds, nothing compiled")
    bench.add_argument(
        "--ops", nargs="+", metavar="OP", help="only operations whose name contains one of these"
    )
    bench.add_argument("--threads", type=positive, help="threads for every library")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the measurements")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="draw the measurements")
    bench.set_defaults(run=run_bench)
    return root


def caches() -> list[tuple[str, str]]:
    """Return the level and size of each data cache of the first CPU, where the system tells."""
    found = []
    for cache in sorted(CACHES.glob("index*")):
        level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append((f"L{level} cache", size))
    return found


def run_info(options: argparse.Namespace) -> None:
    """Show what this build is and what it found on this machine."""
    width = max(map(len, trimtab.show_config()))
    for name, size in caches():
        print(f"{name:<{width}}  {size}")


def run_demo(options: argparse.Namespace) -> None:
    """Train and plot."""
    from trimtab import demo

    demo.run(options.out, options.epochs, options.seed)


def run_bench(options: argparse.Namespace) -> None:
    """Measure and report."""
    from trimtab import bench

    bench.run(options.ops, options.quick, options.threads, options.json, options.plot)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (MissingExtra, OSError, ValueError) as error:
        print(f"trimtab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
