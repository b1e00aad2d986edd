"""`pytest bench`, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pytest_benchmark")

ROOT = Path(__file__).resolve().parents[2]
ONE = "mse and 64x10 and (trimtab or NumPy)"


def bench(*options, chosen=ONE):
    command = [sys.executable, "-m", "pytest", "bench", "-p", "no:cacheprovider", "-k", chosen, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_a_case_is_a_group_with_a_benchmark_for_each_library(tmp_path):
    file = tmp_path / "bench.json"
    status, shown = bench("--quick", "--threads", "1", "--benchmark-json", str(file))
    assert status == 0, shown
    measured = json.loads(file.read_text())["benchmarks"]
    assert [one["name"] for one in measured] == [
        "test_kernel[mse 64x10 trimtab]",
        "test_kernel[mse 64x10 NumPy]",
    ]
    assert {one["group"] for one in measured} == {"mse 64x10"}
    assert all(set(one["extra_info"]) >= {"cpus_of_others", "waiting"} for one in measured)
    assert all(one["options"]["max_time"] == 0.02 for one in measured)


def test_empty_tasks_run_on_each_number_of_threads(tmp_path):
    file = tmp_path / "bench.json"
    status, shown = bench("--quick", "--benchmark-json", str(file), chosen="empty_tasks and team")
    assert status == 0, shown
    measured = json.loads(file.read_text())["benchmarks"]
    cpus = len(os.sched_getaffinity(0))
    for group in ("empty tasks in a series", "empty tasks after a pause"):
        threads = [one["params"]["threads"] for one in measured if one["group"] == group]
        assert threads == sorted({2**n for n in range(9) if 2**n <= cpus} | {cpus})


def test_options_of_the_user_win(tmp_path):
    file = tmp_path / "bench.json"
    options = "--quick", "--benchmark-max-time=0.03", "--benchmark-json", str(file)
    assert bench(*options, chosen="mse and 64x10 and trimtab")[0] == 0
    (measured,) = json.loads(file.read_text())["benchmarks"]
    assert measured["options"]["max_time"] == 0.03


def test_large_cases_are_left_out_of_a_quick_run():
    chosen = "test_kernel and layer_norm and trimtab"
    _, shown = bench("--collect-only", "-q", chosen=chosen)
    assert "[layer_norm 8192x4096 trimtab]" in shown
    _, shown = bench("--collect-only", "-q", "--quick", chosen=chosen)
    assert "[layer_norm 64x256 trimtab]" in shown
    assert "8192x4096" not in shown
