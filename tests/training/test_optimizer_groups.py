"""The groups of an optimizer: found by number and by name, each with its own rate and options."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from trimtab import nn
from trimtab.optim import SGD, Cosine, Step


def body_and_head(**head):
    """Two weights of one, in two groups; steps by a gradient of 1 show the rates."""
    body, head_weight = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    return SGD({"body": {"parameters": body}, "head": {"parameters": head_weight} | head}, lr=0.5)


def step_lengths(optimizer):
    before = [parameter.value.copy() for parameter in optimizer.parameters]
    for parameter in optimizer.parameters:
        parameter.grad[...] = 1
    optimizer.step()
    changes = zip(before, optimizer.parameters, strict=True)
    return [float((value - parameter.value)[0]) for value, parameter in changes]


def test_groups_are_found_by_number_and_by_name():
    optimizer = body_and_head()
    groups = optimizer.groups
    assert groups.names == ("body", "head")
    assert [group.name for group in groups] == ["body", "head"]
    assert groups["head"] is groups[1] is groups[-1]
    assert groups[:1] == (groups["body"],)
    assert len(groups) == 2
    assert ("head" in groups, "tail" in groups, groups[0] in groups) == (True, False, True)
    assert groups["head"].parameters == [optimizer.parameters[1]]
    with pytest.raises(KeyError, match="SGD: groups must be one of body, head, got 'tail'"):
        groups["tail"]
    rule = "SGD: groups must be taken by name, or by number below 2, got"
    with pytest.raises(IndexError, match=f"^{rule} 2$"):
        groups[2]
    with pytest.raises(TypeError, match=rf"^{rule} 1\.0$"):
        groups[1.0]


def test_groups_without_names_have_their_numbers():
    layers = nn.Linear(2, 3, rng=0), nn.Linear(3, 2, rng=0), nn.Linear(2, 2, rng=0)
    groups = [
        {"parameters": layers[0]},
        {"parameters": layers[1], "name": "middle"},
        {"parameters": layers[2]},
    ]
    assert SGD(groups, lr=0.1).groups.names == ("0", "middle", "2")
    assert SGD(layers[0], lr=0.1).groups.names == ("0",)


def test_each_group_has_its_rate():
    optimizer = body_and_head()
    optimizer.groups["head"].lr = 0.25
    assert step_lengths(optimizer) == [0.5, 0.25]
    for group in optimizer.groups:
        group.lr *= 0.5
    assert step_lengths(optimizer) == [0.25, 0.125]
    optimizer.groups["body"].lr = Step(1.0, 3)  # its step 2 is next, and then its step 3
    assert step_lengths(optimizer) == [1.0, 0.125]
    assert step_lengths(optimizer) == [pytest.approx(0.1), 0.125]


def test_a_common_rate_is_read_and_set_and_others_are_refused():
    optimizer = body_and_head()
    optimizer.lr *= 0.5
    assert (optimizer.lr, step_lengths(optimizer)) == (0.25, [0.25, 0.25])
    optimizer.groups["head"].lr = 0.125
    message = r"^SGD: lr must be the same in all groups to be read, got 0\.25 \(body\), 0\.125 \(head\): use "
    with pytest.raises(AttributeError, match=message):
        optimizer.lr *= 0.5
    assert step_lengths(optimizer) == [0.25, 0.125]
    optimizer.lr = 1.0
    assert (optimizer.lr, step_lengths(optimizer)) == (1.0, [1.0, 1.0])


def test_a_common_schedule_is_read():
    """Schedules are common if they are equal, not if they have the same rate at one step."""
    optimizer = body_and_head(lr=0.5)
    optimizer.lr = Cosine(0.5, 10)
    step_lengths(optimizer)
    assert optimizer.lr == Cosine(0.5, 10)(1) == optimizer.groups["head"].lr
    optimizer.groups["head"].lr = Cosine(0.5, 10)
    assert optimizer.lr == Cosine(0.5, 10)(1)
    optimizer.groups["head"].lr = optimizer.lr
    with pytest.raises(AttributeError, match=r"got Cosine\(.*\) \(body\), 0\.4\d+ \(head\)"):
        optimizer.lr  # noqa: B018


def test_options_are_those_of_each_group():
    optimizer = body_and_head(weight_decay=0.5)
    assert [group.options.weight_decay for group in optimizer.groups] == [0.0, 0.5]
    assert step_lengths(optimizer) == [0.5, 0.75]


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
def test_a_rate_out_of_range_is_refused(bad):
    optimizer = body_and_head()
    with pytest.raises(ValueError, match=f"^SGD: lr must be finite and >= 0, got {bad}$"):
        optimizer.groups["head"].lr = bad
    assert step_lengths(optimizer) == [0.5, 0.5]


@pytest.mark.parametrize("bad", [None, "0.1", True, [0.1]], ids=repr)
def test_a_rate_that_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match=r"^SGD: lr must be a number, got "):
        body_and_head().groups["head"].lr = bad


@pytest.mark.parametrize(
    "name", ["weight_decay", "momentum", "learning_rate", "name", "options", "parameters"]
)
def test_only_the_rate_of_a_group_can_be_set(name):
    group = body_and_head().groups["head"]
    with pytest.raises(AttributeError, match=f"^SGD: {name} of group 'head' cannot be set: only lr can"):
        setattr(group, name, 0.1)


@pytest.mark.parametrize("name", ["momentum", "learning_rate", "param_groups", "groups", "steps"])
def test_what_is_fixed_cannot_be_set(name):
    optimizer = body_and_head()
    with pytest.raises(AttributeError, match=name):
        setattr(optimizer, name, 3)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda what: pickle.loads(pickle.dumps(what))])
def test_copies_have_their_own_groups(how):
    optimizer = body_and_head()
    optimizer.groups["head"].lr = 0.25
    step_lengths(optimizer)
    copied = how(optimizer)
    copied.groups["head"].lr = 0.125
    assert step_lengths(copied) == [0.5, 0.125]
    assert [group.lr for group in optimizer.groups] == [0.5, 0.25]
    assert_array_equal(optimizer.parameters[1].value, 0.75)
    assert (optimizer.steps, copied.steps) == (1, 2)


def test_errors_name_the_class_of_the_optimizer():
    class Mine(SGD):
        pass

    with pytest.raises(ValueError, match=r"^Mine: lr must be finite and >= 0, got -1$"):
        Mine(nn.Parameter(np.ones(2)), lr=-1)


def test_texts_show_the_groups():
    expected = "SGD(Group('body', parameters=1, lr=0.5), Group('head', parameters=1, lr=0.5))"
    assert repr(body_and_head()) == expected
    head = repr(body_and_head(lr=Cosine(0.5, 3)).groups["head"])
    assert head == "Group('head', parameters=1, lr=Cosine(lr=0.5, steps=3, end=0.0))"
