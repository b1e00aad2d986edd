"""The command `trimtab lab`, with experiments that take no time."""

import gzip
import json
import re
import sys
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
import trimtab as tt
from helpers import experiments
from trimtab import cli
from trimtab.lab import registry
from trimtab.lab.data import SOURCES


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """A function that runs a command in a lab of three experiments; it returns status, output and errors."""
    known = {
        "calm": experiments.make("calm"),
        "broken": experiments.make("broken", claims=experiments.broken_claims),
        "hungry": experiments.make("hungry", data=("mnist", "fashion-mnist")),
    }

    def module_of(name):
        return SimpleNamespace(EXPERIMENT=known[name.rpartition(".")[2]])

    monkeypatch.setattr(registry, "names", lambda: [*known])
    monkeypatch.setattr(registry, "import_module", module_of)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIMTAB_DATA", raising=False)

    def call(*arguments, **changes):
        for name, change in changes.items():
            known[name] = replace(known[name], **change)
        status = cli.main(["lab", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


def results(folder, name="calm"):
    return json.loads((folder / f"{name}.json").read_text())


def logging(tmp_path, **options):
    """A change of the setting: each run writes a line to a file."""
    setting = experiments.Setting(log=str(tmp_path / "log"), **options)
    return {"setting": setting, "quick": setting}


def logged(tmp_path):
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []


# ---- list and show ----


def test_list_has_name_claim_and_minutes(lab):
    status, shown, _ = lab()
    assert status == 0
    assert re.search(r"^calm +what calm claims +1$", shown, re.M)
    assert "broken" in shown and "hungry" in shown


def test_show_has_claim_source_setting_and_pass(lab):
    status, shown, _ = lab("show", "calm", calm={"notes": "smaller than the paper's"})
    assert status == 0
    assert shown.startswith("calm: what calm claims\nsource: somebody 2001\na pass: a gain\nnotes: smaller")
    assert re.search(r"^steps +4 +2$", shown, re.M)
    assert re.search(r"^seeds +3 +2$", shown, re.M)


# ---- results ----


def test_results_are_written_as_json(lab, tmp_path):
    assert lab("run", "calm", "--out", "out")[0] == 0
    found = results(tmp_path / "out")
    assert found["claims"] == [
        {
            "claim": "gain",
            "source": "somebody 2001",
            "measured": 100.0,
            "wanted": ">= 100",
            "holds": True,
            "exact": True,
            "spread over seeds": None,
        },
        {
            "claim": "mean",
            "source": "somebody 2001",
            "measured": 102.0,  # of 100, 102, 104
            "wanted": "> 1000",
            "holds": False,
            "exact": False,
            "spread over seeds": 2.0,
        },
        {
            "claim": "not a number",
            "source": "nobody 1999",
            "measured": None,
            "wanted": "shown",
            "holds": None,
            "exact": False,
            "spread over seeds": None,
        },
    ]
    assert found["setting"] == {"steps": 4, "factor": 2.0, "log": "", "fails_at": -1}
    assert found["seeds"] == [0, 1, 2]
    assert found["version"] == tt.__version__
    assert found["isa"] == tt.isa()
    assert found["seconds"] >= 0
    assert found["seconds in PyTorch"] is None


def test_the_table_says_what_holds(lab):
    shown = lab("run", "calm", "--out", "out")[1]
    assert re.search(r"^gain +100 +>= 100, exact +yes$", shown, re.M)
    assert re.search(r"^mean +102 +2 +> 1000 +NO$", shown, re.M)
    assert re.search(r"^not a number +nan +shown$", shown, re.M)


@pytest.mark.parametrize(
    ("ratio", "shown", "seconds"),
    [(3.0, "the same in PyTorch: 18.0 s", 18.0), (float("nan"), "PyTorch: the machine is busy", None)],
)
def test_the_time_in_pytorch_is_reported(ratio, shown, seconds, lab, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("trimtab.lab.report.times_as_long_in_torch", lambda step: asked.append(step) or ratio)
    clock = count()
    monkeypatch.setattr("trimtab.lab.runner.perf_counter", lambda: next(clock))  # a run takes a second
    change = {"step": lambda setting: setting.factor}
    assert f"3 seeds, 6.0 s; {shown}\n" in lab("run", "calm", "--out", "out", calm=change)[1]
    assert results(tmp_path / "out")["seconds in PyTorch"] == seconds
    assert asked == [2.0]


def test_the_figure_is_a_png_and_an_svg_with_the_same_bytes_each_time(lab, tmp_path):
    pytest.importorskip("matplotlib")
    lab("run", "calm", "--out", "one")
    lab("run", "calm", "--out", "two")
    assert (tmp_path / "one" / "calm.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "one" / "calm.svg").read_bytes()
    for name in ("calm.png", "calm.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_without_matplotlib_table_and_json_still_come(lab, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, shown, _ = lab("run", "calm", "--out", "out")
    assert status == 0
    assert 'figure: not drawn, matplotlib is not installed: pip install "trimtab[lab]"' in shown
    assert results(tmp_path / "out")["claims"]
    assert not (tmp_path / "out" / "calm.png").exists()


def test_quick_takes_the_quick_setting_and_its_seeds(lab, tmp_path):
    lab("run", "calm", "--quick", "--out", "out")
    found = results(tmp_path / "out")
    assert found["setting"]["factor"] == 3.0
    assert found["seeds"] == [0, 1]


def test_seeds_are_as_many_as_asked_for(lab, tmp_path):
    lab("run", "calm", "--seeds", "5", "--out", "out", calm=logging(tmp_path))
    assert results(tmp_path / "out")["seeds"] == [0, 1, 2, 3, 4]
    assert logged(tmp_path) == [f"{norm} {seed}" for norm in (None, "batch") for seed in range(5)]


def test_status_is_1_if_an_exact_claim_does_not_hold(lab, tmp_path):
    """All experiments are done before; a claim that is not exact may fail."""
    status, _, error = lab("run", "broken", "calm", "--out", "out")
    assert status == 1
    assert error.endswith("trimtab: lab: exact claims must hold, got 1 that do not: broken: sum is below 1\n")
    assert results(tmp_path / "out", "broken")["claims"][0]["holds"] is False
    assert results(tmp_path / "out", "calm")


# ---- finished runs are kept ----


def test_finished_runs_are_not_done_again(lab, tmp_path):
    change = logging(tmp_path)
    lab("run", "calm", "--out", "out", calm=change)
    first, lines = results(tmp_path / "out"), logged(tmp_path)
    assert len(lines) == 6
    lab("run", "calm", "--out", "out")
    assert logged(tmp_path) == lines
    assert results(tmp_path / "out") == first
    lab("run", "calm", "--seeds", "4", "--out", "out")
    assert logged(tmp_path)[6:] == ["None 3", "batch 3"]


def test_another_setting_is_another_run(lab, tmp_path):
    lab("run", "calm", "--out", "out", calm=logging(tmp_path))
    lab("run", "calm", "--out", "out", calm=logging(tmp_path, factor=5.0))
    assert len(logged(tmp_path)) == 12
    assert results(tmp_path / "out")["claims"][1]["measured"] == 105.0


def test_ctrl_c_keeps_what_is_done(lab, tmp_path):
    change = logging(tmp_path, fails_at=1)
    status, shown, error = lab("run", "calm", "--out", "out", calm=change | {"cells": experiments.cells})
    assert status == 130
    assert error.endswith("trimtab: interrupted\n")
    assert "calm: finished runs are kept in out/runs; the same command continues\n" in shown
    assert logged(tmp_path) == ["None 0"]
    assert not (tmp_path / "out" / "calm.json").exists()
    lab("run", "calm", "--seeds", "1", "--out", "out")
    assert logged(tmp_path) == ["None 0", "batch 0"]


def test_results_of_another_version_are_not_used(lab, tmp_path, monkeypatch):
    change = logging(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(tt, "__version__", "0.0.7")
        lab("run", "calm", "--out", "out", calm=change)
    shown = lab("run", "calm", "--out", "out")[1]
    assert shown.startswith(
        f"6 runs of calm by version 0.0.7 in out/runs are not used: this is {tt.__version__}\n"
    )
    assert len(logged(tmp_path)) == 12
    assert results(tmp_path / "out")["version"] == tt.__version__


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": {}}', '{"result": {}, "seconds": 1}', "\0"])
def test_damaged_runs_are_done_again(content, lab, tmp_path):
    lab("run", "calm", "--out", "out", calm=logging(tmp_path))
    first = results(tmp_path / "out")["claims"]
    for path in (tmp_path / "out" / "runs").iterdir():
        path.write_text(content)
    assert lab("run", "calm", "--out", "out")[0] == 0
    assert len(logged(tmp_path)) == 12
    assert results(tmp_path / "out")["claims"] == first


def test_runs_that_cannot_be_written_leave_nothing(lab, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    status, _, error = lab("run", "calm", "--out", "out")
    assert (status, error) == (1, "trimtab: [Errno 28] No space left on device\n")
    assert [*(tmp_path / "out" / "runs").iterdir()] == []


def test_several_jobs_give_the_same_results(lab, tmp_path, monkeypatch):
    """Also in processes that an earlier computation has started elsewhere."""
    joblib = pytest.importorskip("joblib")
    monkeypatch.chdir("/")
    joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(i) for i in range(8))
    monkeypatch.chdir(tmp_path)
    lab("run", "calm", "--out", "one")
    lab("run", "calm", "--out", "two", "--jobs", "2", calm=logging(tmp_path))
    assert sorted(logged(tmp_path)) == sorted(
        f"{norm} {seed}" for norm in (None, "batch") for seed in range(3)
    )
    assert results(tmp_path / "one")["claims"] == results(tmp_path / "two")["claims"]
    assert len([*(tmp_path / "two" / "runs").iterdir()]) == 6


def test_each_run_has_a_line_where_there_is_no_terminal(lab):
    error = lab("run", "calm", "--seeds", "1", "--out", "out")[2]
    assert error == "calm: 1 of 2 runs\ncalm: 2 of 2 runs\n"


# ---- bad input, before any run ----


@pytest.fixture
def untouched(lab, tmp_path):
    """The lab, where no experiment may begin."""
    change = logging(tmp_path)
    yield lambda *arguments: lab(*arguments, calm=change, hungry=change)
    assert logged(tmp_path) == []


@pytest.mark.parametrize("arguments", [["run", "calm", "nope"], ["show", "nope"]])
def test_unknown_names_are_refused_with_the_known_ones(arguments, untouched):
    assert untouched(*arguments) == (
        2,
        "",
        "trimtab: lab: name must be one of calm, broken, hungry, got 'nope'\n",
    )


def test_missing_data_are_named_with_their_digests(untouched, tmp_path):
    status, shown, error = untouched("run", "calm", "hungry", "--data", "nowhere")
    assert (status, shown) == (2, "")
    assert error.startswith("trimtab: lab: data must be a folder with these files, as they are or gzipped, ")
    assert "got 'nowhere' without\n" in error
    for source, _ in SOURCES.values():
        assert source.address in error
        for file, digest in source.digests.items():
            assert f"{source.name}/{file}  SHA-256 {digest}\n" in error
    assert not (tmp_path / "trimtab-lab").exists()


def test_data_are_looked_for_in_the_folder_of_the_variable(untouched, monkeypatch):
    monkeypatch.setenv("TRIMTAB_DATA", "elsewhere")
    assert "got 'elsewhere' without" in untouched("run", "hungry")[2]
    assert "got 'here' without" in untouched("run", "hungry", "--data", "here")[2]
    monkeypatch.delenv("TRIMTAB_DATA")
    assert "got 'data' without" in untouched("run", "hungry")[2]


def test_damaged_data_are_named(untouched, tmp_path):
    folder = tmp_path / "given" / "mnist"
    folder.mkdir(parents=True)
    for file in SOURCES["mnist"][0].digests:
        (folder / f"{file}.gz").write_bytes(gzip.compress(b"damaged"))
    status, _, error = untouched("run", "hungry", "--data", "given")
    assert status == 2
    assert re.search(r"train-images-idx3-ubyte.gz must have the SHA-256 ba89\w+, got \w+ of 7 bytes\n", error)


def test_a_folder_that_cannot_be_made_is_refused(untouched, tmp_path):
    (tmp_path / "file").write_text("")
    for out in ("file", "file/below"):
        status, shown, error = untouched("run", "calm", "--out", out)
        assert (status, shown) == (2, "")
        assert error.startswith(f"trimtab: lab: out must be a folder that can be written, got '{out}': ")


def test_a_folder_that_cannot_be_written_is_refused(untouched, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("trimtab.lab.command.TemporaryFile", fail)
    error = untouched("run", "calm", "--out", "out")[2]
    assert error == ("trimtab: lab: out must be a folder that can be written, got 'out': Permission denied\n")


def test_jobs_without_joblib_are_refused(untouched, monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    error = untouched("run", "calm", "--jobs", "2")[2]
    assert error == 'trimtab: joblib is not installed: pip install "trimtab[lab]"\n'


@pytest.mark.parametrize("option", [["--seeds", "0"], ["--jobs", "0"], ["--seeds", "x"], []])
def test_wrong_command_lines_are_explained(option, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["lab", "run", *(["calm"] if option else []), *option])
    assert exit.value.code == 2
    assert "usage: trimtab lab run" in capsys.readouterr().err
