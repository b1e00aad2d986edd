"""SGD against its formula written out in float64; schedules; strengths of decay in other conventions."""

import re
from inspect import isfunction
from math import hypot
from pathlib import Path

import numpy as np
import pytest
import trimtab as tt
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.optim import SGD, Constant, Cosine, OneCycle, Step, Warmup, conventions


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
    """The update of one parameter, one step for each gradient."""
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
def test_trajectory(options, decay_all, rng):
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


def test_takes_a_model_and_a_new_learning_rate():
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


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_plain_momentum(options, rng):
    with pytest.raises(ValueError, match="nesterov must go with momentum"):
        SGD(parameters(rng), lr=0.1, nesterov=True, **options)


def test_needs_parameters():
    with pytest.raises(ValueError, match="parameters must not be empty"):
        SGD(nn.ReLU(), lr=0.1)


def steps(optimizer, count, rng):
    """Steps with random gradients of unit variance; returns them, for each parameter."""
    gradients = []
    for _ in range(count):
        for parameter in optimizer.parameters:
            parameter.grad[...] = rng.standard_normal(parameter.value.shape)
        gradients.append([parameter.grad.copy() for parameter in optimizer.parameters])
        optimizer.step()
    return [list(of_one) for of_one in zip(*gradients, strict=True)]


def test_groups_have_options_of_their_own(rng):
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


@pytest.mark.parametrize(
    "groups",
    [
        lambda p: [{"params": p}],
        lambda p: [{"parameters": p, "learning_rate": 1}],
        lambda p: [{"parameters": p[:1]}, p[1]],
        lambda p: [{"parameters": p}, {"parameters": p[:1]}],
    ],
)
def test_wrong_groups(groups, rng):
    with pytest.raises(ValueError, match=r"^SGD: parameters must be "):
        SGD(groups(parameters(rng)), lr=0.1)


def test_parameters_of_several_dtypes(rng):
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


class Weights(nn.Module):
    def __init__(self, values):
        self.weight = nn.Parameter(np.array(values, "f2"))


def test_masters_follow_what_is_loaded():
    """Those that no longer round to their parameter; the others keep what rounding lost."""
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


def test_masters_of_a_checkpoint_stay_in_either_order():
    """Model and optimizer are loaded one after the other, and go on with the bits that were saved."""
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
def test_max_norm_bounds_the_weights_into_each_unit(masters, rng):
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
def test_clipping(grad_scale, rng):
    """The step is that of gradients scaled to the bound; smaller ones are as they were."""
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
def test_clipping_leaves_gradients_of_no_finite_norm_as_they_are(bad, rng):
    weight, bias = parameters(rng)
    expected = weight.value - 0.5
    weight.grad[...], bias.grad[...] = 1, bad
    SGD([weight, bias], lr=0.5, max_grad_norm=1.0).step()
    assert_array_equal(weight.value, expected)
    assert not np.isfinite(bias.value).any()


def test_statistics_are_of_all_parameters(rng):
    params = parameters(rng)
    expected = [tt.penalty([p.value for p in params], l1=1.0), tt.penalty([p.value for p in params], l2=2.0)]
    norms = SGD(params, lr=0.1, weight_decay=0.1).step(statistics=True)
    assert_allclose(norms, [*expected, 0.0], rtol=1e-12)


def test_a_step_with_nonfinite_gradients_is_left_out(rng):
    params = parameters(rng)
    optimizer = SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1, skip_nonfinite=True)
    for bad in (np.nan, np.inf):
        for parameter in params:
            parameter.grad[...] = 1
        params[1].grad[2] = bad
        before = [*(parameter.value.copy() for parameter in params), *optimizer.state_dict().values()]
        optimizer.step()
        assert not np.isfinite(optimizer.grad_norm)
        after = [*(parameter.value for parameter in params), *optimizer.state_dict().values()]
        for old, new in zip(before, after, strict=True):
            assert_array_equal(old, new)
    assert (optimizer.steps, optimizer.skipped) == (0, 2)
    steps(optimizer, 1, rng)
    assert (optimizer.steps, optimizer.skipped) == (1, 2)


@pytest.mark.parametrize("masters", [False, True])
def test_state_goes_on_where_it_was(masters, tmp_path):
    """Through a file; the bits of a run that was never interrupted."""

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


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(0.5), {0: 0.5, 1000: 0.5}),
        (Step(0.8, every=3, factor=0.5), {0: 0.8, 2: 0.8, 3: 0.4, 5: 0.4, 6: 0.2}),
        (Cosine(0.8, 10, end=0.2), {0: 0.8, 5: 0.5, 10: 0.2, 99: 0.2}),
        (Cosine(1.0, 6), {2: 0.75, 4: 0.25}),
        (Warmup(4, Constant(1.0)), {0: 0.2, 3: 0.8, 4: 1.0, 9: 1.0}),
        (Warmup(1, Step(1.0, every=2)), {0: 0.5, 1: 1.0, 2: 1.0, 3: 0.1}),
        (OneCycle(1.0, 100, rise=0.4), {0: 0.04, 20: 0.52, 40: 1.0, 70: 0.500005, 100: 1e-5, 200: 1e-5}),
    ],
)
def test_schedules(schedule, expected):
    for step, lr in expected.items():
        assert schedule(step) == pytest.approx(lr, rel=1e-12)


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
    """Not even one whose own learning rate is right; nor is the step counted as skipped."""
    params = parameters(rng)
    groups = [
        {"parameters": [params[0]]},
        {"parameters": [params[1]], "lr": lambda step: bad if rate is None else rate},
    ]
    optimizer = SGD(groups, lr=0.1, momentum=0.9, skip_nonfinite=True)
    for parameter in params:
        parameter.grad[...] = 1
    before = [*(parameter.value.copy() for parameter in params), *optimizer.state_dict().values()]
    with pytest.raises(ValueError, match=f"^SGD: {option} must be finite and >= 0, got {bad}$"):
        optimizer.step(grad_scale=bad if scale is None else scale)
    assert optimizer.skipped == 0
    after = [*(parameter.value for parameter in params), *optimizer.state_dict().values()]
    for old, new in zip(before, after, strict=True):
        assert_array_equal(old, new)


def penalty_of(strengths, w):
    return tt.penalty(w, l1=strengths["l1"], l2=strengths["weight_decay"])


def test_conventions(rng):
    """Each penalty as its formula states it has the value of ours."""
    w = rng.standard_normal(20)
    squares, sizes, n = np.square(w).sum(), np.abs(w).sum(), 50
    formulas = {
        0.3 / n * squares + 0.2 / n * sizes: conventions.lambda_over_n(0.3, 0.2, samples=n),
        0.3 / (2 * n) * squares + 0.2 / n * sizes: conventions.lambda_over_2n(0.3, 0.2, samples=n),
        0.3 * squares + 0.2 * sizes: conventions.keras(0.3, 0.2),
        0.3 / (2 * 8) * squares: conventions.scikit_learn_mlp(0.3, batch_size=8),
        0.3 * (0.75 / 2 * squares + 0.25 * sizes): conventions.scikit_learn_linear(0.3, l1_ratio=0.25),
        0.3 * squares / n: conventions.scikit_learn_ridge(0.3, samples=n),
        squares / 2 / (0.3 * n): conventions.scikit_learn_logistic(0.3, samples=n),
    }
    for expected, strengths in formulas.items():
        assert penalty_of(strengths, w) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"^lambda_over_n: samples must be > 0, got 0$"):
        conventions.lambda_over_n(0.1, samples=0)


def test_the_page_on_decay_lists_every_convention():
    page = (Path(__file__).parents[1] / "docs" / "weight-decay.md").read_text()
    own = (value for value in vars(conventions).values() if isfunction(value))
    functions = {function.__name__ for function in own if function.__module__ == conventions.__name__}
    assert set(re.findall(r"`(\w+)` \|$", page, re.MULTILINE)) == {
        name for name in functions if not name.startswith("_")
    }


def descend(gradient, features, strengths, lr, count):
    """The end of full-batch descent on a loss of one weight vector."""
    weight = nn.Parameter(np.zeros(features))
    optimizer = SGD([weight], lr=lr, proximal=True, **strengths)
    for _ in range(count):
        weight.grad[...] = gradient(weight.value)
        optimizer.step()
    return weight.value


def test_conventions_find_the_solutions_of_scikit_learn(rng):
    linear = pytest.importorskip("sklearn.linear_model")
    x = rng.standard_normal((100, 5))
    y = x @ np.array([2.0, -1.0, 0.05, 0.0, 0.5]) + 0.1 * rng.standard_normal(100)
    labels = y > 0

    def squared_error(w):
        return x.T @ (x @ w - y) / len(x)

    def log_loss(w):
        return x.T @ (1 / (1 + np.exp(-x @ w)) - labels) / len(x)

    cases = [
        (
            linear.Ridge(30.0, fit_intercept=False).fit(x, y),
            lambda w: 2 * squared_error(w),
            conventions.scikit_learn_ridge(30.0, samples=100),
        ),
        (
            linear.Lasso(0.1, fit_intercept=False, tol=1e-12).fit(x, y),
            squared_error,
            conventions.scikit_learn_linear(0.1, l1_ratio=1.0),
        ),
        (
            linear.ElasticNet(0.1, l1_ratio=0.3, fit_intercept=False, tol=1e-12).fit(x, y),
            squared_error,
            conventions.scikit_learn_linear(0.1, l1_ratio=0.3),
        ),
        (
            linear.LogisticRegression(C=0.3, fit_intercept=False, tol=1e-10).fit(x, labels),
            log_loss,
            conventions.scikit_learn_logistic(0.3, samples=100),
        ),
    ]
    for model, gradient, strengths in cases:
        assert_allclose(descend(gradient, 5, strengths, 0.2, 2000), model.coef_.ravel(), atol=1e-6)
