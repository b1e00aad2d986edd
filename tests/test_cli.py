"""The commands, run as a user runs them."""

import re

import pytest
import trimtab as tt
from trimtab import cli, terminal


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
