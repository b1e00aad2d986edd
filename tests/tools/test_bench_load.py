"""What the benchmark notices of other load, read from files like the system's."""

import importlib
from time import perf_counter, process_time, thread_time

import pytest
from trimtab import cli
from trimtab.bench import load
from trimtab.bench.cases import Case
from trimtab.bench.load import Load, Moment, rest
from trimtab.bench.peers.trimtab import Trimtab

measure = importlib.import_module("trimtab.bench.measure")  # the package has a function of this name

START = Moment(wall=0.0, busy=10.0, own=1.0, waited=2.0, throttled=3.0)


def at(monkeypatch, *clocks):
    monkeypatch.setattr(Moment, "now", classmethod(lambda cls: cls(*clocks)))


def test_load_is_relative_to_the_wall_time(monkeypatch):
    at(monkeypatch, 2.0, 13.5, 3.0, 2.5, 3.25)
    assert Load.since(START) == Load(seconds=2.0, waiting=0.375, others=0.75)


def test_clocks_that_run_at_different_rates_give_no_negative_load(monkeypatch):
    at(monkeypatch, 2.0, 10.5, 3.0, 2.0, 3.0)
    assert Load.since(START) == Load(seconds=2.0, waiting=0.0, others=0.0)


@pytest.mark.parametrize(
    ("seconds", "waiting", "others", "threads", "disturbs"),
    [
        (0.01, 0.11, 0.0, 1, True),
        (0.01, 0.09, 0.0, 1, False),
        (0.2, 0.0, 0.3, 4, True),
        (0.2, 0.0, 0.2, 4, False),
        (0.2, 0.0, 0.3, 9, True),
        (0.2, 0.0, 0.9, 3, False),  # one CPU is left for others
        (0.2, 0.0, 1.3, 3, True),
        (0.1, 0.0, 2.0, 4, False),  # too short for the clock of /proc/stat
    ],
)
def test_a_load_disturbs_if_threads_wait_or_cpus_are_missing(
    seconds, waiting, others, threads, disturbs, monkeypatch
):
    monkeypatch.setattr(load, "cpus", lambda: {0, 1, 2, 3})
    assert Load(seconds, waiting, others).disturbs(threads) is disturbs


def test_only_the_cpus_of_the_process_count(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 0 0\n"
        "cpu0 100 20 3 7000 900 4 5 6 50 50\n"
        "cpu1 1000 1000 1000 1000 1000 1000 1000 1000 0 0\n"
        "cpu10 200 0 0 0 0 0 0 0 0 0\n"
        "intr 12345\n"
    )
    monkeypatch.setattr(load, "STAT", stat)
    monkeypatch.setattr(load, "cpus", lambda: {0, 10})
    monkeypatch.setattr(load.os, "sysconf", {"SC_CLK_TCK": 100}.__getitem__)
    assert load.busy_seconds() == 3.38


def test_the_waiting_of_every_thread_counts(monkeypatch, tmp_path):
    for thread, schedule in {"1": "7 1500000000 3\n", "2": "9 500000000 1\n"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(schedule)
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "schedstat").write_text("")
    monkeypatch.setattr(load, "TASKS", tmp_path)
    assert load.waited_seconds() == 2.0


@pytest.mark.parametrize(
    ("text", "key", "unit", "seconds"),
    [
        ("nr_periods 5\nthrottled_usec 2500000\n", "throttled_usec", 1e-6, 2.5),
        ("nr_throttled 5\nthrottled_time 2500000000\n", "throttled_time", 1e-9, 2.5),
        ("nr_throttled 5\n", "throttled_time", 1e-9, 0.0),
    ],
)
def test_quotas_of_both_versions_of_control_groups_count(text, key, unit, seconds, monkeypatch, tmp_path):
    (tmp_path / "cpu.stat").write_text(text)
    files = {str(tmp_path / "missing"): ("other", 1.0), str(tmp_path / "cpu.stat"): (key, unit)}
    monkeypatch.setattr(load, "CPU_TIMES", files)
    assert load.throttled_seconds() == pytest.approx(seconds)


def test_a_system_without_these_files_has_no_load(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "STAT", tmp_path / "stat")
    monkeypatch.setattr(load, "TASKS", tmp_path)
    monkeypatch.setattr(load, "CPU_TIMES", {str(tmp_path / "cpu.stat"): ("throttled_usec", 1e-6)})
    now = Moment.now()
    assert (now.busy, now.waited, now.throttled) == (0, 0, 0)
    assert now.wall > 0 < now.own


def test_rest_waits_for_threads_that_spin(monkeypatch):
    """Here they stop after a tenth of a second, on a machine that gives them a CPU until then."""
    began = perf_counter()
    monkeypatch.setattr(load, "thread_time", lambda: 0.0)
    monkeypatch.setattr(load, "process_time", lambda: min(perf_counter() - began, 0.1))
    rest()
    assert perf_counter() - began >= 0.1


def test_rest_ends_at_once_in_silence_and_always_ends(monkeypatch):
    sleeps = []
    monkeypatch.setattr(load, "sleep", sleeps.append)
    monkeypatch.setattr(load, "thread_time", lambda: 0.0)
    monkeypatch.setattr(load, "process_time", lambda: 0.0)
    rest()
    assert sleeps == [load.REST_SECONDS]
    clock = iter(range(1000))
    monkeypatch.setattr(load, "process_time", lambda: float(next(clock)))
    monkeypatch.setattr(load, "perf_counter", iter([0.0, *(n / 10 for n in range(100))]).__next__)
    rest()
    assert 1 < len(sleeps) < 10
    assert process_time() >= 0 <= thread_time()


def test_disturbed_blocks_are_repeated_and_marked(monkeypatch):
    loads = []
    monkeypatch.setattr(measure, "rest", lambda: None)
    monkeypatch.setattr(Load, "since", classmethod(lambda cls, start: cls(0.01, loads.pop(0), 0.0)))
    calls = []
    loads[:] = [1.0, 1.0, 0.0, 1.0]
    assert measure.undisturbed(lambda: calls.append(1), 3)[1] is False
    assert (len(calls), len(loads)) == (3 * 4, 1)
    loads[:] = [1.0, 1.0, 1.0, 0.0]
    assert measure.undisturbed(lambda: None, 1)[1] is True
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("waiting", "others", "disturbed"), [(0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.0, 64.0, 1.0)]
)
def test_timings_say_how_many_blocks_were_disturbed(waiting, others, disturbed, monkeypatch):
    """A block is too short to see other processes; all blocks of a case together are not."""
    blocks = []

    def since(cls, start):
        blocks.append(start)
        long = not waiting and len(blocks) > 2
        return cls(1.0 if long else 0.01, waiting, others)

    monkeypatch.setattr(Load, "since", classmethod(since))
    monkeypatch.setattr(load, "cpus", lambda: {0})
    timing = measure.measure(Case("layer_norm", (5, 7)), [Trimtab()], 2, 0.0)["trimtab"]
    assert timing.disturbed == disturbed
    assert timing.doubtful is bool(disturbed)


def test_bench_marks_doubtful_rows(monkeypatch, capsys):
    monkeypatch.setattr("trimtab.bench.CASES", [Case("layer_norm", (5, 7))])
    monkeypatch.setattr("trimtab.bench.installed", lambda quick: [Trimtab()])
    monkeypatch.setattr(Load, "disturbs", lambda self, threads: True)
    assert cli.main(["bench", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "5x7" in shown
    assert "~ doubtful" in shown
