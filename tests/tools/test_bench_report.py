"""Reports of the benchmark: what the numbers, the JSON file and the plot say."""

import json
from math import nan

import numpy as np
import pytest
import trimtab as tt
from trimtab.bench import report
from trimtab.bench.cases import Case, Weights
from trimtab.bench.measure import WRONG, Timing
from trimtab.bench.report import duration, three_digits, times_ours

NORM, WIDE_NORM, DROPOUT = (
    Case("layer_norm", (5, 70)),
    Case("layer_norm", (8, 900)),
    Case("dropout_forward", (5, 70), p=0.3),
)
MEASUREMENTS = {
    NORM: {"trimtab": Timing(2e-6, 1e-6, 3e-6), "slow": Timing(8e-6, 4e-6, 10e-6), "odd": WRONG},
    WIDE_NORM: {"trimtab": Timing(4e-3, 4e-3, 4e-3), "slow": Timing(2e-3, 1e-3, 3e-3)},
    DROPOUT: {"trimtab": Timing(0.5, 0.5, 0.5), "odd": Timing(1.0, 0.5, 1.5)},
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0.00"), (1.234, "1.23"), (9.994, "9.99"), (9.996, "10.0"), (12.34, "12.3"), (99.94, "99.9")),
        *((99.96, "100"), (123.4, "123"), (12345.6, "12346")),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert three_digits(value) == text


def test_durations_are_in_microseconds_below_a_millisecond():
    texts = {2e-6: "2.00 µs", 0.99e-3: "990 µs", 1e-3: "1.00 ms", 1.01e-3: "1.01 ms", 0.25: "250 ms"}
    assert {seconds: duration(seconds) for seconds in texts} == texts
    assert duration(12.3e-6, "u") == "12.3 us"


def test_ratios_are_times_of_ours():
    timings = {"trimtab": Timing(2.0, 2, 2), "a": Timing(5.0, 5, 5), "b": Timing(1.0, 1, 1), "c": WRONG}
    assert [times_ours(timings, name) for name in ("a", "b", "c", "d")] == ["2.50x", "0.50x", "wrong", ""]
    assert report.others(MEASUREMENTS) == ["slow", "odd"]


def test_the_spread_is_half_the_interquartile_range():
    assert Timing(4.0, 3.0, 5.0).spread == 0.25
    assert np.isnan(Timing(nan, nan, nan).spread)


def test_json_has_the_cases_the_seconds_and_the_machine(tmp_path):
    path = tmp_path / "bench.json"
    update = Case("penalty", (3, 4), weights=Weights("few", ((3, 4), (5,))))
    report.write_json({**MEASUREMENTS, update: {"trimtab": Timing(1.0, 0.5, 2.0)}}, path)
    assert path.read_text().endswith("}\n")
    written = json.loads(path.read_text())
    assert written["machine"] == {
        "trimtab": tt.__version__,
        "isa": tt.isa(),
        "threads": tt.get_num_threads(),
        "numpy": np.__version__,
    }
    norm, _, dropout, weights = written["results"]
    case = {"axis": -1, "groups": None, "p": None, "weights": None}
    assert {name: norm[name] for name in ("op", "shape", *case)} == {
        **case,
        "op": "layer_norm",
        "shape": [5, 70],
    }
    assert norm["seconds"]["odd"] is None
    quartiles = {"median": 8e-6, "lower": 4e-6, "upper": 10e-6}
    assert {name: norm["seconds"]["slow"][name] for name in quartiles} == quartiles
    assert dropout["p"] == 0.3
    assert weights["weights"] == {"name": "few", "shapes": [[3, 4], [5]]}


@pytest.fixture
def axes(tmp_path, monkeypatch):
    """The axes of the plot of MEASUREMENTS."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    drawn = []
    save = figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda self, path: (drawn.append(self), save(self, path)))
    report.plot(MEASUREMENTS, tmp_path / "bench.png")
    (figure,) = drawn
    assert figure.get_figwidth() == 9
    assert figure.get_figheight() == pytest.approx(1 + 0.2 * 5)  # 2 operations and 3 cases
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["slow", "odd", "trimtab"]
    (axes,) = figure.axes
    return axes


def test_the_plot_has_a_row_for_each_operation_and_case(axes):
    labels = {label.get_text(): (place, label.get_weight()) for place, label in labeled(axes.yaxis)}
    assert labels == {
        "layer_norm": (0, "bold"),
        "5x70": (1, "normal"),
        "8x900": (2, "normal"),
        "dropout_forward": (3, "bold"),
        "5x70 p=0.3": (4, "normal"),
    }
    bottom, top = axes.get_ylim()
    assert bottom > 4 and top < 0


def labeled(axis):
    return zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)


def test_the_plot_shows_ratios_and_quartiles(axes):
    points = {
        scatter.get_label(): scatter.get_offsets().tolist()
        for scatter in axes.collections
        if scatter.get_label() in ("slow", "odd")
    }
    assert points["slow"] == [[4, 1], [0.5, 2]]
    assert points["odd"][1] == [2, 4]
    assert points["odd"][0] == [None, None]  # wrong: nowhere
    segments = [
        [*map(tuple, s.round(9).tolist())]
        for lines in axes.collections
        if hasattr(lines, "get_segments")
        for s in map(np.array, lines.get_segments())
    ]
    for low, high, place in ((2, 5, 1), (0.25, 0.75, 2), (1, 3, 4)):
        assert [(low, place), (high, place)] in segments
    for place in (1, 2, 4):  # guides across the whole width
        assert [(0, place), (1, place)] in segments
    assert axes.get_xscale() == "log"
    (ours,) = axes.lines
    assert ours.get_xdata()[0] == 1
    shaded = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert shaded.x1 == pytest.approx(1)
    assert shaded.x0 == pytest.approx(axes.get_xlim()[0])


def test_the_plot_names_times_and_wrong_results(axes):
    texts = {(text.get_text(), text.xy) for text in axes.texts}
    assert texts == {
        ("odd: wrong", (1, 1)),
        ("2.00 µs", (1, 1)),
        ("4.00 ms", (1, 2)),
        ("500 ms", (1, 4)),
        ("trimtab", (1, -0.9)),
    }
    right = {text.get_text() for text in axes.texts if text.xycoords == ("axes fraction", "data")}
    assert right == {"2.00 µs", "4.00 ms", "500 ms", "trimtab"}
    assert {text.get_fontsize() for text in axes.texts} == {8}
    assert {text.get_position()[1] for text in axes.texts} == {0}
    assert all(text.get_position()[0] > 0 and text.get_va() == "center" for text in axes.texts)
    assert axes.get_xlabel().startswith(f"time of a call, as a multiple of trimtab's ({tt.isa()}, threads: ")
