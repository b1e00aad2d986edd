"""The two kinds of code that can be changed, and how a change is tested."""

import json
import os
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import cpp_changes
import python_changes
from change import Change
from workplace import NOT_FOUND, PACKAGE, PASSED, PYTEST, Workplace

FIRST_ROUND = 300  # tests
TRACE = Path(__file__).parent / "trace"


class Python:
    """The Python layer. A change of a line is tested by the tests that run the line."""

    changes = staticmethod(python_changes.changes)
    files = "**/*.py"
    folder = PACKAGE
    count = 130

    def __init__(self, files: list[Path], record: Path) -> None:
        if not record.exists():
            print("recording which test runs which line: takes 1.5 times as long as the tests", flush=True)
            record.write_text(json.dumps(_recorded(files), default=sorted))
        recorded = json.loads(record.read_text())
        self.seconds: dict[str, float] = recorded["seconds"]
        self.tests: dict[str, dict[str, list[str]]] = recorded["tests"]  # by file and line
        self.all = {test for lines in self.tests.values() for tests in lines.values() for test in tests}

    def prepare(self, place: Workplace) -> None:
        pass

    def caught(self, change: Change, place: Workplace) -> str:
        """Return the test that noticed, or an empty string."""
        lines = self.tests.get(str(change.path.relative_to(PACKAGE)), {})
        on_line = {*lines.get(str(change.line), ())}
        candidates = on_line.union(*(lines.get(str(line), ()) for line in change.scope[1:]))
        tests = sorted(
            candidates if change.scope else self.all,
            key=lambda test: (test not in on_line, self.seconds.get(test, 0)),
        )
        for chosen in tests[:FIRST_ROUND], tests[FIRST_ROUND:]:
            status, failed = place.test(chosen, 60 + 5 * sum(self.seconds.get(test, 0) for test in chosen))
            if status == NOT_FOUND:
                status, failed = place.test(sorted({test.partition("::")[0] for test in chosen}), 3600)
            if status != PASSED:
                return failed
        return ""


def _recorded(files: list[Path]) -> dict[str, object]:
    seconds: defaultdict[str, float] = defaultdict(float)
    tests: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as traces:
        place = Workplace(folder, files)
        status, output = place.run(
            [*PYTEST, "-p", "sitecustomize", "-n", "2", "-vv", "--durations=0", "--durations-min=0"],
            7200,
            PYTHONPATH=f"{TRACE}{os.pathsep}{place.root / PACKAGE.parent}",
            TRACED_PACKAGE=str(place.root / PACKAGE),
            TRACE_FOLDER=traces,
        )
        if status != PASSED:
            sys.exit(f"the tests fail before anything was changed:\n{output[-4000:]}")
        for time, test in re.findall(r"^([\d.]+)s (?:setup|call|teardown) +(.+?)\s*$", output, re.MULTILINE):
            seconds[test] += float(time)
        for trace in Path(traces).iterdir():
            for row in trace.read_text().splitlines():
                path, line, test = row.split("\t")
                if test:  # empty while modules are imported
                    tests[path][line].add(test)
    return {"seconds": seconds, "tests": tests}


class Kernels:
    """The C++ code, compiled for the best instruction set of this machine."""

    changes = staticmethod(cpp_changes.changes)
    files = "**/*.[ch]*"
    folder = Path("cpp")
    count = 40

    def __init__(self, files: list[Path], record: Path) -> None:
        self.test_files = sorted(str(path) for path in files if path.match("tests/*/test_*.py"))
        self.left_out: list[str] = []

    def prepare(self, place: Workplace) -> None:
        code = "import pybind11, trimtab; print(trimtab.isa(), pybind11.get_cmake_dir())"
        level, pybind11 = place.run([sys.executable, "-c", code], 60)[1].split()
        options = [f"-DTRIMTAB_LEVELS={level}", f"-Dpybind11_DIR={pybind11}"]
        place.run(["cmake", "-G", "Ninja", "-S", ".", "-B", "build", *options], 600)
        if not self._build(place):
            sys.exit("the code does not compile before anything was changed")
        _, output = place.run([*PYTEST, "-n", "2"], 3600)
        self.left_out = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
        if self.left_out:
            print(
                "left out, as they fail before anything was changed:", *self.left_out, sep="\n  ", flush=True
            )

    def caught(self, change: Change, place: Workplace) -> str | None:
        """Return the test that noticed, or an empty string; None if the changed code does not compile."""
        if not self._build(place):
            return None
        own = [path for path in self.test_files if change.path.stem in Path(path).name]
        others = [path for path in self.test_files if path not in own]
        deselected = [word for test in self.left_out for word in ("--deselect", test)]
        for tests in own, ["-n", "2", *others]:
            status, failed = place.test(tests and [*deselected, *tests], 1800)
            if status != PASSED:
                return failed
        return ""

    def _build(self, place: Workplace) -> bool:
        status, _ = place.run(["cmake", "--build", "build"], 3600)
        for module in (place.root / "build").glob("_core.*.so"):
            shutil.copy(module, place.root / PACKAGE)
        return status == PASSED
