"""Adam and AdamW against their formula in float64, and against PyTorch."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from trimtab import nn
from trimtab.optim import SGD, Adam, AdamW, Cosine

KINDS = {"Adam": Adam, "AdamW": AdamW}
OPTIONS = [
    {},
    {"lr": 0.1, "betas": (0.5, 0.75), "eps": 0.01},
    {"amsgrad": True, "betas": [0.8, 0.6]},
    {"weight_decay": 0.3, "l1": 0.05},
    {"weight_decay": 0.3, "decoupled": False, "amsgrad": True},
    {"weight_decay": 0.3, "decoupled": True, "maximize": True},
    {"betas": (0.0, 0.0), "eps": 1.0},
]


def trajectory(w, gradients, *, lr, betas, eps, amsgrad, weight_decay, l1, decoupled, maximize):
    """The weights after the gradients: the algorithm of Kingma and Ba, step by step."""
    m, v, largest = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t, gradient in enumerate(gradients, start=1):
        shrink = weight_decay * w + l1 * np.sign(w)
        g = (-gradient if maximize else gradient) + (0 if decoupled else shrink)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        largest = np.maximum(largest, v)
        mean, square = m / (1 - betas[0] ** t), (largest if amsgrad else v) / (1 - betas[1] ** t)
        w = w - lr * mean / (np.sqrt(square) + eps) - (lr * shrink if decoupled else 0)
    return w


def defaults(kind):
    """The options of PyTorch's optimizer of that name, and of ours beside them."""
    decay = {"Adam": (0.0, False), "AdamW": (0.01, True)}[kind]
    named = dict(zip(("weight_decay", "decoupled"), decay, strict=True))
    return {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "amsgrad": False,
        "l1": 0.0,
        "maximize": False,
    } | named


def weights(rng):
    return [nn.Parameter(rng.standard_normal(shape), decay=len(shape) > 1) for shape in ((3, 2), (3,))]


def follow(optimizer, gradients):
    """Steps by the gradients, given for each parameter."""
    for of_step in zip(*gradients, strict=True):
        for parameter, gradient in zip(optimizer.parameters, of_step, strict=True):
            parameter.grad[...] = gradient
        optimizer.step()


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_trajectories_follow_the_formula(kind, options, decay_all, rng):
    params = weights(rng)
    starts = [parameter.value.copy() for parameter in params]
    gradients = [
        rng.standard_normal((7, *start.shape)) * 10.0 ** -np.arange(7).reshape(-1, *[1] * start.ndim)
        for start in starts
    ]
    follow(KINDS[kind](params, decay_all=decay_all, **options), gradients)
    for parameter, start, gradient in zip(params, starts, gradients, strict=True):
        decay = {} if parameter.decay or decay_all else {"weight_decay": 0.0, "l1": 0.0}
        expected = trajectory(start, gradient, **defaults(kind) | options | decay)
        assert_allclose(parameter.value, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1, "amsgrad": True}, {"maximize": True, "eps": 1e-3}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_trajectories_are_those_of_pytorch(kind, options, rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal((4, 3))
    gradients = rng.standard_normal((50, 4, 3))
    ours, theirs = nn.Parameter(start), torch.nn.Parameter(torch.tensor(start))
    follow(KINDS[kind](ours, **options), [gradients])
    optimizer = getattr(torch.optim, kind)([theirs], **options)
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
    assert_allclose(ours.value, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_proximal_l1_gives_exact_zeros(rng):
    weight = nn.Parameter(rng.standard_normal(50))
    start = weight.value.copy()
    AdamW(weight, lr=0.5, weight_decay=0.0, l1=1.0, proximal=True).step()
    assert_allclose(weight.value, np.sign(start) * np.maximum(np.abs(start) - 0.5, 0), rtol=1e-15)
    assert (weight.value == 0).any()


def test_groups_have_their_own_options(rng):
    params = weights(rng)
    starts = [parameter.value.copy() for parameter in params]
    groups = {
        "body": {"parameters": params[0], "betas": (0.5, 0.5)},
        "head": {"parameters": params[1], "lr": 0.5, "amsgrad": True},
    }
    optimizer = Adam(groups, lr=0.25)
    gradients = [rng.standard_normal((3, *start.shape)) for start in starts]
    follow(optimizer, gradients)
    own = {"lr": 0.25, "betas": (0.5, 0.5)}, {"lr": 0.5, "amsgrad": True}
    for parameter, start, gradient, options in zip(params, starts, gradients, own, strict=True):
        assert_allclose(
            parameter.value, trajectory(start, gradient, **defaults("Adam") | options), rtol=1e-12
        )
    assert optimizer.state_dict().keys() == {
        *("steps", "skipped", "lr.body", "lr.head", "exp_avg.0", "exp_avg_sq.0"),
        *("exp_avg.1", "exp_avg_sq.1", "max_exp_avg_sq.1"),
    }


def test_clipping_statistics_and_scale(rng):
    """The gradients that are averaged are the clipped ones."""
    weight, start = nn.Parameter(np.zeros(2)), np.zeros(2)
    optimizer = Adam(weight, lr=0.5, eps=1.0, max_grad_norm=1.0)
    weight.grad[...] = 6, 8
    statistics = optimizer.step(grad_scale=0.5, statistics=True)
    assert (optimizer.grad_norm, statistics.grad_norm) == (pytest.approx(5), pytest.approx(1))
    clipped = [np.array([0.6, 0.8])]
    expected = trajectory(start, clipped, **defaults("Adam") | {"lr": 0.5, "eps": 1.0})
    assert_allclose(weight.value, expected, rtol=1e-12)


@pytest.mark.parametrize("zero_grad", [False, True])
def test_zero_grad_and_max_norm(zero_grad, rng):
    weight = nn.Parameter(10 * np.ones((2, 4)))
    weight.grad[...] = 1
    Adam(weight, zero_grad=zero_grad, max_norm=1.0).step()
    assert_array_equal(weight.grad, 0 if zero_grad else 1)
    assert_allclose(weight.value, 0.5, rtol=1e-12)


def test_masters_add_up_small_steps():
    weight = nn.Parameter(np.ones((2, 3), "f2"))
    optimizer = AdamW(weight, lr=1e-5, weight_decay=0.0, masters=True)
    weight.grad[...] = 1
    for _ in range(1000):
        optimizer.step()
    assert_allclose(weight.value, 0.99, rtol=1e-3)
    assert {
        array.dtype
        for name, array in optimizer.state_dict().items()
        if name.endswith(".0") and name != "lr.0"
    } == {np.dtype("f4")}


def test_nonfinite_gradients_are_skipped_and_do_not_count_as_steps():
    weight = nn.Parameter(np.ones(2))
    optimizer = Adam(weight, lr=0.5, skip_nonfinite=True)
    weight.grad[...] = np.nan
    optimizer.step()
    assert (optimizer.steps, optimizer.skipped) == (0, 1)
    weight.grad[...] = 3  # the first step has the length of the rate, if the averages are corrected for t = 1
    optimizer.step()
    assert_allclose(weight.value, 0.5, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"amsgrad": True, "masters": True}], ids=str)
@pytest.mark.parametrize("how", ["state", "deepcopy", "pickle"])
def test_a_training_continues_with_the_same_bits(kind, options, how, rng):
    def start():
        draw = np.random.default_rng(0)
        params = [nn.Parameter(draw.standard_normal((3, 2)).astype(dtype)) for dtype in ("f4", "f2")]
        return KINDS[kind](params, lr=Cosine(0.1, 9), **options)

    gradients = [rng.standard_normal((8, 3, 2)) for _ in range(2)]
    whole, first = start(), start()
    follow(whole, gradients)
    follow(first, [gradient[:3] for gradient in gradients])
    if how == "state":
        second = start()
        for parameter, saved in zip(second.parameters, first.parameters, strict=True):
            parameter.value = saved.value
        second.load_state_dict(first.state_dict())
    else:
        second = copy.deepcopy(first) if how == "deepcopy" else pickle.loads(pickle.dumps(first))
    follow(second, [gradient[3:] for gradient in gradients])
    for one, other in zip(whole.parameters, second.parameters, strict=True):
        assert_array_equal(one.value, other.value)


@pytest.mark.parametrize(
    ("saved", "other", "message"),
    [
        (Adam, SGD, r"extra: exp_avg\.0, exp_avg_sq\.0"),
        (SGD, Adam, r"missing: exp_avg\.0, exp_avg_sq\.0"),
        (Adam, lambda w, lr: Adam(w, lr, amsgrad=True), r"missing: max_exp_avg_sq\.0"),
    ],
)
def test_the_state_of_another_algorithm_is_refused_by_name(saved, other, message):
    optimizer = other(nn.Parameter(np.ones(2)), lr=0.5)
    with pytest.raises(ValueError, match=f"^load_state_dict: state must have .*, got {message}$"):
        optimizer.load_state_dict(saved(nn.Parameter(np.ones(2)), lr=0.25).state_dict())
    assert optimizer.lr == 0.5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] must be finite, >= 0 and < 1, got 1.0"),
        ({"betas": (-0.1, 0.9)}, ValueError, r"betas\[0\] must be finite, >= 0 and < 1, got -0.1"),
        ({"betas": (0.9, np.nan)}, ValueError, r"betas\[1\] must be finite, >= 0 and < 1, got nan"),
        ({"betas": (0.9, "x")}, TypeError, r"betas\[1\] must be a number, got 'x'"),
        ({"betas": (0.9,)}, ValueError, r"betas must be two numbers, got \(0.9,\)"),
        ({"betas": 0.9}, TypeError, r"betas must be two numbers, got 0.9"),
        ({"eps": -1e-8}, ValueError, "eps must be finite and >= 0, got -1e-08"),
        ({"amsgrad": 1}, TypeError, "amsgrad must be a bool, got 1"),
        ({"momentum": 0.9}, TypeError, "options must be among .*betas, eps.*, got 'momentum'"),
        ({"lr": -1}, ValueError, "lr must be finite and >= 0, got -1"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options_are_refused(kind, options, error, message):
    with pytest.raises(error, match=f"^{kind}: {message}"):
        KINDS[kind](nn.Parameter(np.ones(2)), **options)


@pytest.mark.parametrize("name", ["exp_avg_sq.1", "max_exp_avg_sq.0"])
def test_negative_squares_are_refused(name):
    optimizer = Adam([nn.Parameter(np.ones(2)), nn.Parameter(np.ones((2, 3)))], amsgrad=True)
    optimizer.step()
    before = optimizer.state_dict()
    wrong = before[name].copy()
    wrong.flat[-1] = -1e-12
    with pytest.raises(ValueError, match=rf"^load_state_dict: {name} must be >= 0, got -1e-12$"):
        optimizer.load_state_dict(before | {name: wrong, "exp_avg.0": np.full(2, 9.0)})
    for key, array in before.items():
        assert_array_equal(optimizer.state_dict()[key], array)
    other = before | {name: np.full_like(wrong, -0.0), "exp_avg.0": np.full(2, -9.0)}
    optimizer.load_state_dict(other | {"exp_avg_sq.0": np.full(2, np.nan)})  # as after an overflow
    assert_array_equal(optimizer.state_dict()["exp_avg.0"], [-9, -9])
