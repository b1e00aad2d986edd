"""Whole training steps: forward, loss, backward, update."""

import numpy as np
import pytest
from training_steps import lab_steps, steps


def pytest_generate_tests(metafunc):
    quick = metafunc.config.option.quick
    if metafunc.function is test_step:
        cases = [pytest.param(*case, id=f"{case[0]} {case[1].__name__}") for case in steps(quick)]
        metafunc.parametrize(("net", "library"), cases)
    else:
        cases = [pytest.param(*case, id=f"{case[0]} {case[2].__name__}") for case in lab_steps(quick)]
        metafunc.parametrize(("experiment", "step", "library"), cases)


def test_step(timed, net, library):
    step = library(net)
    first = step()
    for _ in range(5):
        last = step()
    assert last < first
    timed(f"training step, {net}", step)


def test_step_of_the_lab(timed, experiment, step, library):
    train = library(step)
    losses = [train() for _ in range(30)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])  # means, as dropout makes them noisy
    timed(f"training step, lab {experiment}", train)
