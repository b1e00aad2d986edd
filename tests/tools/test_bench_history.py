"""`bench/history.py`: relative times from release to release."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "history.py"
spec = importlib.util.spec_from_file_location("history", FILE)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def write(folder, name, times):
    results = [
        {"op": op, "shape": shape, "seconds": {"trimtab": {"median": seconds}, "NumPy": {"median": 9.0}}}
        for (op, shape), seconds in times.items()
    ]
    (folder / f"{name}.json").write_text(json.dumps({"machine": {}, "results": results}))


@pytest.fixture
def results(tmp_path):
    write(tmp_path, "0.2.0-zen4", {("relu", 1): 1.0, ("relu", 2): 2.0, ("tanh", 1): 4.0})
    write(tmp_path, "0.10.0-zen4", {("relu", 1): 4.0, ("relu", 2): 2.0, ("relu", 3): 9.0, ("mse", 1): 5.0})
    write(tmp_path, "0.9.0-zen4", {("tanh", 1): 1.0})
    write(tmp_path, "0.9.0-arm-a76", {("tanh", 1): 3.0})
    return tmp_path


def test_times_are_relative_to_the_first_release_of_the_machine(results):
    """Over the cases that both have; releases in order of their numbers."""
    machines = module.history(results)
    assert machines == {
        "zen4": {"0.2.0": {"relu": 1.0, "tanh": 1.0}, "0.9.0": {"tanh": 0.25}, "0.10.0": {"relu": 2.0}},
        "arm-a76": {"0.9.0": {"tanh": 1.0}},
    }
    assert [*machines["zen4"]] == ["0.2.0", "0.9.0", "0.10.0"]


def test_history_is_drawn(results, monkeypatch):
    pytest.importorskip("matplotlib")
    out = results / "history.png"
    monkeypatch.setattr(sys, "argv", ["history.py", "--results", str(results), "--out", str(out)])
    module.main()
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_results_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["history.py", "--results", str(tmp_path)])
    with pytest.raises(SystemExit):
        module.main()
    assert f"results must have files VERSION-MACHINE.json, got '{tmp_path}'" in capsys.readouterr().err
