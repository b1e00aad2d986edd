"""SGD against its formula in float64: options, groups, clipping, statistics."""

from math import hypot

import numpy as np
import pytest
import trimtab as tt
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.optim import SGD, Cosine, Step


def parameters(rng):
    shapes = {"weight": (3, 2), "bias": (3,)}
    return [
        nn.Parameter(rng.standard_normal(shape), decay=name == "weight") for name, shape in shapes.items()
    ]


def trajectory(
    w,
    gradients,
    decays,
    *,
    lr,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
    l1=0.0,
    decoupled=False,
):
    """The weights of one parameter after each gradient."""
    c, a = (weight_decay, l1) if decays else (0.0, 0.0)
    v = None
    for g in gradients:
        shrink = c * w + a * np.sign(w)
        g = g if decoupled else g + shrink
        v = g if v is None else momentum * v + (1 - dampening) * g
        step = g + momentum * v if nesterov else v
        w = w - lr * step - (lr * shrink if decoupled else 0)
    return w


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"weight_decay": 0.1, "l1": 0.01},
        {"momentum": 0.9, "weight_decay": 0.1, "decoupled": True},
    ],
)
def test_trajectories_follow_the_formula(options, decay_all, rng):
    params = parameters(rng)
    starts = [parameter.value.copy() for parameter in params]
    gradients = [rng.standard_normal((4, *parameter.value.shape)) for parameter in params]
    optimizer = SGD(params, lr=0.1, decay_all=decay_all, **options)
    for step in range(4):
        for parameter, gradient in zip(params, gradients, strict=True):
            parameter.grad[...] = gradient[step]
        optimizer.step()
    for parameter, start, gradient in zip(params, starts, gradients, strict=True):
        expected = trajectory(start, gradient, parameter.decay or decay_all, lr=0.1, **options)
        assert_allclose(parameter.value, expected, rtol=1e-12, atol=1e-14)
    assert optimizer.steps == 4


def test_proximal_l1_gives_exact_zeros(rng):
    weight, _ = parameters(rng)
    start = weight.value.copy()
    SGD([weight], lr=0.5, l1=1.0, proximal=True).step()
    assert_allclose(weight.value, np.sign(start) * np.maximum(np.abs(start) - 0.5, 0), rtol=1e-15)
    assert (weight.value == 0).any()


def test_maximize_climbs(rng):
    weight, _ = parameters(rng)
    start = weight.value.copy()
    weight.grad[...] = 1
    SGD([weight], lr=0.5, maximize=True).step()
    assert_allclose(weight.value, start + 0.5, rtol=1e-15)


def test_the_learning_rate_of_a_model_can_be_changed():
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.BatchNorm(3))
    optimizer = SGD(model, lr=0.1)
    assert [parameter.name for parameter in optimizer.parameters] == [
        "0.weight",
        "0.bias",
        "1.gamma",
        "1.beta",
    ]
    for parameter in optimizer.parameters:
        parameter.grad[...] = 1
    before = model.state_dict()
    optimizer.lr = 0.0
    optimizer.step()
    for name, array in model.state_dict().items():
        assert_array_equal(array, before[name])


@pytest.mark.parametrize("option", ["lr", "momentum", "dampening", "weight_decay", "l1", "max_norm"])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_options_must_be_finite_and_not_negative(option, value, rng):
    with pytest.raises(ValueError, match=f"SGD: {option} must be finite and >= 0, got {value}"):
        SGD(parameters(rng), **({"lr": 0.1} | {option: value}))


NUMBERS = ["lr", "momentum", "dampening", "weight_decay", "l1", "max_norm"]
FLAGS = ["nesterov", "decoupled", "proximal", "maximize", "zero_grad", "masters", "decay_all"]
IN_A_GROUP = {"in a group": True, "for all": False}


def make(params, options, in_a_group):
    """An optimizer whose options are given to it or to a group."""
    if not in_a_group:
        return SGD(params, **({"lr": 0.1} | options))
    return SGD([{"parameters": params[:1]}, {"parameters": params[1:], **options}], lr=0.1)


@pytest.mark.parametrize("in_a_group", IN_A_GROUP.values(), ids=IN_A_GROUP)
@pytest.mark.parametrize("option", NUMBERS)
@pytest.mark.parametrize("value", ["0.1", True, np.True_, 1j, np.ones(2), [0.1]], ids=repr)
def test_options_must_be_numbers(option, value, in_a_group, rng):
    with pytest.raises(TypeError, match=f"^SGD: {option} must be a number, got "):
        make(parameters(rng), {option: value}, in_a_group)


@pytest.mark.parametrize("in_a_group", IN_A_GROUP.values(), ids=IN_A_GROUP)
@pytest.mark.parametrize("option", FLAGS)
@pytest.mark.parametrize("value", [1, 0.0, "yes", None], ids=repr)
def test_flags_must_be_bools(option, value, in_a_group, rng):
    with pytest.raises(TypeError, match=f"^SGD: {option} must be a bool, got {value!r}$"):
        make(parameters(rng), {option: value}, in_a_group)


def test_options_of_the_whole_optimizer_are_checked(rng):
    for bad, error in ((-1, ValueError), (np.inf, ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"^SGD: max_grad_norm must be "):
            SGD(parameters(rng), 0.1, max_grad_norm=bad)
    with pytest.raises(TypeError, match=r"^SGD: skip_nonfinite must be a bool, got 1$"):
        SGD(parameters(rng), 0.1, skip_nonfinite=1)
    with pytest.raises(TypeError, match=r"^SGD: statistics must be a bool, got 1$"):
        SGD(parameters(rng), 0.1).step(statistics=1)
    with pytest.raises(TypeError, match="momentun"):
        SGD(parameters(rng), 0.1, momentun=0.9)


@pytest.mark.parametrize("in_a_group", IN_A_GROUP.values(), ids=IN_A_GROUP)
def test_numbers_of_numpy_are_taken(in_a_group, rng):
    params, others = parameters(rng), parameters(np.random.default_rng(20150211))
    given = {"lr": np.float32(0.5), "momentum": np.float64(0.5), "weight_decay": np.array(0.25)}
    numpy = make(params, given | {"nesterov": np.True_, "dampening": np.int64(0)}, in_a_group)
    plain = make(others, {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.25, "nesterov": True}, in_a_group)
    for optimizer in (numpy, plain):
        steps(optimizer, 3, np.random.default_rng(0))
    for one, other in zip(params, others, strict=True):
        assert_array_equal(one.value, other.value)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_plain_momentum(options, rng):
    with pytest.raises(ValueError, match="nesterov must go with momentum"):
        SGD(parameters(rng), lr=0.1, nesterov=True, **options)


def test_nesterov_is_checked_with_the_options_of_a_group(rng):
    params = parameters(rng)
    groups = [{"parameters": params[:1]}, {"parameters": params[1:], "momentum": 0.0}]
    with pytest.raises(ValueError, match=r"^SGD: nesterov must go with momentum > 0 .* got 0\.0 and 0\.0$"):
        SGD(groups, lr=0.1, momentum=0.9, nesterov=True)


def steps(optimizer, count, rng):
    """Steps with random gradients of unit variance; returns them, for each parameter."""
    gradients = []
    for _ in range(count):
        for parameter in optimizer.parameters:
            parameter.grad[...] = rng.standard_normal(parameter.value.shape)
        gradients.append([parameter.grad.copy() for parameter in optimizer.parameters])
        optimizer.step()
    return [list(of_one) for of_one in zip(*gradients, strict=True)]


def test_groups_have_their_own_options(rng):
    params = parameters(rng) + parameters(rng)
    starts = [parameter.value.copy() for parameter in params]
    optimizer = SGD(
        [
            {"parameters": params[:2], "lr": 0.5, "momentum": 0.9},
            {"parameters": params[2:], "weight_decay": 0.0},
        ],
        lr=0.1,
        weight_decay=0.2,
    )
    options = [{"lr": 0.5, "momentum": 0.9, "weight_decay": 0.2}] * 2 + [{"lr": 0.1}] * 2
    gradients = steps(optimizer, 3, rng)
    for parameter, start, gradient, own in zip(params, starts, gradients, options, strict=True):
        expected = trajectory(start, gradient, parameter.decay, **own)
        assert_allclose(parameter.value, expected, rtol=1e-12, atol=1e-14)
    optimizer.lr = 0.0
    before = [parameter.value.copy() for parameter in params]
    steps(optimizer, 1, rng)
    for parameter, value in zip(params, before, strict=True):
        assert_array_equal(parameter.value, value)


def test_a_group_may_be_a_module(rng):
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.BatchNorm(3))
    optimizer = SGD([{"parameters": model.children()[name]} for name in model.children()], lr=0.1)
    assert len(optimizer.parameters) == 4


def test_parameters_may_have_several_dtypes(rng):
    params = [nn.Parameter(rng.standard_normal(5).astype(dtype)) for dtype in ("f4", "f8", "f2", "f4")]
    starts = [parameter.value.astype("f8") for parameter in params]
    gradients = steps(SGD(params, lr=0.1, momentum=0.9), 3, rng)
    for parameter, start, gradient in zip(params, starts, gradients, strict=True):
        expected = trajectory(start, np.array(gradient, "f8"), True, lr=0.1, momentum=0.9)
        assert_allclose(parameter.value, expected, rtol=3e-3 if parameter.value.itemsize == 2 else 1e-5)


def test_masters_add_up_small_steps(rng):
    weight = nn.Parameter(np.ones((2, 3), "f2"))
    optimizer = SGD([weight], lr=1e-4, masters=True)
    weight.grad[...] = 1
    for _ in range(1000):
        optimizer.step()
    assert_allclose(weight.value, 0.9, rtol=1e-3)
    assert optimizer.state_dict()["master.0"].dtype == np.float32


@pytest.mark.parametrize("masters", [False, True])
def test_max_norm_bounds_the_incoming_weights_of_each_unit(masters, rng):
    weight = nn.Parameter(rng.standard_normal((4, 3, 2, 2)).astype("f2"))
    bias = nn.Parameter(10 * np.ones(4), decay=False)
    gain = nn.Parameter(10 * np.ones((4, 5)), decay=False)  # of a norm over two axes
    free = nn.Parameter(10 * np.ones((4, 5)))
    optimizer = SGD(
        [{"parameters": [weight, bias, gain], "max_norm": 1.5}, {"parameters": [free]}],
        lr=0.01,
        masters=masters,
    )
    steps(optimizer, 3, rng)
    lengths = np.sqrt(np.square(weight.value.astype("f8")).sum((1, 2, 3)))
    assert np.all(lengths <= 1.5 * (1 + 2**-11))
    assert np.all(lengths > 1.4)
    assert np.all(bias.value > 9)
    assert np.all(gain.value > 9)
    assert np.all(free.value > 9)


@pytest.mark.parametrize("grad_scale", [1.0, 0.5])
def test_clipping_scales_large_gradients_to_the_bound(grad_scale, rng):
    """Smaller gradients do not change."""
    params = parameters(rng)
    starts = [parameter.value.copy() for parameter in params]
    optimizer = SGD(params, lr=0.1, max_grad_norm=1.0)
    for parameter in params:
        parameter.grad[...] = rng.standard_normal(parameter.value.shape)
    norm = hypot(*(np.linalg.norm(parameter.grad) for parameter in params))
    statistics = optimizer.step(grad_scale=grad_scale, statistics=True)
    assert optimizer.grad_norm == pytest.approx(grad_scale * norm, rel=1e-12)
    assert statistics.grad_norm == pytest.approx(1.0, rel=1e-12)
    for parameter, start in zip(params, starts, strict=True):
        assert_allclose(parameter.value, start - 0.1 * parameter.grad / norm, rtol=1e-12, atol=1e-14)
        parameter.grad *= 0.1 / norm
    assert optimizer.step(statistics=True).grad_norm == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_leaves_nonfinite_gradients_unchanged(bad, rng):
    weight, bias = parameters(rng)
    expected = weight.value - 0.5
    weight.grad[...], bias.grad[...] = 1, bad
    SGD([weight, bias], lr=0.5, max_grad_norm=1.0).step()
    assert_array_equal(weight.value, expected)
    assert not np.isfinite(bias.value).any()


@pytest.mark.parametrize("max_grad_norm", [None, 0.5])
def test_groups_have_one_norm_and_common_statistics(max_grad_norm, rng):
    """Several groups, one of them of two dtypes."""
    params = [
        nn.Parameter(rng.standard_normal(shape).astype(dtype)) for shape in (5, (2, 3)) for dtype in "df"
    ]
    groups = [{"parameters": params[:3]}, {"parameters": params[3:], "lr": 0.5}]
    optimizer = SGD(groups, lr=0.1, max_grad_norm=max_grad_norm)
    for parameter in params:
        parameter.grad[...] = rng.standard_normal(parameter.value.shape)
    norm = hypot(*(np.linalg.norm(parameter.grad.astype("d")) for parameter in params))
    scale = 0.25 if max_grad_norm is None else max_grad_norm / norm
    values = [parameter.value.astype("d") for parameter in params]
    statistics = optimizer.step(grad_scale=0.25, statistics=True)
    assert statistics.l1_norm == pytest.approx(sum(np.abs(value).sum() for value in values), rel=1e-7)
    assert statistics.l2_norm_sq == pytest.approx(sum(np.square(value).sum() for value in values), rel=1e-7)
    assert statistics.grad_norm == pytest.approx(scale * norm, rel=1e-7)
    for parameter, value, lr in zip(params, values, (0.1, 0.1, 0.1, 0.5), strict=True):
        assert_allclose(parameter.value, value - lr * scale * parameter.grad, rtol=1e-5, atol=1e-7)
    assert (
        np.isnan(optimizer.grad_norm)
        if max_grad_norm is None
        else optimizer.grad_norm == pytest.approx(0.25 * norm, rel=1e-7)
    )


def test_the_bound_of_the_norm_is_checked_at_every_step(rng):
    optimizer = SGD(parameters(rng), lr=0.1, max_grad_norm=1.0)
    before = contents(optimizer)
    for bad, error in ((-1.0, ValueError), (np.nan, ValueError), ("1", TypeError)):
        optimizer.max_grad_norm = bad
        with pytest.raises(error, match=r"^SGD: max_grad_norm must be "):
            optimizer.step()
        assert_same(before, contents(optimizer))


@pytest.mark.parametrize("zero_grad", [False, True])
def test_zero_grad_leaves_zeros(zero_grad, rng):
    params = parameters(rng)
    optimizer = SGD([{"parameters": params[:1]}, {"parameters": params[1:], "zero_grad": zero_grad}], lr=0.1)
    gradients = steps(optimizer, 1, rng)
    assert_array_equal(params[0].grad, gradients[0][0])
    assert_array_equal(params[1].grad, 0 if zero_grad else gradients[1][0])


def test_statistics_are_of_all_parameters(rng):
    params = parameters(rng)
    expected = [tt.penalty([p.value for p in params], l1=1.0), tt.penalty([p.value for p in params], l2=2.0)]
    norms = SGD(params, lr=0.1, weight_decay=0.1).step(statistics=True)
    assert_allclose(norms, [*expected, 0.0], rtol=1e-12)


def contents(optimizer):
    """Copies of everything that a step may change, except the number of skipped steps."""
    values = {str(place): parameter.value.copy() for place, parameter in enumerate(optimizer.parameters)}
    return values | {name: array for name, array in optimizer.state_dict().items() if name != "skipped"}


def assert_same(before, after):
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert_array_equal(array, after[name])


def test_a_step_with_nonfinite_gradients_is_skipped(rng):
    params = parameters(rng)
    optimizer = SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1, skip_nonfinite=True)
    for bad in (np.nan, np.inf):
        for parameter in params:
            parameter.grad[...] = 1
        params[1].grad[2] = bad
        before = contents(optimizer)
        optimizer.step()
        assert not np.isfinite(optimizer.grad_norm)
        assert_same(before, contents(optimizer))
    assert (optimizer.steps, optimizer.skipped) == (0, 2)
    steps(optimizer, 1, rng)
    assert (optimizer.steps, optimizer.skipped) == (1, 2)


@pytest.mark.parametrize("schedule", [Step(0.8, every=2), lambda step: 0.1 * (step + 1)])
def test_a_schedule_is_followed(schedule, rng):
    (weight, _) = parameters(rng)
    optimizer = SGD([weight], lr=schedule)
    weight.grad[...] = 1
    expected = weight.value.copy()
    for step in range(5):
        assert optimizer.lr == schedule(step)
        optimizer.step()
        expected -= schedule(step)
    assert_allclose(weight.value, expected, rtol=1e-12)
    optimizer.lr = 0.25
    assert optimizer.lr == 0.25


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
@pytest.mark.parametrize(("option", "rate", "scale"), [("lr", None, 1.0), ("grad_scale", 0.1, None)])
def test_a_bad_rate_or_scale_changes_no_group(option, rate, scale, bad, rng):
    """Not even a group whose own learning rate is right; the step does not count as skipped."""
    params = parameters(rng)
    groups = [
        {"parameters": [params[0]]},
        {"parameters": [params[1]], "lr": lambda step: bad if rate is None else rate},
    ]
    optimizer = SGD(groups, lr=0.1, momentum=0.9, skip_nonfinite=True)
    for parameter in params:
        parameter.grad[...] = 1
    before = contents(optimizer)
    with pytest.raises(ValueError, match=f"^SGD: {option} must be finite and >= 0, got {bad}$"):
        optimizer.step(grad_scale=bad if scale is None else scale)
    assert optimizer.skipped == 0
    assert_same(before, contents(optimizer))


@pytest.mark.parametrize("bad", ["0.1", None, True, 1j, np.ones(1), [0.1]], ids=repr)
@pytest.mark.parametrize("option", ["lr", "grad_scale"])
def test_a_rate_or_scale_that_is_no_number_changes_no_group(option, bad, rng):
    params = parameters(rng)
    lr = (lambda step: bad) if option == "lr" else 0.1
    optimizer = SGD([{"parameters": params[0]}, {"parameters": params[1], "lr": lr}], lr=0.1)
    before = contents(optimizer)
    with pytest.raises(TypeError, match=f"^SGD: {option} must be a number, got "):
        optimizer.step(**({} if option == "lr" else {"grad_scale": bad}))
    assert_same(before, contents(optimizer))
    if option == "lr":
        with pytest.raises((TypeError, ValueError), match=r"^SGD: lr must be a number, got "):
            optimizer.lr = bad
        assert_same(before, contents(optimizer))


def test_the_class_of_a_schedule_is_no_learning_rate(rng):
    with pytest.raises(TypeError, match=r"^SGD: lr must be a number or a schedule, got the class Cosine$"):
        SGD(parameters(rng), lr=Cosine)
    optimizer = SGD(parameters(rng), lr=0.1)
    with pytest.raises(TypeError, match=r"^SGD: lr must be a number or a schedule, got the class Cosine$"):
        optimizer.lr = Cosine
    assert optimizer.lr == 0.1
