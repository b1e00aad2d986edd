"""A copy of the repository in which code is changed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("python/trimtab")
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
PASSED, NOT_FOUND, TIMEOUT = 0, 4, -1  # of pytest; NOT_FOUND: a change gave a test another name


def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.splitlines() if (ROOT / name).is_file()]


class Workplace:
    def __init__(self, folder: str, files: list[Path]) -> None:
        self.root = Path(folder)
        modules = (path.relative_to(ROOT) for path in (ROOT / PACKAGE).glob("_core.*.so"))
        for path in [*files, *modules]:
            (self.root / path.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, self.root / path)

    def run(self, command: list[str], limit: float, **environment: str) -> tuple[int, str]:
        """Return the exit status and the output."""
        variables = {"PYTHONPATH": str(self.root / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
        data = ROOT.parent / "shared" / "data"
        if data.is_dir():  # where the tests look for it
            variables["TRIMTAB_DATA"] = str(data)
        child = subprocess.Popen(
            command,
            cwd=self.root,
            env=os.environ | variables | environment,
            text=True,
            errors="replace",
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            output, _ = child.communicate(timeout=limit)
            return child.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.communicate()
            return TIMEOUT, ""

    def test(self, tests: list[str], limit: float) -> tuple[int, str]:
        """Return the status of pytest and the first test that failed twice."""
        chosen = self.root / "chosen-tests"
        while tests:
            chosen.write_text("\n".join(tests))
            status, output = self.run([*PYTEST, "-x", f"@{chosen}"], limit)
            failure = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
            if status == TIMEOUT or not failure:
                return status, f"status {status}"
            if self.run([*PYTEST, failure[1]], limit)[0] != PASSED:
                return status, failure[1]
            tests = ["--deselect", failure[1], *tests]
        return PASSED, ""
