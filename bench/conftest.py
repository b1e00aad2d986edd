"""Options and fixtures of the benchmarks: what is measured, with how many threads, and beside what load."""

import pytest
import trimtab as tt
from trimtab.bench.load import Load, Moment, rest
from trimtab.bench.measure import WIDEST
from trimtab.bench.peers import installed, use_threads

QUICK = {"benchmark_max_time": 0.02, "benchmark_min_rounds": 5}
doubtful = pytest.StashKey[list[str]]()


def pytest_addoption(parser):
    group = parser.getgroup("trimtab")
    group.addoption("--quick", action="store_true", help="small shapes, short rounds, nothing compiled")
    group.addoption("--random", type=int, default=0, metavar="K", help="also K random shapes for each kernel")
    group.addoption("--seed", type=int, default=0, help="seed of the random shapes")
    group.addoption("--threads", type=int, help="threads for every library (default: those of trimtab)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.stash[doubtful] = []
    given = " ".join(map(str, config.invocation_params.args))
    for option, value in QUICK.items():
        if config.option.quick and "--" + option.replace("_", "-") not in given:
            setattr(config.option, option, value)


@pytest.fixture(scope="session", autouse=True)
def _same_threads(pytestconfig):
    with use_threads(
        installed(pytestconfig.option.quick), pytestconfig.option.threads or tt.get_num_threads()
    ):
        yield


@pytest.fixture
def timed(request, benchmark):
    """A function that times a call in a group, after silence, and notes what others took meanwhile."""

    def time(group, call, **options):
        benchmark.group = group
        rest()
        start = Moment.now()
        result = benchmark.pedantic(call, **options) if options else benchmark(call)
        if benchmark.disabled:
            return result
        load = Load.since(start)
        benchmark.extra_info |= {"cpus_of_others": round(load.others, 2), "waiting": round(load.waiting, 3)}
        quartiles = benchmark.stats.stats
        if load.disturbs(tt.get_num_threads()) or quartiles.q3 > WIDEST * quartiles.q1:
            request.config.stash[doubtful].append(request.node.name)
        return result

    return time


@pytest.hookimpl(trylast=True)  # after the tables
def pytest_terminal_summary(terminalreporter, config):
    if names := config.stash[doubtful]:
        terminalreporter.section("doubtful: others took the CPUs, or the quartiles are far apart")
        for name in names:
            terminalreporter.line(name)
