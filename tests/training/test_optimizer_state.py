"""The state of an optimizer: state dicts, copies and pickles, masters, replaced arrays."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.optim import SGD, Constant, Cosine, Exponential, OneCycle, Polynomial, Step, Warmup

HALVES = ["float16", "bfloat16"]


def as_dtype(name):
    return pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else np.dtype(name)


def steps(optimizer, count, rng):
    """Steps with random gradients of unit variance."""
    for _ in range(count):
        for parameter in optimizer.parameters:
            parameter.grad[...] = rng.standard_normal(parameter.value.shape)
        optimizer.step()


class Weights(nn.Module):
    def __init__(self, values):
        self.weight = nn.Parameter(np.array(values, "f2"))


def test_masters_follow_loaded_parameters():
    """Only those that no longer round to their parameter; the others keep what rounding lost."""
    model = Weights([1.0, 1.0, 1.0])
    optimizer = SGD(model, lr=1e-4, masters=True)
    model.weight.grad[...] = 1
    optimizer.step()
    before = optimizer.state_dict()["master.0"]
    assert_allclose(before, 1 - 1e-4, rtol=1e-7)
    model.load_state_dict({"weight": [1.0, 3.0, np.nan]})
    assert_array_equal(optimizer.state_dict()["master.0"], [before[0], 3, np.nan])
    model.weight.grad[...] = 0
    optimizer.step()
    assert_array_equal(model.weight.value, np.array([1, 3, np.nan], "f2"))


def test_masters_of_a_checkpoint_are_restored_in_either_order():
    """Model and optimizer are loaded one after the other and continue with the saved bits."""
    saved = Weights([1.0, 0.5])
    first = SGD(saved, lr=1e-3, momentum=0.9, masters=True)
    saved.weight.grad[...] = 1
    first.step()
    states = saved.state_dict(), first.state_dict()
    first.step()
    for order in (0, 1), (1, 0):
        model = Weights([7.0, 8.0])
        second = SGD(model, lr=1e-3, momentum=0.9, masters=True)
        for which in order:
            (model, second)[which].load_state_dict(states[which])
        model.weight.grad[...] = 1
        second.step()
        assert_array_equal(second.state_dict()["master.0"], first.state_dict()["master.0"])
        assert_array_equal(model.weight.value, saved.weight.value)


@pytest.mark.parametrize("masters", [False, True])
def test_a_saved_state_continues_with_the_same_bits(masters, tmp_path):
    """Through a file, as in an uninterrupted run."""

    def start(seed):
        params = [
            nn.Parameter(np.random.default_rng(seed).standard_normal(5).astype("f2"), decay=i > 0)
            for i in range(3)
        ]
        return SGD(params, lr=Cosine(0.1, 20), momentum=0.9, weight_decay=0.1, masters=masters)

    whole, first, second = start(0), start(0), start(1)
    gradients = np.random.default_rng(2)
    steps(whole, 10, np.random.default_rng(2))
    steps(first, 4, gradients)
    np.savez(tmp_path / "state.npz", **first.state_dict())
    with np.load(tmp_path / "state.npz") as state:
        second.load_state_dict(state)
    for parameter, saved in zip(second.parameters, first.parameters, strict=True):
        parameter.value[...] = saved.value
    assert second.steps == 4
    steps(second, 6, gradients)
    for parameter, expected in zip(second.parameters, whole.parameters, strict=True):
        assert_array_equal(parameter.value, expected.value)
    with pytest.raises(ValueError, match=r"must have the arrays of the optimizer, got missing: momentum.0"):
        second.load_state_dict({"steps": 3})
    assert second.steps == 10


# ---- copies ----

COPIES = {"copied": copy.deepcopy, "pickled": lambda what: pickle.loads(pickle.dumps(what))}
OPTIONS = [
    {},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "l1": 0.01},
    {"momentum": 0.5, "dampening": 0.25, "masters": True, "max_norm": 0.5, "max_grad_norm": 1.0},
    {"lr": Cosine(0.1, 7), "decoupled": True, "weight_decay": 0.1, "skip_nonfinite": True},
    {"proximal": True, "l1": 0.2, "maximize": True, "decay_all": True, "zero_grad": True},
]


def mixed_groups(**options):
    """An optimizer of two groups with two dtypes; the second group has its own options."""
    draw = np.random.default_rng(0).standard_normal
    params = [nn.Parameter(draw(shape).astype(dtype)) for shape in ((3, 2), (3,)) for dtype in ("f4", "f2")]
    groups = [{"parameters": params[:3]}, {"parameters": params[3:], "lr": 0.5, "momentum": 0.3}]
    if options.get("nesterov"):
        groups[1]["nesterov"] = False
    return SGD(groups, **({"lr": 0.1} | options))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_copy_is_independent_and_has_the_same_bits(how, options):
    original = mixed_groups(**options)
    steps(original, 3, np.random.default_rng(1))
    copied = COPIES[how](original)
    assert (copied.steps, copied.skipped) == (3, original.skipped)
    assert [group.lr for group in copied.groups] == [group.lr for group in original.groups]
    before = [parameter.value.copy() for parameter in original.parameters]
    steps(copied, 4, np.random.default_rng(2))
    for parameter, value in zip(original.parameters, before, strict=True):
        assert_array_equal(parameter.value, value)
    assert original.steps == 3
    steps(original, 4, np.random.default_rng(2))
    for one, other in zip(original.parameters, copied.parameters, strict=True):
        assert_array_equal(one.value, other.value)
        assert not np.shares_memory(one.value, other.value)
        assert not np.shares_memory(one.grad, other.grad)
    for name, array in original.state_dict().items():
        assert_array_equal(array, copied.state_dict()[name])


@pytest.mark.parametrize("how", COPIES)
def test_a_model_copied_with_its_optimizer_is_trained_by_the_copy(how):
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.BatchNorm(3))
    optimizer = SGD([{"parameters": model[1]}, {"parameters": [model[0]]}], lr=0.5, momentum=0.9)
    steps(optimizer, 1, np.random.default_rng(1))
    both, copied = COPIES[how]((model, optimizer))
    assert {*copied.parameters} == {*both.parameters()}
    assert not {*copied.parameters} & {*model.parameters()}
    kept = model.state_dict()
    expected = {name: array - 0.5 for name, array in both.state_dict().items()}
    copied_momenta = [slot for name, slot in copied.state_dict().items() if name.startswith("momentum")]
    for parameter, momentum in zip(copied.parameters, copied_momenta, strict=True):
        parameter.grad[...] = 1
        expected[parameter.name] = parameter.value - 0.5 * (np.float32(0.9) * momentum + 1)
    copied.step()
    for parameter in both.parameters():
        assert_allclose(parameter.value, expected[parameter.name], rtol=1e-6, atol=1e-7)
    for name, array in model.state_dict().items():
        assert_array_equal(array, kept[name])


def test_a_copy_of_a_copy_has_the_same_bits(rng):
    weight = nn.Parameter(np.ones(3))
    optimizer = SGD([weight], lr=1.0)
    again = pickle.loads(pickle.dumps(copy.deepcopy(optimizer)))
    again.parameters[0].grad[...] = 0.25
    again.step()
    assert_array_equal(again.parameters[0].value, 0.75)
    assert_array_equal(weight.value, 1)


# ---- learning rates in the state ----


def two_groups(first, second):
    return SGD(
        [{"parameters": nn.Parameter(np.ones(2)), "lr": lr} for lr in (first, second)], lr=1.0, momentum=0.9
    )


def rates(optimizer):
    """The learning rates of the groups, as the change by a gradient of 1 shows them."""
    before = [parameter.value.copy() for parameter in optimizer.parameters]
    for parameter in optimizer.parameters:
        parameter.grad[...] = 1
    momenta = [array for name, array in optimizer.state_dict().items() if name.startswith("momentum")]
    optimizer.step()
    return [
        float(((value - parameter.value) / (0.9 * momentum + 1))[0])
        for value, parameter, momentum in zip(before, optimizer.parameters, momenta, strict=True)
    ]


def test_learning_rates_set_by_hand_are_in_the_state():
    saved = two_groups(0.1, 0.2)
    saved.lr = 0.003
    restored = two_groups(0.1, 0.2)
    restored.load_state_dict(saved.state_dict())
    assert restored.lr == 0.003
    assert rates(restored) == pytest.approx([0.003, 0.003], rel=1e-9)


def test_each_group_gets_its_learning_rate_back():
    saved, restored = two_groups(0.3, 0.4), two_groups(0.1, 0.2)
    state = saved.state_dict()
    assert [(state[f"lr.{place}"], state[f"lr.{place}"].dtype) for place in (0, 1)] == [
        (0.3, np.float64),
        (0.4, np.float64),
    ]
    restored.load_state_dict(state)
    assert rates(restored) == pytest.approx([0.3, 0.4], rel=1e-9)


def test_a_schedule_continues_at_the_saved_step():
    saved, restored = two_groups(Step(0.8, 2, 0.5), 0.3), two_groups(Step(0.8, 2, 0.5), 0.1)
    for _ in range(5):
        saved.step()
    state = saved.state_dict()
    assert state.keys() >= {"schedule.0", "lr.1"}
    assert "lr.0" not in state
    restored.load_state_dict(state)
    assert restored.steps == 5
    assert rates(restored) == pytest.approx([0.2, 0.3], rel=1e-9)
    assert rates(restored) == pytest.approx([0.1, 0.3], rel=1e-9)


def test_numbers_and_schedules_replace_one_another():
    number, schedule = two_groups(0.5, 0.5), two_groups(Cosine(0.2, 9), Step(0.8, 1))
    states = number.state_dict(), schedule.state_dict()
    schedule.load_state_dict(states[0])
    assert rates(schedule) == pytest.approx([0.5, 0.5])
    number.load_state_dict(states[1])
    assert rates(number) == pytest.approx([0.2, 0.8])
    assert rates(number) == pytest.approx([Cosine(0.2, 9)(1), 0.08])


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(0.5),
        Step(0.8, 3),
        Exponential(0.1, 7, factor=0.5),
        Polynomial(0.1, 50, power=2, end=0.01),
        Cosine(0.8, 10, end=0.2),
        Warmup(4, Warmup(2, Cosine(0.6, 20, end=0.1))),
        OneCycle(1.0, 50, rise=0.2),
    ],
    ids=repr,
)
def test_every_schedule_is_restored_with_its_options(schedule, tmp_path):
    saved = SGD(nn.Parameter(np.ones(2)), schedule)
    np.savez(tmp_path / "state.npz", **saved.state_dict())
    restored = SGD(nn.Parameter(np.ones(2)), 0.125)
    with np.load(tmp_path / "state.npz") as state:
        restored.load_state_dict(state)
    assert restored.groups[0].schedule == schedule


@pytest.mark.parametrize("make", [lambda own: own, lambda own: Warmup(0, own)], ids=["plain", "in a warm-up"])
def test_a_function_is_not_in_the_state_and_must_be_there(make):
    """A group that was saved with a function keeps its own function, but a number is refused."""
    own = make(lambda step: 0.5 / (step + 1))
    saved, restored = two_groups(own, 0.3), two_groups(make(lambda step: 0.25 / (step + 1)), 0.1)
    saved.step()
    restored.load_state_dict(saved.state_dict())
    assert [group.lr for group in restored.groups] == [0.125, 0.3]
    number = two_groups(0.5, 0.1)
    with pytest.raises(
        ValueError, match=r"^load_state_dict: lr of group '0' must be the function .* got 0\.5$"
    ):
        number.load_state_dict(saved.state_dict())
    assert [group.lr for group in number.groups] == [0.5, 0.1]
    assert number.steps == 0


def test_the_state_of_other_groups_is_refused_by_name():
    def named(*names):
        groups = {name: {"parameters": nn.Parameter(np.ones(2))} for name in names}
        return SGD(groups, lr=0.5)

    saved = named("body", "head")
    saved.groups["head"].lr = 0.125
    restored = named("body", "head")
    restored.load_state_dict(saved.state_dict())
    assert [group.lr for group in restored.groups] == [0.5, 0.125]
    for other, message in (
        (named("body", "tail"), "missing: lr.tail"),
        (SGD([nn.Parameter(np.ones(2)) for _ in range(2)], 0.5), "extra: lr.body, lr.head"),
    ):
        with pytest.raises(ValueError, match=f"must have the arrays of the optimizer, got {message}$"):
            other.load_state_dict(saved.state_dict())
        assert other.lr == 0.5


def notes(text):
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize(
    "damaged",
    [
        notes("{"),
        notes("3"),
        notes("{}"),
        notes('{"kind": "Constant"}'),
        notes('{"kind": "Constant", "lr": -1}'),
        notes('{"kind": "_CheckedSchedule"}'),
        notes('{"kind": "Warmup", "steps": 3, "schedule": 0.1}'),
        notes("[" * 100_000),
        np.full(3, 300),
        "Cosine",
        None,
    ],
    ids=lambda damaged: repr(damaged)[:40],
)
def test_a_damaged_schedule_changes_nothing(damaged):
    optimizer = two_groups(0.1, 0.2)
    steps(optimizer, 2, np.random.default_rng(0))
    before = optimizer.state_dict()
    state = before | {"schedule.0": damaged, "steps": 9}
    del state["lr.0"]
    with pytest.raises(
        ValueError, match=r"^load_state_dict: schedule.0 must be a schedule of trimtab.optim, g"
    ):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(after[name], array) for name, array in before.items())


def test_a_state_whose_names_are_no_text_is_refused():
    optimizer = two_groups(0.1, 0.2)
    with pytest.raises(ValueError, match=r"^load_state_dict: state must have .*; extra: 1$"):
        optimizer.load_state_dict({1: 2})


def test_a_state_without_learning_rates_is_taken():
    saved, restored = two_groups(0.3, 0.3), two_groups(0.1, 0.2)
    saved.step()
    older = {name: a for name, a in saved.state_dict().items() if not name.startswith(("lr.", "skipped"))}
    restored.skipped = 7
    restored.load_state_dict(older)
    assert (restored.steps, restored.skipped) == (1, 0)
    assert rates(restored) == pytest.approx([0.1, 0.2], rel=1e-9)


def test_the_count_of_skipped_steps_continues():
    saved = SGD([nn.Parameter(np.ones(2))], 0.1, skip_nonfinite=True)
    saved.parameters[0].grad[...] = np.nan
    saved.step()
    restored = SGD([nn.Parameter(np.ones(2))], 0.1, skip_nonfinite=True)
    restored.load_state_dict(saved.state_dict())
    assert (restored.steps, restored.skipped) == (0, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lr.1": np.nan}, ValueError, "lr.1 must be finite and >= 0, got nan"),
        ({"lr.0": -1.0}, ValueError, r"lr.0 must be finite and >= 0, got -1\.0"),
        ({"lr.0": "fast"}, TypeError, "lr.0 must be a number, got 'fast'"),
        ({"lr.0": np.ones(2)}, TypeError, "lr.0 must be a number, got array"),
        ({"lr.2": 0.1}, ValueError, "state must have the arrays of the optimizer, got extra: lr.2"),
        ({"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        ({"steps": 1.5}, TypeError, "steps must be an int, got 1.5"),
        ({"skipped": -2}, ValueError, "skipped must be at least 0, got -2"),
        ({"momentum.1": np.ones(3)}, ValueError, "state must have .* misshapen: momentum.1"),
        ({"momentum.2": np.ones(2)}, ValueError, "state must have .* extra: momentum.2"),
    ],
)
def test_a_wrong_state_changes_nothing(change, error, message):
    optimizer = two_groups(0.1, 0.2)
    steps(optimizer, 2, np.random.default_rng(0))
    before = optimizer.state_dict()
    with pytest.raises(error, match=f"^load_state_dict: {message}"):
        optimizer.load_state_dict(before | {"momentum.0": np.full(2, 9.0)} | change)
    after = optimizer.state_dict()
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert_array_equal(after[name], array)


def test_a_state_is_a_mapping():
    for bad in (None, [1], "state"):
        with pytest.raises(TypeError, match=r"^load_state_dict: state must be a mapping of arrays, got "):
            two_groups(0.1, 0.2).load_state_dict(bad)


# ---- masters and values written by the user ----


@pytest.mark.parametrize("dtype", HALVES)
def test_masters_follow_values_written_by_the_user(dtype):
    """Bit for bit where values were written; the others keep what rounding lost."""
    weight = nn.Parameter(np.ones(4, as_dtype(dtype)))
    optimizer = SGD([weight], lr=1e-4, masters=True)
    weight.grad[...] = 1
    optimizer.step()
    weight.value[1:3] = 3, -0.0
    weight.value[3] = np.nan
    optimizer.step()
    lost = np.float32(1) - np.float32(1e-4) - np.float32(1e-4)
    expected = [lost, np.float32(3) - np.float32(1e-4), -np.float32(1e-4), np.nan]
    assert_array_equal(optimizer.state_dict()["master.0"], np.array(expected, "f4"))
    for _ in range(100):
        optimizer.step()
    assert_allclose(weight.value.astype("f4")[:3], [1 - 0.0102, 3 - 0.0101, -0.0101], rtol=5e-3)


@pytest.mark.parametrize("dtype", HALVES)
def test_masters_follow_between_a_step_and_a_state_dict(dtype):
    weight = nn.Parameter(np.ones((2, 2), as_dtype(dtype)))
    optimizer = SGD([weight], lr=1e-3, masters=True, max_norm=0.5)
    optimizer.step()
    weight.value[...] = 0.125
    assert_array_equal(optimizer.state_dict()["master.0"], np.full((2, 2), 0.125, "f4"))
    weight.value[...] = 8
    optimizer.step()
    assert_allclose(optimizer.state_dict()["master.0"], 0.5 / 2**0.5, rtol=1e-6)


# ---- replaced arrays ----


def test_a_replaced_array_is_trained(rng):
    """Replaced by assignment or through the state of the parameter."""
    weight = nn.Parameter(rng.standard_normal(3))
    other = nn.Parameter(rng.standard_normal(3))
    optimizer = SGD([weight, other], lr=0.5, momentum=0.5)
    for parameter in (weight, other):
        parameter.grad[...] = 1
    optimizer.step()
    weight.value = np.array([1.0, 2.0, 3.0])
    weight.grad = np.array([2.0, 2.0, 4.0])
    optimizer.step()
    assert_array_equal(weight.value, [1 - 0.5 * 2.5, 2 - 0.5 * 2.5, 3 - 0.5 * 4.5])


def test_arrays_that_come_with_a_state_are_trained():
    weight = nn.Parameter(np.ones(3))
    optimizer = SGD([weight], lr=0.5)
    copied = copy.deepcopy(weight)
    copied.value[...] = 7
    copied.grad[...] = 2
    state = copied.__reduce_ex__(4)[2]
    if isinstance(state, dict):
        vars(weight).update(state)
    else:  # of slots
        for name, array in state[1].items():
            setattr(weight, name, array)
    optimizer.step()
    assert_array_equal(weight.value, 6)


def test_arrays_that_can_no_longer_be_written_stop_the_step_before_it_begins():
    first, second = (nn.Parameter(np.ones(3, dtype)) for dtype in ("f4", "f8"))
    optimizer = SGD({"first": first, "second": second}, lr=0.5, momentum=0.5)
    for parameter in (first, second):
        parameter.grad[...] = 1
    second.value.flags.writeable = False
    with pytest.raises(ValueError, match=r"^SGD: second must be writeable, got a read-only value$"):
        optimizer.step()
    assert_array_equal(first.value, 1)
    assert optimizer.steps == 0
    second.value.flags.writeable = True
    optimizer.step()
    for parameter in (first, second):
        assert_array_equal(parameter.value, 0.5)
