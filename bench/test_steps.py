"""Whole training steps: forward, loss, backward, update."""

import pytest
from training_steps import steps


def pytest_generate_tests(metafunc):
    pairs = [
        pytest.param(net, library, id=f"{net} {library.__name__}")
        for net, library in steps(metafunc.config.option.quick)
    ]
    metafunc.parametrize(("net", "library"), pairs)


def test_step(timed, net, library):
    step = library(net)
    first = step()
    for _ in range(5):
        last = step()
    assert last < first
    timed(f"training step, {net}", step)
