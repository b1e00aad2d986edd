"""Adam and AdamW: options, dtypes, lengths, extreme gradients, plans, and the bits of PyTorch."""

import itertools
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.norms import ulp
from helpers.strategies import BFLOAT16, DTYPES, LENGTHS, at_offset
from hypothesis import given
from hypothesis import strategies as st
from trimtab import _core

HALVES = (np.dtype(np.float16), BFLOAT16)
NUMBERS = {
    "betas": [(0.9, 0.999), (0.5, 0.75), (0.0, 0.0), (0.2, 0.99)],
    "eps": [1e-8, 0.5],
    "weight_decay": [0.0, 0.1],
    "l1": [0.0, 0.2],
    "grad_scale": [1.0, 0.25],
    "step": [1, 2, 1000],
}
FLAGS = ("decoupled", "proximal", "maximize")


@st.composite
def option_sets(draw):
    numbers = {name: draw(st.sampled_from(values)) for name, values in NUMBERS.items()}
    return {"lr": 0.25, **numbers, **{name: draw(st.booleans()) for name in FLAGS}}


def normal(rng, shapes, dtype):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def squares(rng, shapes, dtype):
    """Large enough that float16 holds them, and that their root is not much smaller than the averages."""
    return [rng.uniform(0.5, 2, shape).astype(dtype) for shape in shapes]


def copies(arrays):
    return None if arrays is None else [array.copy() for array in arrays]


def wide(arrays):
    return None if arrays is None else [array.astype(np.float64) for array in arrays]


def bits(groups):
    return [array.tobytes() for group in groups if group is not None for array in group]


def rounding(array):
    """Half a unit in the last place of the arithmetic."""
    return np.finfo(np.float64 if array.dtype == np.float64 else np.float32).eps / 2


def assert_near(got, expected, terms, roundings):
    """Within some roundings of the arithmetic and one to a narrower dtype."""
    stored = 0.51 * ulp(expected, got.dtype) if got.dtype in HALVES else 0
    assert np.all(np.abs(got.astype(np.float64) - expected) <= stored + roundings * rounding(got) * terms)


def check_update(params, grads, averages, of_squares, largest=None, masters=None, **options):
    """Update the arrays and compare them with the specification; return the result of the update."""
    weights = masters or params
    w, g, m, v, u = map(wide, (weights, grads, averages, of_squares, largest))
    terms_of_g = [
        np.abs(x) * options["grad_scale"] + options["weight_decay"] * np.abs(y) + options["l1"]
        for x, y in zip(g, w, strict=True)
    ]
    expected_w, expected_m, expected_v, expected_u = map(copies, (w, m, v, u))
    asked = {name: value for name, value in options.items() if name not in ("zero_grad", "statistics")}
    reference.adam_update(expected_w, g, expected_m, expected_v, max_exp_avg_sqs=expected_u, **asked)
    kept_grads = copies(grads)
    result = tt.adam_update(
        params, grads, averages, of_squares, max_exp_avg_sqs=largest, masters=masters, **options
    )
    of_m, of_v = (1 - beta ** options["step"] for beta in options["betas"])
    for i in range(len(params)):
        gradient = terms_of_g[i]
        of_average = np.abs(m[i]) + gradient
        of_square = v[i] + gradient**2
        denominator = np.sqrt((expected_u or expected_v)[i] / of_v) + options["eps"]
        # The relative error of the root is half that of u, whose terms may exceed it.
        relative = of_square / (expected_u or expected_v)[i]
        direction = of_average / of_m / denominator * (1 + relative)
        of_weight = np.abs(w[i]) + options["lr"] * (
            direction + options["weight_decay"] * np.abs(w[i]) + options["l1"]
        )
        assert_near(averages[i], expected_m[i], of_average, 6)
        assert_near(of_squares[i], expected_v[i], of_square, 8)
        if largest:
            assert_near(largest[i], expected_u[i], of_square, 8)
        assert_near(weights[i], expected_w[i], of_weight, 12)
        if masters:
            np.testing.assert_array_equal(params[i], masters[i].astype(params[i].dtype))
        left = np.zeros_like(kept_grads[i]) if options.get("zero_grad") else kept_grads[i]
        np.testing.assert_array_equal(grads[i], left)
    return result


def arguments(rng, shapes, dtype, with_masters=False, amsgrad=True):
    """params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, masters."""
    state = np.float32 if with_masters else dtype
    return [
        normal(rng, shapes, dtype),
        normal(rng, shapes, dtype),
        normal(rng, shapes, state),
        squares(rng, shapes, state),
        squares(rng, shapes, state) if amsgrad else None,
        normal(rng, shapes, np.float32) if with_masters else None,
    ]


def update(groups, **options):
    params, grads, averages, of_squares, largest, masters = groups
    return tt.adam_update(
        params, grads, averages, of_squares, max_exp_avg_sqs=largest, masters=masters, **options
    )


@given(
    st.lists(LENGTHS, max_size=4),
    st.sampled_from(DTYPES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    option_sets(),
    st.integers(0, 2**16),
)
def test_the_update_is_accurate(lengths, dtype, with_masters, amsgrad, zero_grad, options, seed):
    rng = np.random.default_rng(seed)
    shapes = [(n,) for n in lengths] + [(3, 5), (), (0, 4)]
    groups = arguments(rng, shapes, dtype, with_masters and dtype in HALVES, amsgrad)
    assert check_update(*groups, zero_grad=zero_grad, **options) is None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("offset", range(0, 64, 8))
def test_any_alignment_and_number_of_tasks_gives_the_same_bits(rng, dtype, offset):
    """Arrays that several tasks share, together with arrays that share a task."""
    shapes = [(3,), (40_001,), (7,), (64, 64), (1,)]
    options = {"step": 3, "lr": 0.25, "weight_decay": 0.1, "l1": 0.2}
    arrays = arguments(rng, shapes, dtype)
    moved = [group and [at_offset(array, offset) for array in group] for group in arrays]
    update(arrays, **options)
    update(moved, **options)
    assert bits(moved) == bits(arrays)


@given(st.sampled_from(DTYPES), st.sets(st.integers(1, 5)), st.integers(1, 4), st.integers(0, 2**16))
def test_bits_do_not_depend_on_how_lists_are_split(dtype, cuts, threads, seed):
    rng = np.random.default_rng(seed)
    together = arguments(rng, [(40_001,), (3,), (70_000,), (64,), (1,), (257,)], dtype)
    parts = [copies(group) for group in together]
    options = {"step": 7, "lr": 0.1, "weight_decay": 0.01, "l1": 0.001}
    tt.set_num_threads(1)
    update(together, **options)
    tt.set_num_threads(threads)
    for begin, end in itertools.pairwise([0, *sorted(cuts), 6]):
        update([group and group[begin:end] for group in parts], **options)
    assert bits(parts) == bits(together)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_are_sums_before_the_update(rng, dtype):
    groups = arguments(rng, [(40_001,), (3, 5), (), (0,), (9000,)], dtype)
    w, g = (np.concatenate([a.ravel() for a in wide(group)]) for group in groups[:2])
    result = update(groups, step=1, lr=0.1, grad_scale=0.5, l1=0.1, statistics=True, zero_grad=True)
    assert result._fields == ("l1_norm", "l2_norm_sq", "grad_norm")
    np.testing.assert_allclose(
        result, (np.abs(w).sum(), np.square(w).sum(), 0.5 * np.linalg.norm(g)), rtol=1e-13
    )


def test_defaults_are_those_of_adamw(rng):
    w, g, m = rng.standard_normal((3, 50))
    v = rng.uniform(1, 2, 50)
    given, written_out = [x.copy() for x in (w, g, m, v)], [x.copy() for x in (w, g, m, v)]
    tt.adam_update(*given, step=2, lr=0.1, weight_decay=0.1)
    tt.adam_update(
        *written_out, step=2, lr=0.1, weight_decay=0.1, betas=(0.9, 0.999), eps=1e-8, decoupled=True
    )
    assert bits([given]) == bits([written_out])


# ---- bias correction ----


def power(beta, step):
    """beta^step to 60 digits."""
    with localcontext() as context:
        context.prec = 60
        return Decimal(beta) ** step


@pytest.mark.parametrize("step", [1, 2, 3, 17, 1000, 10**6, 2**62])
@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 0.9, 0.999, 0.999999, 1 - 2**-40, 1 - 2**-53])
def test_bias_corrections_are_those_of_the_rounded_power(step, beta):
    """A gradient of 0 leaves m = beta1, and the step is that over its correction."""
    correction = 1 - float(power(beta, step))
    if correction == 0:
        pytest.skip("beta^step is 1 in double")
    w, m, v = np.zeros(1), np.ones(1), np.ones(1)
    tt.adam_update(w, np.zeros(1), m, v, step=step, lr=1.0, betas=(beta, 0.0), eps=1.0)
    assert w == -(1 / correction * m)  # v is 0: the denominator is eps
    w, m, v = np.zeros(1), np.ones(1), np.ones(1)
    tt.adam_update(w, np.zeros(1), m, v, step=step, lr=1.0, betas=(0.5, beta), eps=1.0)
    expected = -(1 / (1 - float(power(0.5, step))) * 0.5) / (np.sqrt(v) / np.sqrt(correction) + 1)
    assert w == expected


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.999999, 1 - 2**-40])
def test_the_first_step_is_the_learning_rate(beta):
    """Whatever the betas: m and v are the gradient and its square, once corrected."""
    w, g = np.zeros(5), np.array([1e-140, -1e-20, 1.0, -3.0, 1e150])
    tt.adam_update(w, g, np.zeros(5), np.zeros(5), step=1, lr=1.0, betas=(beta, beta), eps=0.0)
    np.testing.assert_allclose(w, -np.sign(g), rtol=1e-15)


def test_rounded_powers_are_exact_enough():
    """What is lost beside 1 - beta^t without any rounding, for the usual betas."""
    for step in range(1, 200):
        exact = 1 - Fraction(0.999) ** step
        assert abs(Fraction(1 - float(power(0.999, step))) / exact - 1) < 3e-14


# ---- extreme values ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("into", range(5))
def test_nan_and_inf_stay_in_their_element(rng, dtype, bad, into):
    """In every lane and in the tail. An infinite square by itself makes the step 0."""
    for place in range(37):
        groups = arguments(rng, [(37,)], dtype)
        expected = [copies(group) for group in groups]
        update(expected, step=3, lr=0.1, weight_decay=0.1, l1=0.1)
        groups[into][0][place] = bad
        update(groups, step=3, lr=0.1, weight_decay=0.1, l1=0.1)
        others = np.arange(37) != place
        kept_finite = into >= 3 and not np.isnan(bad)
        assert np.isfinite(groups[0][0][place].astype(np.float64)) == kept_finite
        for got, value in zip(groups[:5], expected[:5], strict=True):
            np.testing.assert_array_equal(got[0][others], value[0][others])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("eps", [0.0, 1e-300, 1e-8])
def test_finite_gradients_give_finite_weights(dtype, amsgrad, eps):
    """From 0 and subnormals to the largest, in both directions one after the other."""
    finfo = np.finfo(dtype)
    exponents = np.linspace(np.log2(finfo.smallest_subnormal), np.log2(finfo.max) - 1e-3, 300)
    g = np.concatenate([[0, finfo.max, finfo.tiny], 2.0**exponents]).astype(dtype)
    w, m, v = np.ones_like(g), np.zeros_like(g), np.zeros_like(g)
    u = np.zeros_like(g) if amsgrad else None
    for step, sign in enumerate([1, -1, -1, 1], 1):
        tt.adam_update(w, sign * g, m, v, step=step, lr=0.01, eps=eps, max_exp_avg_sqs=u)
        assert np.isfinite(m).all()
        assert np.all(np.abs(w - 1) <= 0.4 * step)
    assert w[0] == 1
    largest_squares = 3e38 if dtype == np.float32 else 1e308
    stays = np.abs(g.astype(np.longdouble)) > 1.1 * np.sqrt(np.longdouble(largest_squares) / 1e-3)
    np.testing.assert_array_equal(w[stays], 1)


def test_without_eps_a_weight_without_gradient_stays():
    w = np.array([1.0, -2.0])
    tt.adam_update(w, np.zeros(2), np.zeros(2), np.zeros(2), step=1, lr=0.1, eps=0.0)
    np.testing.assert_array_equal(w, [1.0, -2.0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("decoupled", [False, True])
def test_l1_does_not_pull_zeros(dtype, decoupled):
    w, zeros = np.zeros(37, dtype), lambda: np.zeros(37, dtype)
    w[::2] = -0.0
    tt.adam_update(w, zeros(), zeros(), zeros(), step=1, lr=0.5, l1=1.0, decoupled=decoupled)
    np.testing.assert_array_equal(w, 0)


def test_the_soft_threshold_gives_exact_zeros():
    """Of learning rate times l1, whatever the scale of the gradient."""
    w = np.array([np.nan, 1.0, -0.25, 0.6])
    zeros = [np.zeros(4) for _ in range(3)]
    tt.adam_update(w, *zeros, step=1, lr=0.5, l1=1.0, proximal=True)
    np.testing.assert_array_equal(w, [np.nan, 0.5, 0.0, 0.6 - 0.5])
    w, g = np.full(3, 0.75), np.array([1e-3, 1.0, 1e3])
    tt.adam_update(w, g, np.zeros(3), np.zeros(3), step=1, lr=0.5, eps=0.0, l1=0.5, proximal=True)
    np.testing.assert_allclose(w, 0, atol=1e-12)


def test_masters_keep_what_rounding_would_lose():
    """A thousand steps that are too small for float16 add up in the master."""
    w, g, master = np.ones(3, "f2"), np.ones(3, "f2"), np.ones(3, "f4")
    m, v = np.zeros((2, 3), "f4")
    for step in range(1, 1001):
        tt.adam_update(w, g, m, v, step=step, masters=master, lr=1e-4)
    np.testing.assert_allclose(w, 0.9, rtol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_skip_nonfinite_leaves_everything_unchanged(rng, dtype):
    groups = arguments(rng, [(70_000,), (5,)], dtype)
    options = {"step": 2, "lr": 0.1, "zero_grad": True}
    expected = [copies(group) for group in groups]
    norms = update(expected, statistics=True, **options)
    for bad in (np.nan, np.inf):
        broken = [copies(group) for group in groups]
        broken[1][1][3] = bad
        before = bits(broken)
        result = update(broken, skip_nonfinite=True, **options)
        assert not np.isfinite(result.grad_norm)
        assert result[:2] == norms[:2]
        assert bits(broken) == before
    assert update(groups, skip_nonfinite=True, **options) == norms
    assert bits(groups) == bits(expected)


# ---- plans ----


def plan_of(groups, **options):
    params, grads, averages, of_squares, largest, masters = groups
    return _core.adam_plan(
        params, grads, averages, of_squares, max_exp_avg_sqs=largest, masters=masters, **options
    )


def test_a_plan_updates_as_a_call_does(rng):
    groups = arguments(rng, [(40, 3), (7,), (20_000,)], "f2", with_masters=True)
    expected = [copies(group) for group in groups]
    options = {"betas": (0.5, 0.75), "eps": 0.1, "weight_decay": 0.1, "l1": 0.2, "decoupled": False}
    options |= {"proximal": True, "maximize": True, "zero_grad": True}
    plan = plan_of(groups, **options)
    np.testing.assert_allclose(
        _core.plan_grad_norm(plan), np.sqrt(sum(np.square(g).sum() for g in wide(groups[1]))), rtol=1e-13
    )
    for step in (1, 2, 3):
        for g in (*groups[1], *expected[1]):
            g[...] = step
        of_plan = _core.adam_step(plan, step, 0.1, 0.5, True)
        assert of_plan == update(expected, step=step, lr=0.1, grad_scale=0.5, statistics=True, **options)
    assert bits(groups) == bits(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "l1": 0.2, "decoupled": False},
        {"l1": 0.2, "proximal": True},
    ],
    ids=str,
)
def test_a_plan_decays_some_parameters(rng, options):
    """The others exactly as without decay: an infinite weight times a decay of 0 would be NaN."""
    groups = arguments(rng, [(40,), (7,), (20_000,)], "f4")
    groups[0][1][0] = np.inf
    expected = [copies(group) for group in groups]
    _core.adam_step(plan_of(groups, decays=[True, False, True], **options), 1, 0.1)
    for i, decay in enumerate([options, {}, options]):
        update([group and group[i : i + 1] for group in expected], step=1, lr=0.1, **decay)
    assert bits(groups) == bits(expected)
    assert groups[0][1][0] == np.inf


def test_a_plan_checks_its_arrays(rng):
    w, g, m, v = rng.uniform(1, 2, (4, 5))
    with pytest.raises(ValueError, match=r"^adam_plan: exp_avgs must have shape \(5,\), got \(4,\)$"):
        _core.adam_plan(w, g, m[:4], v)
    with pytest.raises(ValueError, match=r"^adam_plan: exp_avg_sqs must not overlap exp_avgs, got overl"):
        _core.adam_plan(w, g, m, m)
    with pytest.raises(ValueError, match=r"^adam_plan: betas\[1\] must be >= 0 and < 1, got 1"):
        _core.adam_plan(w, g, m, v, betas=(0, 1))
    plan = _core.adam_plan(w, g, m, v)
    with pytest.raises(TypeError, match=r"^sgd_step: plan must be a plan of sgd_plan, got <capsule"):
        _core.sgd_step(plan, 0.1)
    with pytest.raises(TypeError, match=r"^adam_step: plan must be a plan of adam_plan, got <capsule"):
        _core.adam_step(_core.sgd_plan(w, g), 1, 0.1)
    with pytest.raises(ValueError, match=r"^adam_step: step must be an int >= 1, got 0$"):
        _core.adam_step(plan, 0, 0.1)
    assert _core.plan_is_valid(plan) is True
    before = w.copy()
    v.flags.writeable = False
    assert _core.plan_is_valid(plan) is False
    with pytest.raises(ValueError, match=r"^adam_step: plan must hold writeable arrays that stay in place"):
        _core.adam_step(plan, 1, 0.1)
    np.testing.assert_array_equal(w, before)


# ---- PyTorch ----


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)])
@pytest.mark.parametrize("decoupled", [False, True])
def test_trajectories_are_those_of_pytorch(rng, amsgrad, maximize, weight_decay, betas, decoupled):
    """Within 2 ulp a step, of a weight that is not much smaller than its steps."""
    torch = pytest.importorskip("torch")
    start = np.concatenate([rng.standard_normal(1000), np.zeros(37)])
    parameter = torch.tensor(start.copy(), requires_grad=True)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    shared = {"lr": 1e-3, "betas": betas, "eps": 1e-8, "weight_decay": weight_decay, "maximize": maximize}
    optimizer = kind([parameter], amsgrad=amsgrad, fused=True, **shared)
    w = start.copy()
    m, v, u = np.zeros((3, *w.shape))
    for step in range(1, 51):
        g = rng.standard_normal(w.shape)
        parameter.grad = torch.tensor(g)
        optimizer.step()
        options = shared | {"decoupled": decoupled, "max_exp_avg_sqs": u if amsgrad else None}
        tt.adam_update(w, g, m, v, step=step, **options)
        theirs, state = parameter.detach().numpy(), optimizer.state[parameter]
        np.testing.assert_allclose(m, state["exp_avg"], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(v, state["exp_avg_sq"], rtol=1e-13)
        assert np.all(np.abs(w - theirs) <= 2 * step * np.spacing(np.abs(theirs).clip(1e-3)))
