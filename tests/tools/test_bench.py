"""The benchmark checks the results it times, and reports its measurements."""

import json
import math
import re
from dataclasses import replace
from math import isnan, prod
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import trimtab as tt
from numpy.testing import assert_allclose
from trimtab import cli
from trimtab.bench import report
from trimtab.bench.cases import CASES, Case, Inputs, Weights, resnet50
from trimtab.bench.check import DROPS, check, expect
from trimtab.bench.measure import WRONG, Timing, measure
from trimtab.bench.peers import installed, use_threads
from trimtab.bench.peers.library import Library
from trimtab.bench.peers.numpy import NumPy
from trimtab.bench.peers.numpy_activations import error_function
from trimtab.bench.peers.trimtab import Trimtab
from trimtab.bench.random_cases import random_cases

FEW = Weights("few", ((5, 7), (3,), (2, 3, 1)))
SHAPES = {(4, 0): (6, 4, 3, 2), (2, 1): (9, 6), (2, -1): (5, 70), (4, 1): (4, 6, 2, 5), (4, -1): (4, 2, 5, 6)}


def small(case):
    """The same case with few elements."""
    if case.weights:
        return replace(case, shape=FEW.shapes[0], weights=FEW)
    return replace(case, shape=SHAPES[len(case.shape), case.axis], groups=case.groups and 3)


SMALL = [*dict.fromkeys(map(small, CASES))]
# torch.compile takes minutes for all cases
LIBRARIES = [library for library in installed(quick=False) if library.name != "torch.compile"]
LAYER_NORM = Case("layer_norm", (5, 70))
DROPOUT = Case("dropout_forward", (5, 70), p=0.3)


def named(library, op, call):
    """A library with one operation."""
    return type(library, (Library,), {"name": library, op: lambda self, inputs: lambda: call(inputs)})()


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.op} {case.label}")
@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_library_computes_the_same(case, library):
    if library.has(case):
        check(library, case, library.prepare(case, Inputs(case)), expect(case))


@pytest.mark.parametrize("library", [Trimtab(), NumPy()], ids=lambda library: library.name)
def test_every_case_is_in_ours_and_in_numpy(library):
    assert not [case.op for case in CASES if not hasattr(library, case.op)]


@pytest.mark.parametrize(
    ("case", "error", "passes"),
    [
        (Case("mse", (5, 70)), 9e-3, True),  # its first result is a sum
        (Case("mse", (5, 70)), 1.1e-2, False),
        (LAYER_NORM, 9e-3, False),
    ],
)
def test_sums_have_a_tolerance_of_their_own(case, error, passes):
    first, *others = expect(case)[0]
    wrong = (1 + error) * first, *others
    library = named("wrong", case.op, lambda inputs: wrong)
    if passes:
        check(library, case, library.prepare(case, Inputs(case)), expect(case))
    else:
        with pytest.raises(ValueError, match="of float64, got"):
            check(library, case, library.prepare(case, Inputs(case)), expect(case))


def specification(shape, kept):
    """The reference as `tt`: dropout keeps all or nothing, and the update sums over weights, too."""
    mask = np.packbits(np.full(shape, kept), bitorder="little")

    def add_dropout_forward(x, bias, residual, p, rng):
        return reference.add_dropout(x, bias, residual, mask, p)

    def sgd_update(w, g, v, *, statistics=False, zero_grad=False, grad_scale=1.0, **options):
        sums = reference.penalty(w, l1=1), reference.penalty(w, l2=2), np.sqrt(reference.penalty(g, l2=2))
        reference.sgd_update(w, g, v, grad_scale=grad_scale, **options)
        for gradient in g if zero_grad else ():
            gradient[...] = 0
        return (*sums[:2], grad_scale * sums[2])

    return SimpleNamespace(
        **vars(reference)
        | {
            "dropout_forward": lambda x, p, rng: reference.dropout(x, mask, p),
            "drop_path_forward": lambda x, p, rng: reference.dropout(x, mask, p),
            "alpha_dropout_forward": lambda x, p, rng: reference.alpha_dropout(x, mask, p),
            "add_dropout_forward": add_dropout_forward,
            "sgd_update": sgd_update,
        }
    )


@pytest.mark.parametrize(
    "case", [case for case in SMALL if not case.out], ids=lambda case: f"{case.op} {case.label}"
)
def test_expected_results_are_those_of_the_reference(case, monkeypatch):
    """They are computed by NumPy as the benchmark writes it, since the reference is not in the wheel."""
    for kept, expected in zip((True, False), expect(case), strict=case.op in DROPS):
        monkeypatch.setattr("trimtab.bench.peers.trimtab.tt", specification(case.shape, kept))
        by_reference = Trimtab().as_arrays(Trimtab().prepare(case, Inputs(case, np.float64))())
        for array, right in zip(expected, by_reference, strict=False):
            assert_allclose(array, right, rtol=1e-10, atol=1e-12)


def test_the_error_function_needs_no_scipy(monkeypatch):
    monkeypatch.setattr("trimtab.bench.peers.numpy_activations.find_spec", lambda name: None)
    x = Inputs(Case("gelu", (5, 70))).x
    assert error_function()(x).dtype == np.float32
    assert_allclose(error_function()(x), [[math.erf(value) for value in row] for row in x], rtol=1e-7)


NOT_TIMED = {
    # the same kernels with or without statistics, mask or argument checks of their own
    *("combine_moments", "dropout", "dropout_apply", "dropout_mask"),
    "gaussian_dropout_forward",  # has no result to compare with, only moments
    # no kernels
    *("get_memory_cap", "get_num_threads", "get_threading", "gradcheck", "isa"),
    *("set_memory_cap", "set_num_threads", "set_threading"),
    *("show_config", "trim_memory"),
}


def test_every_kernel_is_timed(monkeypatch):
    """Forward functions that return statistics are called to prepare the backward pass."""
    called = set()

    class Recorder:
        def __getattr__(self, name):
            called.add(name)
            return getattr(tt, name)

    monkeypatch.setattr("trimtab.bench.peers.trimtab.tt", Recorder())
    for case in SMALL:
        Trimtab().prepare(case, Inputs(case))()
    functions = {name for name in tt.__all__ if callable(getattr(tt, name)) and name.islower()}
    assert functions - called == NOT_TIMED


@pytest.mark.parametrize(
    ("case", "library"),
    [
        pytest.param(case, library, id=f"{case.op} {case.label} {library.name}")
        for library in LIBRARIES
        for case in SMALL
        if case.out and (library.name == "trimtab" or hasattr(library, f"{case.op}_out"))
    ],
)
def test_results_go_to_the_array_of_the_caller(case, library):
    for out in (True, False):
        call = library.prepare(replace(case, out=out), Inputs(case))
        (first, *_), (second, *_) = (library.as_arrays(call()) for _ in range(2))
        assert np.shares_memory(first, second) is out


def test_values_are_the_same_in_every_dtype():
    for dtype in ("float16", "bfloat16"):
        pytest.importorskip("ml_dtypes")
        case = Case("layer_norm", (5, 70), dtype=dtype)
        stored, wide = Inputs(case), Inputs(case, np.float64)
        for name in ("x", "gamma", "var"):
            assert getattr(stored, name).dtype == dtype
            assert getattr(wide, name).dtype == np.float64
            assert (getattr(stored, name).astype(float) == getattr(wide, name)).all()


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
    timings = {"trimtab": Timing(2e-6, 1.5e-6, 2.5e-6), "fine": Timing(3e-6, 3e-6, 3e-6)}
    measurements = {
        DROPOUT: timings | {"other": Timing(5e-5, 5e-5, 5e-5)},
        LAYER_NORM: timings | {"other": WRONG},
        Case("rms_norm", (5, 70)): timings,
    }
    report.table(measurements)
    _, _, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert rows == [
        ["dropout_forward"],
        ["5x70", "p=0.3", "2.00", "µs", "±25%", "1.50x", "25.0x"],
        ["layer_norm"],
        ["5x70", "2.00", "µs", "±25%", "1.50x", "wrong"],
        ["rms_norm"],
        ["5x70", "2.00", "µs", "±25%", "1.50x"],
    ]
    report.write_json(measurements, tmp_path / "bench.json")
    _, result, _ = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert result["seconds"]["other"] is None
    report.plot(measurements, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("ours", "other", "row"),
    [
        (Timing(2e-6, 2e-6, 4e-6), Timing(3e-6, 1.4e-6, 3e-6), "2.00 µs ±50% ~1.50x"),
        (Timing(2e-6, 1e-6, 2.2e-6), Timing(3e-6, 3e-6, 3e-6), "~2.00 µs ±30% ~1.50x"),
        (Timing(2e-6, 2e-6, 2e-6), Timing(3e-6, 3e-6, 3e-6, disturbed=0.3), "2.00 µs ±0% ~1.50x"),
        (Timing(2e-6, 2e-6, 2e-6, disturbed=0.25), Timing(3e-6, 3e-6, 3e-6), "2.00 µs ±0% 1.50x"),
    ],
)
def test_doubtful_ratios_are_marked(ours, other, row, capsys):
    """Quartiles more than a factor of two apart, or more than a quarter of the blocks disturbed."""
    report.table({LAYER_NORM: {"trimtab": ours, "other": other}})
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[3].split()) == f"5x70 {row}"
    assert [line for line in lines if line.startswith("~ doubtful")] == lines[4:]
    assert len(lines) == 4 + ("~" in row)


def test_the_table_fits_100_columns(capsys):
    timing = Timing(123e-6, 1e-6, 250e-6)
    names = ["trimtab", "NumPy", "PyTorch", "torch.compile", "JAX", "Numba"]
    report.table({case: dict.fromkeys(names, timing) for case in CASES})
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_quartiles_enclose_the_median():
    timing = measure(LAYER_NORM, [Trimtab()], 5, 0.0001)["trimtab"]
    assert 0 < timing.lower <= timing.median <= timing.upper


def test_threads_are_restored_after_the_context():
    libraries = installed(quick=True)
    before = [library.get_num_threads() for library in libraries]
    with use_threads(libraries, 1):
        assert [library.get_num_threads() for library in libraries] == [1] * len(libraries)
    assert [library.get_num_threads() for library in libraries] == before


@pytest.fixture
def few_cases(monkeypatch):
    monkeypatch.setattr("trimtab.bench.CASES", SMALL)
    monkeypatch.setattr("trimtab.bench.installed", lambda quick: [Trimtab(), NumPy()])


def test_bench_writes_the_table_the_plot_and_json(few_cases, tmp_path, capsys, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    formatters, save = [], figure.savefig

    def savefig(self, path):
        axis = self.axes[0].xaxis
        formatters.extend([axis.get_major_formatter(), axis.get_minor_formatter()])
        save(self, path)

    monkeypatch.setattr(figure, "savefig", savefig)
    measured, drawn = tmp_path / "bench.json", tmp_path / "bench.png"
    files = ["--json", str(measured), "--plot", str(drawn)]
    assert cli.main(["bench", "--ops", "layer", "--threads", "1", *files]) == 0
    results = json.loads(measured.read_text())
    assert results["machine"]["threads"] == 1
    ops = ["layer_norm", "layer_norm_backward", "add_layer_norm_forward"]
    assert [*dict.fromkeys(result["op"] for result in results["results"])] == ops
    for result in results["results"]:
        of_numpy = {"NumPy"} if result["dtype"] in ("float32", "float64") else set()
        assert set(result["seconds"]) == {"trimtab"} | of_numpy
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert [formatter(2.0) for formatter in formatters] == ["2×", "2×"]
    shown, progress = capsys.readouterr()
    assert "layer_norm\n  5x70" in shown
    assert "batch_norm" not in shown
    assert f"2/{len(results['results'])} layer_norm_backward 5x70" in progress


def test_an_interrupt_reports_the_cases_measured_so_far(few_cases, tmp_path, capsys, monkeypatch):
    def interrupted(case, *arguments):
        if case.op != "layer_norm":
            raise KeyboardInterrupt
        return measure(case, *arguments)

    said = []
    monkeypatch.setattr("trimtab.bench.print_status", said.append)
    monkeypatch.setattr("trimtab.bench.measure", interrupted)
    assert cli.main(["bench", "--quick", "--json", str(tmp_path / "bench.json")]) == 130
    assert said[0].endswith("layer_norm 5x70")
    assert said[-1] == ""  # removes the last line from a terminal
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
    """Small cases alone, five short rounds, no library that compiles."""
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


def test_an_operation_without_quick_cases_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("trimtab.bench.CASES", [Case("layer_norm", (2048, 1024))])
    assert cli.main(["bench", "--quick", "--ops", "layer"]) == 2
    assert "ops must have quick cases with --quick, got layer" in capsys.readouterr().err


def test_random_shapes_are_those_of_the_seed():
    first = random_cases(CASES, 3, 1, quick=False)
    assert first == random_cases(CASES, 3, 1, quick=False)
    assert not set(first) & set(random_cases(CASES, 3, 2, quick=False))
    norms = [case for case in CASES if case.op == "batch_norm"]
    drawn = random_cases(norms, 40, 1, quick=False)
    assert drawn[:3] == [case for case in first if case.op == "batch_norm"]
    assert {(len(case.shape), case.axis) for case in drawn} == {(len(c.shape), c.axis) for c in norms}


@pytest.mark.parametrize(("quick", "largest"), [(True, 2**20), (False, 2**24)])
def test_random_shapes_are_within_bounds(quick, largest):
    drawn = random_cases(CASES, 20, 3, quick)
    assert [case.op for case in drawn] == [op for op in dict.fromkeys(c.op for c in CASES) for _ in range(20)]
    assert largest / 4 < max(case.size for case in drawn) <= largest
    images = [case for case in drawn if len(case.shape) == 4]
    assert all(case.shape[case.axis] % (case.groups or 1) == 0 for case in images)
    assert all(case.size >= 16 * case.shape[case.axis] for case in images)
    assert all(min(case.shape) >= 8 for case in drawn if len(case.shape) == 2 and not case.weights)
    assert any(case.shape[1] % 2 for case in drawn)
    widths = [case.shape[-1] for case in drawn if case.op == "layer_norm"]
    assert max(widths) > 20 * min(widths)


def test_random_shapes_are_computed_right():
    for case in random_cases(CASES, 2, 5, quick=True):
        library = Trimtab()
        check(library, case, library.prepare(case, Inputs(case)), expect(case))


def test_the_summary_has_the_mean_and_the_worst_of_table_and_drawn_shapes(capsys):
    def timing(microseconds):
        return Timing(*[microseconds * 1e-6] * 3)

    def timings(best):
        return {"trimtab": timing(2), "slow": timing(90), "best": timing(best), "broken": WRONG}

    rows = [Case("layer_norm", (n, 8)) for n in (1, 2, 3)]
    alone = Case("relu", (8, 8))
    measurements = {rows[0]: timings(4), rows[1]: timings(16), rows[2]: timings(1)}
    report.summary(measurements | {alone: {"trimtab": timing(2)}}, rows[2:])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["best", "of", "the", "others", "shapes", "mean", "worst", "drawn", "mean", "worst"]
    assert lines[3:] == [
        ["layer_norm", "2", "4.00x", "2.00x", "1", "0.50x", "0.50x"],
        ["relu", "0", "0"],
        ["all", "2", "4.00x", "2.00x", "1", "0.50x", "0.50x"],
    ]
    doubtful = {"trimtab": timing(2), "best": Timing(4e-6, 1e-6, 4e-6)}
    report.summary({rows[0]: doubtful, rows[1]: timings(16)}, [])
    assert capsys.readouterr().out.split()[-4:] == ["all", "2", "~4.00x", "~2.00x"]


def test_bench_measures_random_shapes_beside_the_table(few_cases, capsys):
    """Cases of an operation are side by side."""
    assert cli.main(["bench", "--quick", "--ops", "mse", "huber", "--random", "2", "--seed", "3"]) == 0
    table, summary = capsys.readouterr().out.split("\n\n")
    drawn = random_cases([case for case in SMALL if case.op in ("mse", "huber")], 2, 3, quick=True)
    rows = [line.split()[0] for line in table.splitlines()[2:] if not line.startswith("~")]
    labels = [case.label for case in drawn]
    assert rows == ["mse", "5x70", *labels[:2], "huber", "5x70", *labels[2:]]
    assert [line.split()[4] for line in summary.splitlines()[2:]] == ["2", "2", "4"]
