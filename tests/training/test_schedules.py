"""Schedules of the learning rate: the formula at every step, and refused arguments."""

import copy
import pickle
from math import cos, pi

import numpy as np
import pytest
from trimtab.optim import Constant, Cosine, Exponential, OneCycle, Polynomial, Step, Warmup

STEPS = range(60)


def half_cosine(begin, end, progress):
    return end + (begin - end) * (1 + cos(pi * min(progress, 1))) / 2


SHAPES = [
    (Constant(0.5), lambda t: 0.5),
    (Step(0.8, 3), lambda t: 0.8 * 0.1 ** (t // 3)),
    (Step(0.8, every=7, factor=1.5), lambda t: 0.8 * 1.5 ** (t // 7)),
    (Step(0.8, every_steps=7, factor=0.5), lambda t: 0.8 * 0.5 ** (t // 7)),
    (Exponential(0.8, 7), lambda t: 0.8 * 0.1 ** (t / 7)),
    (Exponential(0.8, every_steps=1, factor=1.5), lambda t: 0.8 * 1.5**t),
    (Polynomial(0.8, 10), lambda t: 0.8 * max(1 - t / 10, 0)),
    (Polynomial(0.8, 40, power=2.5, end=0.2), lambda t: 0.2 + 0.6 * max(1 - t / 40, 0) ** 2.5),
    (Polynomial(0.1, steps=7, end=0.4), lambda t: 0.4 - 0.3 * max(1 - t / 7, 0)),
    (Cosine(0.8, 10, end=0.2), lambda t: half_cosine(0.8, 0.2, t / 10)),
    (Cosine(0.1, 50, 0.4), lambda t: half_cosine(0.1, 0.4, t / 50)),
    (Cosine(1.0, 1), lambda t: float(t < 1)),
    (Warmup(4, Constant(1.0)), lambda t: min((t + 1) / 5, 1)),
    (Warmup(0, Step(1.0, 2)), lambda t: 0.1 ** (t // 2)),
    (
        Warmup(5, Cosine(0.6, 20, end=0.1)),
        lambda t: 0.6 * (t + 1) / 6 if t < 5 else half_cosine(0.6, 0.1, (t - 5) / 20),
    ),
    (Warmup(3, lambda step: 1 / (step + 2)), lambda t: 0.5 * (t + 1) / 4 if t < 3 else 1 / (t - 1)),
    (
        OneCycle(1.0, 50),
        lambda t: half_cosine(0.04, 1.0, t / 15) if t < 15 else half_cosine(1.0, 1e-5, (t - 15) / 35),
    ),
    (
        OneCycle(0.2, 7, rise=0.5),
        lambda t: half_cosine(0.008, 0.2, t / 3.5) if t < 3.5 else half_cosine(0.2, 2e-6, (t - 3.5) / 3.5),
    ),
]
SCHEDULES = [schedule for schedule, _ in SHAPES if "<lambda>" not in repr(schedule)]


@pytest.mark.parametrize(("schedule", "formula"), SHAPES, ids=range(len(SHAPES)))
def test_every_step_follows_the_formula(schedule, formula):
    for step in STEPS:
        assert schedule(step) == pytest.approx(formula(step), rel=1e-12, abs=1e-17)
        assert schedule(np.int64(step)) == schedule(step)


def test_ends_and_joints_are_exact():
    for begin, end in ((0.8, 0.2), (0.1, 0.7), (3e-4, 1e-7)):
        cosine = Cosine(begin, 13, end=end)
        assert [cosine(0), cosine(13), cosine(14), cosine(10**400)] == [begin, end, end, end]
        line = Polynomial(begin, 13, power=1.5, end=end)
        assert [line(0), line(13), line(14), line(10**400)] == [begin, end, end, end]
        assert [Warmup(6, cosine)(6), Warmup(6, cosine)(19)] == [begin, end]
        for rise in (0.1, 0.3, 0.7):
            cycle = OneCycle(begin, 10, rise=rise)
            assert cycle(0) == begin / 25
            assert cycle(round(10 * rise)) == begin
            assert [cycle(10), cycle(11), cycle(10**400)] == [begin / 1e5] * 3


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_are_defined_for_any_step(schedule):
    for step in (10**6, 2**63, 10**400):
        assert 0 <= schedule(step) < np.inf


@pytest.mark.parametrize("kind", [Step, Exponential])
def test_growing_rates_stay_finite(kind):
    assert kind(0.0, 1, factor=2.0)(5000) == 0
    for lr in (0.25, 3.0, 1e300):
        for step in (30, 1020, 1023, 5000):
            assert lr < kind(lr, 1, factor=2.0)(step) < np.inf
    assert kind(0.25, 1, factor=2.0)(5000) > 1e300


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_steps_are_counted_from_0(schedule):
    name = type(schedule).__name__
    with pytest.raises(ValueError, match=f"^{name}: step must be at least 0, got -1$"):
        schedule(-1)
    for bad in (1.0, "1", True, None):
        with pytest.raises(TypeError, match=f"^{name}: step must be an int, got {bad!r}$"):
            schedule(bad)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_are_equal_by_value_and_can_be_pickled(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)


NOT_POSITIVE_INTS = [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError), ("3", TypeError)]
NOT_RATES = [
    *((value, ValueError) for value in (-0.1, np.nan, np.inf, 10**400)),
    *((value, TypeError) for value in (True, "0.1", None, [0.1], 1j)),
]
MAKERS = {
    "Constant: lr": (Constant, NOT_RATES),
    "Step: lr": (lambda lr: Step(lr, 3), NOT_RATES),
    "Cosine: lr": (lambda lr: Cosine(lr, 3), NOT_RATES),
    "Cosine: end": (lambda end: Cosine(0.1, 3, end=end), NOT_RATES),
    "OneCycle: lr": (lambda lr: OneCycle(lr, 3), NOT_RATES),
    "Step: every_steps": (lambda every_steps: Step(0.1, every_steps), NOT_POSITIVE_INTS),
    "Step: every": (lambda every: Step(0.1, every=every), NOT_POSITIVE_INTS),
    "Exponential: lr": (lambda lr: Exponential(lr, 3), NOT_RATES),
    "Exponential: every_steps": (lambda every_steps: Exponential(0.1, every_steps), NOT_POSITIVE_INTS),
    "Exponential: factor": (lambda factor: Exponential(0.1, 3, factor), [(0, ValueError), *NOT_RATES]),
    "Polynomial: lr": (lambda lr: Polynomial(lr, 3), NOT_RATES),
    "Polynomial: steps": (lambda steps: Polynomial(0.1, steps), NOT_POSITIVE_INTS),
    "Polynomial: power": (lambda power: Polynomial(0.1, 3, power), [(0, ValueError), *NOT_RATES]),
    "Polynomial: end": (lambda end: Polynomial(0.1, 3, end=end), NOT_RATES),
    "Cosine: steps": (lambda steps: Cosine(0.1, steps), NOT_POSITIVE_INTS),
    "OneCycle: steps": (lambda steps: OneCycle(0.1, steps), NOT_POSITIVE_INTS),
    "Warmup: steps": (lambda steps: Warmup(steps, Constant(1.0)), NOT_POSITIVE_INTS[1:]),
    "Step: factor": (lambda factor: Step(0.1, 3, factor), [(0, ValueError), *NOT_RATES]),
    "OneCycle: rise": (
        lambda rise: OneCycle(0.1, 3, rise),
        [(0, ValueError), (1, ValueError), (1.5, ValueError), *NOT_RATES],
    ),
    "Warmup: schedule": (
        lambda schedule: Warmup(3, schedule),
        [(0.1, TypeError), (None, TypeError), ("x", TypeError), (len, TypeError), (Cosine, TypeError)],
    ),
    r"Warmup: schedule\(0\)": (lambda rate: Warmup(3, lambda step: rate), NOT_RATES),
}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [(name, value, error) for name, (_, cases) in MAKERS.items() for value, error in cases],
)
def test_wrong_arguments_are_refused(name, value, error):
    with pytest.raises(error, match=f"^{name} must be .*, got ") as raised:
        MAKERS[name][0](value)
    assert str(value) in str(raised.value)


def test_errors_of_functions_name_the_schedule():
    """Also those that occur at a later step."""
    with pytest.raises(ValueError, match=r"^Warmup: schedule\(2\) must be finite and >= 0, got -1$"):
        Warmup(1, lambda step: 1 - step)(3)


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(1), np.array(0.25)])
def test_numbers_of_numpy_are_taken(number):
    schedule = Warmup(np.int8(2), Step(number, np.uint16(3), number))
    assert type(schedule(1)) is float
    assert schedule(5) == number * number


def test_a_step_needs_its_interval_once():
    with pytest.raises(TypeError, match=r"^Step: every_steps must be an int, got None$"):
        Step(0.1)
    with pytest.raises(TypeError, match=r"^Step: every must not be given beside every_steps, got 4$"):
        Step(0.1, 3, every=4)
    assert Step(0.1, every=3) == Step(0.1, every_steps=3) == Step(0.1, 3)


# ---- from epochs ----


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Step.from_epochs(0.1, every_epochs=2, batches_per_epoch=50), Step(0.1, 100)),
        (Step.from_epochs(0.1, 2, 0.5, batches_per_epoch=50), Step(0.1, 100, 0.5)),
        (Exponential.from_epochs(lr=0.1, every_epochs=3, batches_per_epoch=7), Exponential(0.1, 21)),
        (Polynomial.from_epochs(0.1, 4, power=2, batches_per_epoch=5), Polynomial(0.1, 20, 2)),
        (Cosine.from_epochs(0.1, epochs=30, end=0.01, batches_per_epoch=480), Cosine(0.1, 14400, 0.01)),
        (OneCycle.from_epochs(0.1, np.int64(3), batches_per_epoch=np.int8(10)), OneCycle(0.1, 30)),
        (Warmup.from_epochs(0.5, Constant(0.1), batches_per_epoch=11), Warmup(6, Constant(0.1))),
        (Warmup.from_epochs(1e-9, Constant(0.1), batches_per_epoch=11), Warmup(1, Constant(0.1))),
        (Constant.from_epochs(0.1, batches_per_epoch=11), Constant(0.1)),
    ],
    ids=repr,
)
def test_epochs_are_counted_in_updates(made, expected):
    assert made == expected


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Cosine.from_epochs(0.1, 0, batches_per_epoch=5),
            ValueError,
            "Cosine: epochs must be .*got 0",
        ),
        (lambda: Cosine.from_epochs(0.1, "3", batches_per_epoch=5), TypeError, "Cosine: epochs .*got '3'"),
        (
            lambda: Step.from_epochs(0.1, every_epochs=np.nan, batches_per_epoch=5),
            ValueError,
            "Step: every_epochs must be finite and > 0, got nan",
        ),
        (
            lambda: Cosine.from_epochs(0.1, 3, batches_per_epoch=0),
            ValueError,
            "Cosine: batches_per_epoch must be at least 1, got 0",
        ),
        (
            lambda: Cosine.from_epochs(0.1, 3, batches_per_epoch=2.5),
            TypeError,
            "Cosine: batches_per_epoch must be an int, got 2.5",
        ),
        (
            lambda: Cosine.from_epochs(0.1, steps=3, batches_per_epoch=5),
            TypeError,
            "Cosine: epochs must be given, got steps=3",
        ),
        (
            lambda: Cosine.from_epochs(0.1, batches_per_epoch=5),
            TypeError,
            "Cosine: epochs must be given to from_epochs, got lr",
        ),
        (
            lambda: Cosine.from_epochs(0.1, 1e308, batches_per_epoch=100),
            ValueError,
            "Cosine: epochs \\* batches_per_epoch must be finite, got inf",
        ),
        (
            lambda: Cosine.from_epochs(0.1, 3, epochs=3, batches_per_epoch=5),
            TypeError,
            "Cosine: from_epochs must get lr, epochs, end, each once",
        ),
        (
            lambda: Cosine.from_epochs(0.1, 3, 0.0, 1, batches_per_epoch=5),
            TypeError,
            "Cosine: from_epochs must get lr, epochs, end, each once",
        ),
        (lambda: Cosine.from_epochs(-1.0, 3, batches_per_epoch=5), ValueError, "Cosine: lr .* got -1.0"),
        (lambda: Cosine.from_epochs(0.1, every_epochs=3, batches_per_epoch=5), TypeError, ".*every_epochs"),
    ],
)
def test_wrong_epochs_are_refused(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()
