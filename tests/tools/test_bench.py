"""The benchmark checks what it times, and says what it finds."""

import json
import re
from dataclasses import replace
from math import isnan, prod

import pytest
from trimtab import cli
from trimtab.bench import report
from trimtab.bench.cases import CASES, Case, Inputs, Weights, resnet50
from trimtab.bench.measure import WRONG, Timing, check, expect, measure
from trimtab.bench.peers import installed, use_threads
from trimtab.bench.peers.library import Library
from trimtab.bench.peers.numpy import NumPy
from trimtab.bench.peers.trimtab import Trimtab

FEW = Weights("few", ((5, 7), (3,), (2, 3, 1)))
SHAPES = {(2, 1): (9, 6), (2, -1): (5, 70), (4, 1): (4, 6, 2, 5), (4, -1): (4, 2, 5, 6)}


def small(case):
    """The same with few elements."""
    if case.weights:
        return replace(case, shape=FEW.shapes[0], weights=FEW)
    return replace(case, shape=SHAPES[len(case.shape), case.axis], groups=case.groups and 3)


SMALL = [*dict.fromkeys(map(small, CASES))]
# To compile all of them takes minutes
LIBRARIES = [library for library in installed(quick=False) if library.name != "torch.compile"]
LAYER_NORM = Case("layer_norm", (5, 70))
DROPOUT = Case("dropout_forward", (5, 70), p=0.3)


def named(library, op, call):
    """A library of one operation."""
    return type(library, (Library,), {"name": library, op: lambda self, inputs: lambda: call(inputs)})()


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.op} {case.label}")
@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_library_computes_the_same(case, library):
    if call := library.prepare(case.op, Inputs(case)):
        check(library.name, case, call, expect(case))


@pytest.mark.parametrize("library", [Trimtab(), NumPy()], ids=lambda library: library.name)
def test_every_case_is_in_ours_and_in_numpy(library):
    assert not [case.op for case in CASES if not hasattr(library, case.op)]


def test_resnet50_has_the_parameters_of_its_paper():
    shapes = resnet50().shapes
    assert len(shapes) == 161
    assert sum(prod(shape) for shape in shapes) == 25_557_032


def test_wrong_results_are_not_timed(capsys):
    said = "layer_norm 5x70 must be within 0.0001 of float64, got"
    other = named("other", "layer_norm", lambda inputs: inputs.x)
    timings = measure(LAYER_NORM, [Trimtab(), other], 1, 0.0)
    assert timings["other"] is WRONG
    assert not isnan(timings["trimtab"].median)
    assert f"other: {said}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=f"trimtab: {re.escape(said)}"):
        measure(LAYER_NORM, [named("trimtab", "layer_norm", lambda inputs: inputs.x)], 1, 0.0)


@pytest.mark.parametrize(
    "call",
    [lambda inputs: inputs.x * 0, lambda inputs: inputs.x / 0.7, lambda inputs: inputs.x * inputs.keep],
)
def test_wrong_dropouts_are_noticed(call):
    timings = measure(DROPOUT, [Trimtab(), named("other", "dropout_forward", call)], 1, 0.0)
    assert timings["other"] is WRONG


def test_failures_are_not_timed(capsys):
    other = named("other", "layer_norm", lambda inputs: inputs.x.reshape(-1, 3))
    assert measure(LAYER_NORM, [Trimtab(), other], 1, 0.0)["other"] is WRONG
    assert "cannot reshape" in capsys.readouterr().err


def test_a_library_may_lack_an_operation(capsys):
    other = named("other", "rms_norm", lambda inputs: inputs.x)
    assert list(measure(LAYER_NORM, [Trimtab(), other], 1, 0.0)) == ["trimtab"]


def test_results_are_shown_as_ratios(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    timings = {"trimtab": Timing(2e-6, 1e-6, 3e-6), "fine": Timing(3e-6, 3e-6, 3e-6)}
    measurements = {
        DROPOUT: timings | {"other": Timing(5e-5, 5e-5, 5e-5)},
        LAYER_NORM: timings | {"other": WRONG},
        Case("rms_norm", (5, 70)): timings,
    }
    report.table(measurements)
    _, _, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert rows == [
        ["dropout_forward"],
        ["5x70", "p=0.3", "2.00", "µs", "±50%", "1.50x", "25.0x"],
        ["layer_norm"],
        ["5x70", "2.00", "µs", "±50%", "1.50x", "wrong"],
        ["rms_norm"],
        ["5x70", "2.00", "µs", "±50%", "1.50x"],
    ]
    report.write_json(measurements, tmp_path / "bench.json")
    _, result, _ = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert result["seconds"]["other"] is None
    report.plot(measurements, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_fits_100_columns(capsys):
    timing = Timing(123e-6, 1e-6, 250e-6)
    names = ["trimtab", "NumPy", "PyTorch", "torch.compile", "JAX", "Numba"]
    report.table({case: dict.fromkeys(names, timing) for case in CASES})
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_quartiles_enclose_the_median():
    timing = measure(LAYER_NORM, [Trimtab()], 5, 0.0001)["trimtab"]
    assert 0 < timing.lower <= timing.median <= timing.upper


def test_threads_are_set_for_a_while():
    libraries = installed(quick=True)
    before = [library.get_num_threads() for library in libraries]
    with use_threads(libraries, 1):
        assert [library.get_num_threads() for library in libraries] == [1] * len(libraries)
    assert [library.get_num_threads() for library in libraries] == before


@pytest.fixture
def few_cases(monkeypatch):
    monkeypatch.setattr("trimtab.bench.CASES", SMALL)
    monkeypatch.setattr("trimtab.bench.installed", lambda quick: [Trimtab(), NumPy()])


def test_bench_writes_what_it_shows(few_cases, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    measured, drawn = tmp_path / "bench.json", tmp_path / "bench.png"
    files = ["--json", str(measured), "--plot", str(drawn)]
    assert cli.main(["bench", "--ops", "layer", "--threads", "1", *files]) == 0
    results = json.loads(measured.read_text())
    assert results["machine"]["threads"] == 1
    ops = ["layer_norm", "layer_norm_backward", "add_layer_norm_forward"]
    assert [result["op"] for result in results["results"]] == ops
    assert all(set(result["seconds"]) == {"trimtab", "NumPy"} for result in results["results"])
    assert drawn.read_bytes().startswith(b"\x89PNG")
    shown, progress = capsys.readouterr()
    assert "layer_norm\n  5x70" in shown
    assert "batch_norm" not in shown
    assert "2/3 layer_norm_backward 5x70" in progress


def test_an_interrupt_shows_what_has_been_measured(few_cases, tmp_path, capsys, monkeypatch):
    def interrupted(case, *arguments):
        if case.op != "layer_norm":
            raise KeyboardInterrupt
        return measure(case, *arguments)

    monkeypatch.setattr("trimtab.bench.measure", interrupted)
    assert cli.main(["bench", "--quick", "--json", str(tmp_path / "bench.json")]) == 130
    assert "layer_norm\n  5x70" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "bench.json").read_text())["results"]) == 1


def test_bench_lists_the_operations_it_knows(capsys):
    for ops in (["nothing"], ["layer_norm", "nothing"]):
        assert cli.main(["bench", "--ops", *ops]) == 2
        error = capsys.readouterr().err
        assert "layer_norm, layer_norm_backward, add_layer_norm_forward" in error
        assert error.endswith(", got nothing\n")


@pytest.mark.parametrize("quick", [False, True])
def test_a_quick_bench_is_short(quick, monkeypatch, capsys):
    """The small cases alone, five short rounds, and no library that compiles."""
    measured, asked = [], []
    timing = Timing(1e-6, 1e-6, 1e-6)

    def note(case, libraries, rounds, seconds):
        measured.append((case, rounds, seconds))
        return {"trimtab": timing}

    monkeypatch.setattr("trimtab.bench.measure", note)
    monkeypatch.setattr("trimtab.bench.installed", lambda quick: asked.append(quick) or [Trimtab()])
    assert cli.main(["bench", *(["--quick"] if quick else [])]) == 0
    assert asked == [quick]
    sizes = [case.weights.size if case.weights else prod(case.shape) for case, _, _ in measured]
    assert (max(sizes) <= 2**20) is quick
    assert {(rounds, seconds) for _, rounds, seconds in measured} == {(5, 0.005) if quick else (9, 0.02)}
    expected = [case for case in CASES if not quick or case.quick]
    assert [case for case, _, _ in measured] == expected


def test_a_case_that_is_never_quick_is_named(monkeypatch, capsys):
    monkeypatch.setattr("trimtab.bench.CASES", [Case("layer_norm", (2048, 1024))])
    assert cli.main(["bench", "--quick", "--ops", "layer"]) == 2
    assert "ops must have quick cases with --quick, got layer" in capsys.readouterr().err
