"""Every kernel beside NumPy and each other installed library: a group for each operation and shape."""

from functools import lru_cache

import pytest
from trimtab.bench.cases import CASES, Inputs
from trimtab.bench.check import check, expect
from trimtab.bench.measure import OURS
from trimtab.bench.peers import installed
from trimtab.bench.random_cases import random_cases


@lru_cache(maxsize=1)  # the libraries of a case follow each other
def prepared(case):
    return Inputs(case), expect(case)


def pytest_generate_tests(metafunc):
    options = metafunc.config.option
    libraries = installed(options.quick)
    table = [case for case in CASES if case.quick or not options.quick]
    drawn = random_cases(table, options.random, options.seed, options.quick)
    pairs = [
        pytest.param(case, library, id=f"{case.op} {case.label} {library.name}")
        for case in dict.fromkeys([*table, *drawn])
        for library in libraries
        if library.has(case)
    ]
    metafunc.parametrize(("case", "library"), pairs)


def test_kernel(timed, case, library):
    inputs, expected = prepared(case)
    try:
        call = library.prepare(case, inputs)
        check(library, case, call, expected)
    except Exception as wrong:
        if library.name == OURS:
            raise
        pytest.skip(str(wrong).partition("\n")[0])
    timed(f"{case.op} {case.label}", call)
