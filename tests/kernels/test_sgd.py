"""Stochastic gradient descent: options, dtypes, lengths and plans."""

import itertools

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
    "momentum": [0.0, 0.5, 0.9],
    "dampening": [0.0, 0.3],
    "weight_decay": [0.0, 0.1],
    "l1": [0.0, 0.2],
    "grad_scale": [1.0, 0.25],
}
FLAGS = ("nesterov", "decoupled", "proximal", "maximize", "first_step")


@st.composite
def option_sets(draw):
    numbers = {name: draw(st.sampled_from(values)) for name, values in NUMBERS.items()}
    flags = {name: draw(st.booleans()) for name in FLAGS}
    flags["nesterov"] &= numbers["momentum"] > 0
    return {"lr": 0.25, **numbers, **flags}


def normal(rng, shapes, dtype):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def copies(arrays):
    return None if arrays is None else [array.copy() for array in arrays]


def wide(arrays):
    return None if arrays is None else [array.astype(np.float64) for array in arrays]


def magnitudes(w, g, v, *, lr, momentum, weight_decay, l1, grad_scale, **_):
    """Sums of the magnitudes of all terms of v and of w."""
    decay = weight_decay * np.abs(w) + l1
    velocity = momentum * np.abs(v) + np.abs(g) * grad_scale + decay
    return velocity, np.abs(w) + lr * (2 * velocity + decay + l1)


def assert_near(got, expected, terms):
    """Within four roundings of the arithmetic and one to a narrower dtype."""
    eps = np.finfo(np.float64 if got.dtype == np.float64 else np.float32).eps
    stored = 0.5 * ulp(expected, got.dtype) if got.dtype in HALVES else 0
    assert np.all(np.abs(got.astype(np.float64) - expected) <= 1.01 * stored + 4 * eps * terms)


def check_update(params, grads, buffers, masters=None, **options):
    """Update the arrays and compare them with the specification; return the result of the update."""
    before = [masters or params, grads, buffers or params]
    w, g, v = map(wide, before)
    expected_w, expected_v = copies(w), copies(v) if buffers else None
    asked = {name: value for name, value in options.items() if name not in ("zero_grad", "statistics")}
    reference.sgd_update(expected_w, g, expected_v, **asked)
    kept_grads = copies(grads)
    result = tt.sgd_update(params, grads, buffers, masters=masters, **options)
    for i in range(len(params)):
        of_v, of_w = magnitudes(w[i], g[i], v[i], **options)
        assert_near((masters or params)[i], expected_w[i], of_w)
        if buffers:
            assert_near(buffers[i], expected_v[i], of_v)
        if masters:
            np.testing.assert_array_equal(params[i], masters[i].astype(params[i].dtype))
        left = np.zeros_like(kept_grads[i]) if options.get("zero_grad") else kept_grads[i]
        np.testing.assert_array_equal(grads[i], left)
    return result


@given(
    st.lists(LENGTHS, max_size=4),
    st.sampled_from(DTYPES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    option_sets(),
    st.integers(0, 2**16),
)
def test_the_update_is_accurate(lengths, dtype, with_masters, with_buffers, zero_grad, options, seed):
    rng = np.random.default_rng(seed)
    shapes = [(n,) for n in lengths] + [(3, 5), (), (0, 4)]
    with_masters &= dtype in HALVES
    if not with_buffers:
        options |= {"momentum": 0.0, "nesterov": False}
    params, grads = normal(rng, shapes, dtype), normal(rng, shapes, dtype)
    masters = normal(rng, shapes, np.float32) if with_masters else None
    buffers = normal(rng, shapes, np.float32 if with_masters else dtype) if with_buffers else None
    assert check_update(params, grads, buffers, masters, zero_grad=zero_grad, **options) is None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("offset", range(0, 64, 8))
def test_any_alignment_and_number_of_tasks_gives_the_same_bits(rng, dtype, offset):
    """Arrays that several tasks share, together with arrays that share a task."""
    shapes = [(3,), (40_001,), (7,), (64, 64), (1,)]
    options = {"lr": 0.25, "momentum": 0.9, "weight_decay": 0.1, "l1": 0.2}
    arrays = [normal(rng, shapes, dtype) for _ in range(3)]
    expected = [copies(array) for array in arrays]
    check_update(*expected, grad_scale=1.0, **options)
    moved = [[at_offset(array, offset) for array in group] for group in arrays]
    tt.sgd_update(*moved, **options)
    for got, value in zip(moved, expected, strict=True):
        for a, b in zip(got, value, strict=True):
            assert a.tobytes() == b.tobytes()


def test_single_arrays_are_updated_in_place(rng):
    w, g, v = rng.standard_normal((3, 4, 5))
    expected = [w.copy()], [g.copy()], [v.copy()]
    reference.sgd_update(*expected, lr=0.5, momentum=0.5)
    assert tt.sgd_update(w, g, v, lr=0.5, momentum=0.5) is None
    np.testing.assert_allclose(w, expected[0][0], rtol=1e-14)
    np.testing.assert_allclose(v, expected[2][0], rtol=1e-14)
    tt.sgd_update((w,), (g,), (v,), lr=0.0)
    tt.sgd_update([], [], [], lr=0.5, momentum=0.5)


@given(st.sampled_from(DTYPES), st.sets(st.integers(1, 5)), st.integers(1, 4), st.integers(0, 2**16))
def test_bits_do_not_depend_on_how_lists_are_split(dtype, cuts, threads, seed):
    rng = np.random.default_rng(seed)
    together = [normal(rng, [(40_001,), (3,), (70_000,), (64,), (1,), (257,)], dtype) for _ in range(3)]
    parts = [copies(group) for group in together]
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "l1": 0.001}
    tt.set_num_threads(1)
    tt.sgd_update(*together, **options)
    tt.set_num_threads(threads)
    for begin, end in itertools.pairwise([0, *sorted(cuts), 6]):
        tt.sgd_update(*(group[begin:end] for group in parts), **options)
    for a, b in zip(together, parts, strict=True):
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b]


def test_first_step_may_concern_some_parameters(rng):
    """Their buffers are not read, even if they hold NaN."""
    params, grads = normal(rng, [(5,), (70,)], "f4"), normal(rng, [(5,), (70,)], "f4")
    buffers = [np.full(5, np.nan, "f4"), np.ones(70, "f4")]
    expected = wide(params)
    reference.sgd_update(
        expected[:1], wide(grads[:1]), wide(buffers[:1]), lr=0.5, momentum=0.5, first_step=True
    )
    reference.sgd_update(
        expected[1:], wide(grads[1:]), wide(buffers[1:]), lr=0.5, momentum=0.5, dampening=0.5
    )
    tt.sgd_update(params, grads, buffers, lr=0.5, momentum=0.5, dampening=0.5, first_step=[True, False])
    np.testing.assert_array_equal(buffers[0], grads[0])
    for got, value in zip(params, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_are_sums_before_the_update(rng, dtype):
    shapes = [(40_001,), (3, 5), (), (0,), (9000,)]
    params, grads, buffers = (normal(rng, shapes, dtype) for _ in range(3))
    every_w, every_g = (np.concatenate([a.ravel() for a in wide(group)]) for group in (params, grads))
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "l1": 0.0, "zero_grad": True}
    result = check_update(params, grads, buffers, grad_scale=0.5, statistics=True, **options)
    assert result._fields == ("l1_norm", "l2_norm_sq", "grad_norm")
    expected = np.abs(every_w).sum(), np.square(every_w).sum(), 0.5 * np.linalg.norm(every_g)
    np.testing.assert_allclose(result, expected, rtol=1e-13)


@pytest.mark.parametrize("skipped", [False, True])
def test_statistics_count_the_masters(rng, skipped):
    masters, grads = normal(rng, [(50,)], "f4"), normal(rng, [(50,)], "f2")
    grads[0][7] = np.inf if skipped else 0
    options = {"lr": 0.1, "statistics": True, "skip_nonfinite": skipped}
    result = tt.sgd_update([np.zeros(50, "f2")], grads, masters=copies(masters), **options)
    np.testing.assert_allclose(result.l2_norm_sq, np.square(wide(masters)).sum(), rtol=1e-13)


def test_masters_keep_what_rounding_would_lose():
    """A thousand steps that are too small for float16 add up in the master."""
    w, g, master = np.ones(3, "f2"), np.ones(3, "f2"), np.ones(3, "f4")
    alone = w.copy()
    for _ in range(1000):
        tt.sgd_update(w, g, masters=master, lr=1e-4)
        tt.sgd_update(alone, g, lr=1e-4)
    np.testing.assert_array_equal(alone, 1)
    np.testing.assert_allclose(w, 0.9, rtol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("into", ["params", "grads", "momentum_buffers"])
def test_nan_and_inf_stay_in_their_element(rng, dtype, bad, into):
    """In every lane and in the tail."""
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "l1": 0.1}
    for place in range(37):
        arrays = {
            name: rng.standard_normal(37).astype(dtype) for name in ("params", "grads", "momentum_buffers")
        }
        expected = {name: array.copy() for name, array in arrays.items()}
        tt.sgd_update(**expected, **options)
        arrays[into][place] = bad
        tt.sgd_update(**arrays, **options)
        others = np.arange(37) != place
        assert not np.isfinite(arrays["params"][place].astype(np.float64))
        np.testing.assert_array_equal(arrays["params"][others], expected["params"][others])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("decoupled", [False, True])
def test_l1_does_not_pull_zeros(dtype, decoupled):
    """Of either sign, in every lane and in the tail."""
    w = np.zeros(37, dtype)
    w[::2] = -0.0
    tt.sgd_update(w, np.zeros(37, dtype), lr=0.5, l1=1.0, decoupled=decoupled)
    np.testing.assert_array_equal(w, 0)


def test_nan_survives_the_soft_threshold():
    w = np.array([np.nan, 1.0, -0.25])
    tt.sgd_update(w, np.zeros(3), lr=0.5, l1=1.0, proximal=True)
    np.testing.assert_array_equal(w, [np.nan, 0.5, 0.0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_skip_nonfinite_leaves_everything_unchanged(rng, dtype):
    arrays = [normal(rng, [(70_000,), (5,)], dtype) for _ in range(3)]
    options = {"lr": 0.1, "momentum": 0.9, "zero_grad": True}
    expected = [copies(group) for group in arrays]
    before = [[a.tobytes() for a in group] for group in arrays]
    norms = tt.sgd_update(*expected, statistics=True, **options)
    assert np.isfinite(norms.grad_norm)
    for bad in (np.nan, np.inf):
        broken = [copies(group) for group in arrays]
        broken[1][1][3] = bad
        gradient = broken[1][1].tobytes()
        result = tt.sgd_update(*broken, skip_nonfinite=True, **options)
        assert not np.isfinite(result.grad_norm)
        assert result[:2] == norms[:2]
        assert broken[1][1].tobytes() == gradient
        assert [a.tobytes() for a in broken[0] + broken[2]] == before[0] + before[2]
    assert tt.sgd_update(*arrays, skip_nonfinite=True, **options) == norms
    assert [a.tobytes() for a in arrays[0]] == [a.tobytes() for a in expected[0]]


# ---- plans ----


def test_a_plan_updates_as_a_call_does(rng):
    shapes = [(40, 3), (7,), (20_000,)]
    arrays = [
        normal(rng, shapes, "f2"),
        normal(rng, shapes, "f2"),
        *(normal(rng, shapes, "f4") for _ in range(2)),
    ]
    expected = [copies(group) for group in arrays]
    options = {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "l1": 0.2, "zero_grad": True}
    plan = _core.sgd_plan(*arrays[:3], masters=arrays[3], **options)
    np.testing.assert_allclose(
        _core.plan_grad_norm(plan), np.sqrt(sum(np.square(g).sum() for g in wide(arrays[1]))), rtol=1e-13
    )
    for step in range(3):
        for group in (arrays, expected):
            for g in group[1]:
                g[...] = step + 1
        of_plan = _core.sgd_step(plan, 0.1, 0.5, step == 0, True)
        of_call = tt.sgd_update(
            *expected[:3],
            masters=expected[3],
            lr=0.1,
            grad_scale=0.5,
            first_step=step == 0,
            statistics=True,
            **options,
        )
        assert of_plan == of_call
    for a, b in zip(arrays, expected, strict=True):
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b]


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "l1": 0.2, "decoupled": True},
        {"l1": 0.2, "proximal": True},
    ],
    ids=str,
)
def test_a_plan_decays_some_parameters(rng, options):
    """The others exactly as without decay: an infinite weight times a decay of 0 would be NaN."""
    shapes = [(40,), (7,), (20_000,)]
    arrays = [normal(rng, shapes, "f4") for _ in range(3)]
    arrays[0][1][0] = np.inf
    expected = [copies(group) for group in arrays]
    plan = _core.sgd_plan(*arrays, momentum=0.9, decays=[True, False, True], **options)
    _core.sgd_step(plan, 0.1)
    for i, decay in enumerate([options, {}, options]):
        tt.sgd_update(*(group[i] for group in expected), lr=0.1, momentum=0.9, **decay)
    for a, b in zip(arrays, expected, strict=True):
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b]
    assert arrays[0][1][0] == np.inf


def test_a_plan_checks_its_arrays(rng):
    w, g, v = rng.standard_normal((3, 5))
    with pytest.raises(ValueError, match=r"^sgd_plan: grads must have shape \(5,\), got \(4,\)$"):
        _core.sgd_plan(w, g[:4])
    with pytest.raises(ValueError, match=r"^sgd_plan: momentum_buffers must not overlap params, got overl"):
        _core.sgd_plan(w, g, w)
    with pytest.raises(ValueError, match=r"^sgd_plan: momentum must be finite and >= 0, got -1"):
        _core.sgd_plan(w, g, v, momentum=-1)
    with pytest.raises(ValueError, match=r"^sgd_plan: decays must have 1 bools, got 2$"):
        _core.sgd_plan(w, g, v, decays=[True, False])
    with pytest.raises(TypeError, match=r"^sgd_step: plan must be a plan of sgd_plan, got array"):
        _core.sgd_step(w, 0.1)
    with pytest.raises(TypeError, match=r"^plan_is_valid: plan must be a plan, got array"):
        _core.plan_is_valid(w)
    plan = _core.sgd_plan(w, g, v)
    assert _core.plan_is_valid(plan) is True
    before = w.copy()
    w.flags.writeable = False
    assert _core.plan_is_valid(plan) is False
    with pytest.raises(ValueError, match=r"^sgd_step: plan must hold writeable arrays that stay in place"):
        _core.sgd_step(plan, 0.1)
    np.testing.assert_array_equal(w, before)
