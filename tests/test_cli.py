"""The commands, run as a user runs them; the benchmark checks what it times."""

import json
import re
from math import prod

import pytest
import trimtab as tt
from trimtab import cli, terminal
from trimtab.bench import report
from trimtab.bench.cases import CASES, Case, Inputs, Weights, resnet50
from trimtab.bench.measure import Timing, check, measure, outputs
from trimtab.bench.peers import installed, numpy_table, trimtab_table

FEW = Weights("few", ((5, 7), (3,), (2, 3, 1)))
SMALL = [
    Case("sgd_update", (5, 7), weights=FEW),
    Case("sgd_update_clipped", (5, 7), weights=FEW),
    Case("max_norm", (5, 7)),
    Case("dropout_forward", (5, 70), p=0.3),
    Case("dropout_backward", (5, 70), p=0.3),
    Case("layer_norm", (5, 7)),
    Case("layer_norm_backward", (5, 7)),
    *(
        Case(op, shape, axis)
        for op in ("batch_norm_forward", "batch_norm_backward", "batch_norm")
        for shape, axis in (((9, 3), 1), ((4, 3, 2, 5), 1), ((4, 2, 5, 3), -1))
    ),
    *(
        Case(op, shape, axis, groups)
        for op, groups in (
            ("batch_norm_residual_relu", None),
            ("batch_norm_residual_relu_backward", None),
            ("group_norm", 3),
            ("group_norm_backward", 3),
            ("instance_norm", None),
            ("instance_norm_backward", None),
        )
        for shape, axis in (((4, 6, 2, 5), 1), ((4, 2, 5, 6), -1))
    ),
]


def test_info_names_the_instruction_set_and_threads(capsys):
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert tt.isa() in shown
    assert re.search(rf"threads.*\b{tt.get_num_threads()}\b", shown)


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--epochs", "0"], ["bench", "--threads", "x"]])
def test_wrong_command_lines_are_explained(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert "usage: trimtab" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"trimtab {tt.__version__}\n"


def test_demo_trains_every_network_and_writes_the_plot(tmp_path, capsys):
    for needed in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(needed)
    plot = tmp_path / "curves.png"
    assert cli.main(["demo", "--epochs", "2", "--out", str(plot)]) == 0
    shown = capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert str(plot) in shown
    rates = [
        float(re.search(rf"^{name} +([\d.]+)%", shown, re.M)[1])
        for name in ("no normalization", "batch norm")
    ]
    assert rates[1] > rates[0]
    assert "layer norm" in shown


def test_demo_looks_for_the_folder_before_it_trains(tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path / "missing" / "curves.png")]) == 1
    assert "out must be in an existing folder" in capsys.readouterr().err


def test_an_interrupt_ends_the_demo(tmp_path, monkeypatch):
    from trimtab import demo

    monkeypatch.setattr(demo.ProgressBar, "on_batch_end", lambda bar, trainer, batch, logs: trainer.stop())
    assert cli.main(["demo", "--out", str(tmp_path / "curves.png")]) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["sklearn.datasets", "matplotlib.figure", "tqdm"])
def test_demo_asks_for_missing_extras_in_one_line(module, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert cli.main(["demo", "--out", str(tmp_path / "curves.png")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'pip install "trimtab[demo]"' in error


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.op} {case.label}")
@pytest.mark.parametrize("library", installed(quick=True))
def test_every_library_computes_the_same(case, library):
    expected = outputs(numpy_table()[case.op](Inputs.of(case).wide())())
    check(library, case, installed(quick=True)[library][case.op](Inputs.of(case)), expected)


def test_every_case_is_in_every_library():
    for table in installed(quick=True).values():
        assert {case.op for case in CASES} <= table.keys()


def test_resnet50_has_the_parameters_of_its_paper():
    shapes = resnet50().shapes
    assert len(shapes) == 161
    assert sum(prod(shape) for shape in shapes) == 25_557_032


def test_wrong_results_are_not_timed(capsys):
    wrong, case = {"layer_norm": lambda inputs: lambda: inputs.x}, Case("layer_norm", (5, 7))
    said = "layer_norm 5x7 must be within 0.0001 of float64, got"
    assert list(measure(case, {"trimtab": trimtab_table(), "other": wrong}, 1, 0.0)) == ["trimtab"]
    assert f"other: {said}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=f"trimtab: {re.escape(said)}"):
        measure(case, {"trimtab": wrong}, 1, 0.0)


def test_wrong_results_are_shown_as_such(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    timings = {"trimtab": Timing(2.0, 1.0, 3.0), "fine": Timing(3.0, 3.0, 3.0)}
    measurements = {SMALL[0]: timings, SMALL[1]: timings | {"other": Timing(5.0, 5.0, 5.0)}}
    report.table(measurements)
    first, second = (line.split()[-2:] for line in capsys.readouterr().out.splitlines()[2:])
    assert first == ["1.5x", "wrong"]
    assert second == ["1.5x", "2.5x"]
    report.plot(measurements, tmp_path / "bench.png")


def test_quartiles_enclose_the_median():
    timing = measure(SMALL[0], {"trimtab": trimtab_table()}, 5, 0.0001)["trimtab"]
    assert 0 < timing.lower <= timing.median <= timing.upper


def test_bench_writes_what_it_shows(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("trimtab.bench.CASES", SMALL)
    monkeypatch.setattr(
        "trimtab.bench.installed", lambda quick: {"trimtab": trimtab_table(), "NumPy": numpy_table()}
    )
    measured, drawn = tmp_path / "bench.json", tmp_path / "bench.png"
    assert (
        cli.main(["bench", "--ops", "layer", "--threads", "1", "--json", str(measured), "--plot", str(drawn)])
        == 0
    )
    results = json.loads(measured.read_text())
    assert results["machine"]["threads"] == 1
    assert [result["op"] for result in results["results"]] == ["layer_norm", "layer_norm_backward"]
    assert all(set(result["seconds"]) == {"trimtab", "NumPy"} for result in results["results"])
    assert drawn.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "layer_norm 5x7" in shown
    assert "batch_norm" not in shown


def test_bench_lists_the_operations_it_knows(capsys):
    assert cli.main(["bench", "--ops", "nothing"]) == 1
    assert "layer_norm, layer_norm_backward, batch_norm_forward" in capsys.readouterr().err


def test_a_table_is_plain_where_the_terminal_is(capsys):
    terminal.print_table(["name", "value"], [["a", "1.5"], ["longer", "20"]])
    shown = capsys.readouterr().out
    assert "\033" not in shown
    header, rule, *rows = shown.splitlines()
    assert header == "name    value"
    assert len(rule) == len(header)
    assert rows == ["a         1.5", "longer     20"]


def test_extras_do_not_slow_the_import(run_python):
    code = "import sys, trimtab; print([m for m in ('tqdm', 'matplotlib', 'sklearn') if m in sys.modules])"
    assert run_python(code) == "[]"
