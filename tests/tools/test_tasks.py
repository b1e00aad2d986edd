"""`trimtab info --tasks OP SHAPE`: the parallel steps of a call, their tasks and their threads."""

import numpy as np
import pytest
import trimtab as tt
from trimtab import _core, cli


def rows_of(capsys, *arguments):
    """The steps that the command shows: number, tasks, time, threads after a pause and in a series."""
    assert cli.main(["info", "--tasks", *arguments]) == 0
    title, _, header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["step", "tasks"]
    return title, [row.replace(",", "").split() for row in rows[:-2]]


@pytest.mark.parametrize("shape", ["64x256", "64,256"])
def test_rows_are_tasks_of_up_to_32(capsys, shape):
    title, rows = rows_of(capsys, "layer_norm", shape, "--threads", "8")
    assert title == "layer_norm 64x256, at most 8 threads"
    assert [row[:2] for row in rows] == [["1", "2"]]


def test_threads_are_bounded_by_the_option_the_tasks_and_the_cost(capsys):
    for threads in 1, 3, 64:
        _, rows = rows_of(capsys, "relu", "4096x4096", "--threads", str(threads))
        assert [row[-2:] for row in rows] == [[str(threads)] * 2]
    _, rows = rows_of(capsys, "layer_norm", "64x256", "--threads", "64")
    assert rows[0][-2:] == ["1", "2"]  # short: worth threads that are awake, and there are two tasks
    _, rows = rows_of(capsys, "layer_norm", "2x16", "--threads", "64")
    assert rows[0][-2:] == ["1", "1"]


def test_the_number_of_threads_is_as_before(capsys):
    tt.set_num_threads(2)
    rows_of(capsys, "relu", "64x64", "--threads", "5")
    assert tt.get_num_threads() == 2


def test_the_dtype_and_the_axis_are_those_given(capsys):
    title, _ = rows_of(capsys, "relu", "64x64", "--dtype", "float64")
    assert title.startswith("relu 64x64 float64,")
    first, _ = rows_of(capsys, "batch_norm_forward", "4x6x5x7")
    assert first.startswith("batch_norm_forward 4x6x5x7 NCHW,")
    last, _ = rows_of(capsys, "batch_norm_forward", "4x5x7x6", "--axis", "-1")
    assert last.startswith("batch_norm_forward 4x5x7x6 NHWC,")


@pytest.mark.parametrize("op", ["layer_norm_backward", "group_norm", "sgd_update", "dropout_forward", "mse"])
def test_operations_of_every_kind_are_shown(capsys, op):
    _, rows = rows_of(capsys, op, "6x48x12x12" if "group" in op else "64x48", "--threads", "2")
    assert rows
    assert all(int(row[1]) >= 1 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "relu", "0x3"], "info: SHAPE must be extents >= 1 such as 64x256, got '0x3'"),
        (["--tasks", "relu", "a"], "info: SHAPE must be extents >= 1 such as 64x256, got 'a'"),
        (["--tasks", "foo", "3"], "info: OP must be one of layer_norm, "),
        (["--tasks", "relu", "3", "--dtype", "int8"], "info: dtype must be one of bfloat16, "),
        (["--tasks", "relu", "3x4", "--axis", "2"], "info: axis must be in a shape of 2 axes, got 2"),
        (["--dtype", "float64"], "info: --dtype must go with --tasks, got 'float64' alone"),
        (["--axis", "1"], "info: --axis must go with --tasks, got 1 alone"),
        (["--threads", "1"], "info: --threads must go with --tasks, got 1 alone"),
    ],
)
def test_bad_options_are_refused_before_the_work(capsys, arguments, message):
    assert cli.main(["info", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_shape_that_does_not_suit_the_operation_is_named(capsys):
    assert cli.main(["info", "--tasks", "batch_norm_forward", "1x5"]) == 1
    assert "info: SHAPE must suit batch_norm_forward, got 1x5: " in capsys.readouterr().err


def test_runs_are_those_of_the_call_alone():
    x = np.ones((64, 256), np.float32)
    assert [run[0] for run in _core.runs_of(lambda: tt.layer_norm(x))] == [2]
    assert _core.runs_of(lambda: None) == []
    inner = []
    outer = _core.runs_of(lambda: [tt.layer_norm(x), inner.append(_core.runs_of(lambda: tt.layer_norm(x)))])
    assert len(outer) == len(inner[0]) == 1


def test_an_exception_of_the_call_is_passed_on():
    with pytest.raises(KeyError, match="mine"):
        _core.runs_of(lambda: {}["mine"])
    assert _core.runs_of(lambda: None) == []
    with pytest.raises(TypeError):
        _core.runs_of(3)


def test_empty_tasks_run_on_all_threads():
    for threads in (1, 3):
        tt.set_num_threads(threads)
        ((tasks, _, after_pause, in_series),) = _core.runs_of(lambda: _core.run_empty_tasks(50))
        assert (tasks, after_pause, in_series) == (50, threads, threads)
    with pytest.raises(ValueError, match=r"^run_empty_tasks: count must be an int >= 1, got 0$"):
        _core.run_empty_tasks(0)
    with pytest.raises(TypeError, match=r"^run_empty_tasks: count must be an int >= 1, got 1.5$"):
        _core.run_empty_tasks(1.5)
