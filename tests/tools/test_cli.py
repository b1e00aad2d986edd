"""The commands, called as a user calls them."""

import io
import re
import sys

import numpy as np
import pytest
import trimtab as tt
from trimtab import cli, terminal


def test_info_names_the_instruction_set_and_threads(capsys):
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert tt.isa() in shown
    assert re.search(rf"threads.*\b{tt.get_num_threads()}\b", shown)


WRONG_LINES = [
    *([], ["dance"], ["info", "--quick"], ["demo", "--out"], ["bench", "--ops"]),
    *(["demo", f"--{name}", value] for name in ("epochs", "seed") for value in ("-1", "x", "1.5", "")),
    *(["bench", "--threads", value] for value in ("x", "0", "-2")),
    ["demo", "--epochs", "0"],
]


@pytest.mark.parametrize("arguments", WRONG_LINES)
def test_wrong_command_lines_are_explained(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert "usage: trimtab" in capsys.readouterr().err


def test_version_is_that_of_the_package(capsys):
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


def test_demo_checks_its_folder_before_it_trains(tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path / "missing" / "curves.png")]) == 2
    assert "out must be in an existing folder" in capsys.readouterr().err


def at_work(*arguments):
    raise AssertionError("the work has begun")


BAD_FILES = {
    "missing/plot.png": "in an existing folder, got '.*plot.png'",
    "folder.png": "a file, got the folder '.*folder.png'",
    "plot.xyz": r"in one of .*png.*, got '.*plot\.xyz'",
    "plot": "in one of .*png.*, got '.*plot'",
}
FILE_OPTIONS = {
    "demo: out": ["demo", "--out"],
    "bench: plot": ["bench", "--plot"],
    "bench: json": ["bench", "--json"],
}


@pytest.mark.parametrize(
    ("option", "file"),
    [
        (option, file)
        for option in FILE_OPTIONS
        for file in BAD_FILES
        if not (option.endswith("json") and file.startswith("plot"))  # JSON takes any suffix
    ],
)
def test_files_are_checked_before_the_work(option, file, tmp_path, capsys, monkeypatch):
    """One line on stderr, status 2, and no file remains."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("trimtab.demo.train", at_work)
    monkeypatch.setattr("trimtab.bench.measure", at_work)
    (tmp_path / "folder.png").mkdir()
    assert cli.main([*FILE_OPTIONS[option], str(tmp_path / file)]) == 2
    shown, error = capsys.readouterr()
    assert re.fullmatch(rf"trimtab: {option} must (be|end) {BAD_FILES[file]}\n", error)
    assert shown == ""
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_two_results_do_not_share_a_file(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("trimtab.bench.measure", at_work)
    path = str(tmp_path / "bench.svg")
    assert cli.main(["bench", "--json", path, "--plot", path]) == 2
    assert "json and plot must be two files" in capsys.readouterr().err


def test_bench_asks_for_matplotlib_before_it_measures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("trimtab.bench.measure", at_work)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["bench", "--plot", str(tmp_path / "bench.png")]) == 2
    assert 'matplotlib is not installed: pip install "trimtab[bench]"' in capsys.readouterr().err


def test_errors_during_the_work_are_distinguished_from_wrong_options(tmp_path, capsys, monkeypatch):
    def fail(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr("trimtab.bench.run", fail)
    assert cli.main(["bench"]) == 1
    assert capsys.readouterr().err == "trimtab: the disk is full\n"


@pytest.mark.parametrize("command", ["info", "demo", "bench"])
@pytest.mark.parametrize("when", ["prepare", "work"])
def test_an_interrupt_ends_every_command_without_a_traceback(command, when, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    prepared = interrupted if when == "prepare" else lambda options: interrupted
    monkeypatch.setattr(cli, f"prepare_{command}", prepared)
    assert cli.main([command]) == 130
    assert capsys.readouterr().err == "trimtab: interrupted\n"


def test_info_lists_the_caches_for_data(tmp_path, monkeypatch, capsys):
    kinds = [("1", "Data", "32K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K")]
    for number, texts in enumerate(kinds):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, text in zip(("level", "type", "size"), texts, strict=True):
            (folder / name).write_text(f"{text}\n")
    monkeypatch.setattr(cli, "CACHES", tmp_path)
    assert cli.main(["info"]) == 0
    *_, cap, first, second = capsys.readouterr().out.splitlines()
    assert [first.split(), second.split()] == [["L1", "cache", "32K"], ["L2", "cache", "1024K"]]
    column = re.search(r"\S+ +", cap).end()
    assert [first[column:], second[column:]] == ["32K", "1024K"]


@pytest.fixture
def small_demo(monkeypatch):
    """A demo of two runs on few digits, and its results."""
    for needed in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(needed)
    from trimtab import demo

    digits = demo.load_digits()
    few = type(digits)(digits.x_train[::8], digits.y_train[::8], digits.x_test[::2], digits.y_test[::2])
    found = []
    monkeypatch.setattr(demo, "load_digits", lambda: few)
    monkeypatch.setattr(demo, "RUNS", 2)
    monkeypatch.setattr(demo, "plot", lambda outcomes, path: found.append(outcomes))
    return found


def test_the_seed_of_a_demo_is_that_of_its_first_run(small_demo, tmp_path):
    """Every kind of network has the same seeds; the next seed is that of the second run."""
    for seed in (5, 5, 6):
        arguments = ["--epochs", "3", "--seed", str(seed), "--out", str(tmp_path / "curves.png")]
        assert cli.main(["demo", *arguments]) == 0
    first, again, next_one = ({name: one.accuracy for name, one in runs.items()} for runs in small_demo)
    for name, accuracy in first.items():
        assert accuracy.shape == (2, 3)
        assert (accuracy == again[name]).all()
        assert (accuracy[1] == next_one[name][0]).all()
    assert any((accuracy[0] != accuracy[1]).any() for accuracy in first.values())


@pytest.mark.parametrize("norm", ["no normalization", "batch norm", "layer norm"])
def test_the_demo_trains_networks_of_eight_layers(norm):
    from trimtab import demo, nn

    model = demo.network(demo.NORMS[norm], 3, 0)
    linear = [layer.weight.value.shape for layer in model if isinstance(layer, nn.Linear)]
    assert linear == [(64, 3), *[(64, 64)] * 7, (10, 64)]
    normalized = [layer for layer in model if isinstance(layer, nn.BatchNorm | nn.LayerNorm)]
    assert len(normalized) == (0 if norm == "no normalization" else 8)
    assert sum(isinstance(layer, nn.ReLU) for layer in model) == 8


def test_the_plot_of_the_demo_shows_means_and_ranges_in_percent(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    from trimtab import demo

    drawn = []
    save = figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda self, path: (drawn.append(self), save(self, path)))
    accuracy = np.array([[0.25, 0.5, 0.75], [0.75, 1.0, 1.0]])
    demo.plot({"batch norm": demo.Outcome(accuracy, 1.0)}, tmp_path / "curves.png")
    demo.plot({"layer norm": demo.Outcome(accuracy[:, :1], 1.0)}, tmp_path / "curves.png")
    axes, short = (figure.axes[0] for figure in drawn)
    curve, goal = axes.lines
    np.testing.assert_array_equal(curve.get_xydata(), [(1, 50), (2, 75), (3, 87.5)])
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(1, 25), (1, 75), (2, 50), (2, 100), (3, 75), (3, 100)}
    assert band.get_alpha() < 0.5
    assert [*goal.get_ydata()] == [95, 95]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["batch norm", "95%"]
    assert axes.get_ylim() == (0, 101)
    assert [axes.get_xlim(), short.get_xlim()] == [(1, 3), (1, 2)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "test accuracy (%)")
    assert axes.get_title().endswith("lr 0.05: mean and range of 3 runs")
    assert curve.get_color() == demo.COLORS["batch norm"]


def test_the_goal_is_reached_by_the_mean_of_the_runs():
    from trimtab.demo import epochs_to_goal

    runs = np.array([[0.9, 0.94, 0.96, 0.97], [0.91, 0.97, 0.93, 0.98]])
    assert [epochs_to_goal(runs), epochs_to_goal(runs[:, :1])] == ["2", "over 1"]
    assert [epochs_to_goal(runs[:, 2:]), epochs_to_goal(runs[:1])] == ["2", "3"]


@pytest.mark.parametrize(
    ("is_terminal", "environment", "styled"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
)
def test_styles_are_used_in_terminals_that_support_them(is_terminal, environment, styled, monkeypatch):
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    assert terminal.can_style(stream) is styled


def test_an_interrupt_ends_the_demo(tmp_path, monkeypatch):
    from trimtab import demo

    monkeypatch.setattr(demo.ProgressBar, "on_batch_end", lambda bar, trainer, batch, logs: trainer.stop())
    assert cli.main(["demo", "--out", str(tmp_path / "curves.png")]) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["sklearn.datasets", "matplotlib.figure", "tqdm"])
def test_demo_asks_for_missing_extras_in_one_line(module, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert cli.main(["demo", "--out", str(tmp_path / "curves.png")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'pip install "trimtab[demo]"' in error


def test_a_table_is_plain_in_a_plain_terminal(capsys):
    terminal.print_table(["name", "value"], [["a", "1.5"], ["longer", "20"]])
    shown = capsys.readouterr().out
    assert "\033" not in shown
    header, rule, *rows = shown.splitlines()
    assert header == "name    value"
    assert len(rule) == len(header)
    assert rows == ["a         1.5", "longer     20"]


class Terminal(io.StringIO):
    """A terminal that is `columns` wide."""

    encoding = "utf-8"

    def __init__(self, columns, monkeypatch):
        super().__init__()
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout", self)

    def isatty(self):
        return True


CLAIM = "batch norm trains faster, and from weights that are far too small"


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_table_fits_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal(columns, monkeypatch)
    terminal.print_table(["name", "claim", "minutes"], [["a", CLAIM, "1.5"], ["longer", "x", "20"]], left=2)
    header, rule, *rows = stream.getvalue().splitlines()
    assert max(map(len, (header, rule, *rows))) <= columns
    assert rule == "─" * len(header)
    assert rows[0].startswith("a       batch norm") and rows[0].endswith("1.5")
    text = " ".join(row[8:-7].strip() if row in (rows[0], rows[-1]) else row[8:] for row in rows)
    assert text == f"{CLAIM} x"
    assert (len(rows) > 2) is (columns < 100)


def test_a_table_in_a_pipe_has_a_line_for_each_row(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    terminal.print_table(["name", "claim"], [["a", CLAIM]])
    assert CLAIM in capsys.readouterr().out


def test_a_terminal_may_be_too_narrow_for_a_table(monkeypatch):
    stream = Terminal(5, monkeypatch)
    terminal.print_table(["name", "claim"], [["a", CLAIM]])
    assert max(map(len, stream.getvalue().splitlines())) <= 2 * terminal.NARROWEST + len(terminal.GAP) + 8


@pytest.mark.parametrize("command", ["", "info", "demo", "bench", "lab"])
def test_examples_of_the_help_are_command_lines_that_exist(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main([*([command] if command else []), "--help"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    lines = re.findall(r"^  trimtab (.+?)(?:  .*)?$", shown.partition("examples:\n")[2], re.MULTILINE)
    assert lines
    for line in lines:
        cli.parser().parse_args(line.split())


def test_extras_do_not_slow_the_import(run_python):
    code = "import sys, trimtab; print([m for m in ('tqdm', 'matplotlib', 'sklearn') if m in sys.modules])"
    assert run_python(code) == "[]"
