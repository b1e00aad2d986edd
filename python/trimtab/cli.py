"""The command line: ``trimtab info``, ``trimtab demo``, ``trimtab bench``, ``trimtab lab``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import trimtab
from trimtab._checks import whole
from trimtab.extras import MissingExtra

Work: TypeAlias = Callable[[], None]

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def at_least(low: int) -> Callable[[str], int]:
    """Return a parser of ints of at least `low`."""

    def parse(text: str) -> int:
        try:
            return whole("value", int(text), low)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"must be an int of at least {low}, got {text!r}") from error

    return parse


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets the function that prepares its work."""
    root = argparse.ArgumentParser(
        prog="trimtab",
        description="Normalization, dropout and weight-decay kernels for NumPy arrays.",
        **examples(
            "trimtab info                         what was found on this machine",
            "trimtab demo                         three nets on real digits, and a picture",
            "trimtab bench --quick --ops dropout  times beside NumPy and others",
            "trimtab lab run exact                48 statements whose numbers are known",
        ),
    )
    root.add_argument("--version", action="version", version=f"trimtab {trimtab.__version__}")
    commands = root.add_subparsers(title="commands", required=True, metavar="{info,demo,bench,lab}")

    info = commands.add_parser(
        "info",
        help="show the instruction set, threads, caches and build",
        **examples(
            "trimtab info",
            "trimtab info --tasks layer_norm 4096x768",
            "trimtab info --tasks batch_norm 32x64x56x56 --dtype float16 --threads 4",
        ),
    )
    info.add_argument(
        "--tasks",
        nargs=2,
        metavar=("OP", "SHAPE"),
        help="show how a call is cut into tasks: an operation of the benchmark and a shape such as 64x256",
    )
    info.add_argument("--axis", type=int, help="with --tasks: channel axis (1 of images, else -1)")
    info.add_argument("--dtype", default="float32", help="with --tasks: of the arrays (%(default)s)")
    info.add_argument("--threads", type=at_least(1), help="with --tasks: the largest number of threads")
    info.set_defaults(prepare=prepare_info)

    demo = commands.add_parser(
        "demo",
        help="train on real digits with and without normalization",
        **examples("trimtab demo", "trimtab demo --epochs 30 --seed 7 --out curves.svg"),
    )
    demo.add_argument(
        "--out", type=Path, default=Path("trimtab-demo.png"), help="plot to write (%(default)s)"
    )
    demo.add_argument("--epochs", type=at_least(1), default=15, help="epochs of each run (%(default)s)")
    demo.add_argument("--seed", type=at_least(0), default=0, help="seed of the first run (%(default)s)")
    demo.set_defaults(prepare=prepare_demo)

    bench = commands.add_parser(
        "bench",
        help="time the kernels beside NumPy and every other library that is installed",
        **examples(
            "trimtab bench --quick",
            "trimtab bench --ops layer_norm dropout --threads 1",
            "trimtab bench --json times.json --plot times.svg",
        ),
    )
    bench.add_argument("--quick", action="store_true", help="small shapes, few rounds, nothing compiled")
    bench.add_argument(
        "--ops", nargs="+", metavar="OP", help="only operations whose name contains one of these"
    )
    bench.add_argument("--threads", type=at_least(1), help="threads for every library")
    bench.add_argument(
        "--random",
        type=at_least(0),
        default=0,
        metavar="K",
        help="also K shapes at random for each operation",
    )
    bench.add_argument("--seed", type=at_least(0), default=0, help="seed of the random shapes (%(default)s)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the measurements")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="draw the measurements")
    bench.set_defaults(prepare=prepare_bench)
    lab = commands.add_parser(
        "lab",
        help="experiments that show what each technique does",
        **examples(
            "trimtab lab                                        the experiments and their claims",
            "trimtab lab show wd_is_lr                          source and setting of one",
            "trimtab lab run exact                              needs no data, takes seconds",
            "trimtab lab run wd_is_lr --data data --quick       a figure, a table, JSON",
        ),
    )
    add_lab(lab)
    return root


def examples(*lines: str) -> dict[str, Any]:
    """Return the arguments of a parser that shows examples below its options."""
    return {
        "epilog": "\n  ".join(["examples:", *lines]),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def add_lab(lab: argparse.ArgumentParser) -> None:
    """Add the commands of the lab to its parser; without one it lists the experiments."""
    lab.set_defaults(prepare=prepare_lab_list)
    commands = lab.add_subparsers(title="commands", metavar="{run,show}")

    run = commands.add_parser("run", help="run experiments, draw their figures, check their claims")
    run.add_argument("names", nargs="+", metavar="NAME", help="of experiments, or all")
    run.add_argument(
        "--data", type=Path, metavar="FOLDER", help="holds mnist/ and fashion-mnist/ ($TRIMTAB_DATA or data)"
    )
    run.add_argument("--quick", action="store_true", help="small settings that still show the effects")
    run.add_argument("--seeds", type=at_least(1), metavar="K", help="number of seeds")
    run.add_argument(
        "--out",
        type=Path,
        default=Path("trimtab-lab"),
        metavar="FOLDER",
        help="of the results and the finished runs, which are not done again (%(default)s)",
    )
    run.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="runs at once (%(default)s)")
    run.set_defaults(prepare=prepare_lab_run)

    show = commands.add_parser("show", help="show the claim, source and setting of an experiment")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(prepare=prepare_lab_show)


def caches() -> list[tuple[str, str]]:
    """Return the level and size of each data cache of the first CPU, if the system has this information."""
    found = []
    for cache in sorted(CACHES.glob("index*")):
        level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append((f"L{level} cache", size))
    return found


def show_info() -> None:
    """Show the configuration and the caches of the machine."""
    width = max(map(len, trimtab.show_config()))
    for name, size in caches():
        print(f"{name:<{width}}  {size}")


def prepare_info(options: argparse.Namespace) -> Work:
    """Return the function that shows the configuration, or how a call is cut into tasks."""
    if not options.tasks:
        for name, default in {"axis": None, "dtype": "float32", "threads": None}.items():
            if getattr(options, name) != default:
                raise ValueError(f"info: --{name} must go with --tasks, got {getattr(options, name)!r} alone")
        return show_info
    from trimtab.bench import tasks

    op, shape = options.tasks
    return tasks.prepare(op, shape, options.axis, options.dtype, options.threads)


def prepare_demo(options: argparse.Namespace) -> Work:
    """Check the options of the demo; return the function that trains and plots."""
    from trimtab import demo

    return demo.prepare(options.out, options.epochs, options.seed)


def prepare_bench(options: argparse.Namespace) -> Work:
    """Check the options of the benchmark; return the function that measures and reports."""
    from trimtab import bench

    files = options.json, options.plot
    return bench.prepare(
        options.ops, options.quick, options.threads, *files, random=options.random, seed=options.seed
    )


def prepare_lab_list(options: argparse.Namespace) -> Work:
    """Return the function that lists the experiments."""
    from trimtab.lab import command

    return command.show_list


def prepare_lab_show(options: argparse.Namespace) -> Work:
    """Return the function that shows an experiment."""
    from trimtab.lab import command

    return command.prepare_show(options.name)


def prepare_lab_run(options: argparse.Namespace) -> Work:
    """Check the options of the experiments; return the function that runs them."""
    from trimtab.lab import command

    return command.prepare_run(
        options.names, options.data, options.quick, options.seeds, options.out, options.jobs
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 if it fails, 2 if it cannot start, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    failed = 2
    try:
        work = options.prepare(options)
        failed = 1
        work()
    except (MissingExtra, OSError, ValueError) as error:
        print(f"trimtab: {error}", file=sys.stderr)
        return failed
    except KeyboardInterrupt:
        print("trimtab: interrupted", file=sys.stderr)
        return 130
    return 0
