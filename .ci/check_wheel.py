"""Check that a wheel is small, contains exactly the package, requires only NumPy, and is imported quickly."""

import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from statistics import median

PACKAGE = Path(__file__).resolve().parent.parent / "python"
MAX_BYTES = 2_000_000
MAX_IMPORT_SECONDS = 0.020
IMPORT = """
import numpy, time
start = time.perf_counter()
import trimtab
print(time.perf_counter() - start)
"""


def check(condition: bool, message: str) -> None:
    """Print the finding, and stop if it is wrong."""
    print(message)
    if not condition:
        sys.exit("that is wrong")


def import_seconds() -> float:
    """Time the import of trimtab after that of NumPy, in fresh interpreters."""
    runs = [subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True) for _ in range(9)]
    return median(float(run.stdout) for run in runs)


wheel = Path(sys.argv[1])
check(wheel.stat().st_size < MAX_BYTES, f"size: {wheel.stat().st_size} bytes")

with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    requirements = HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist")
needed = [requirement for requirement in requirements if "extra ==" not in requirement]
check(needed == ["numpy>=2.0"], f"needs: {needed}")

compiled = [name for name in names if name.startswith("trimtab/_core.") and name.endswith(".so")]
check(len(compiled) == 1, f"compiled: {compiled}")
expected = {
    str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyi", ".typed"}
}
found = {name for name in names if ".dist-info/" not in name} - set(compiled)
check(found == expected, f"contents: {len(found)} files, too many or few: {sorted(found ^ expected)}")

seconds = import_seconds()
check(seconds < MAX_IMPORT_SECONDS, f"import: {1000 * seconds:.1f} ms after numpy")
