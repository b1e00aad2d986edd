"""Arrays updated in place: any memory order, lists, mappings and iterables."""

import re
import tracemalloc
from collections import OrderedDict, UserDict
from types import MappingProxyType

import ml_dtypes
import numpy as np
import pytest
import trimtab as tt
from helpers.strategies import DTYPES, LAYOUTS
from hypothesis import given
from hypothesis import strategies as st
from trimtab import _core

# ---- memory in any order ----

ORDERS = {name: LAYOUTS[name] for name in LAYOUTS if name not in ("read-only", "broadcast")}


@st.composite
def memory_orders(draw):
    return [ORDERS[draw(st.sampled_from([*ORDERS]))] for _ in range(4)]


@given(
    st.sampled_from(DTYPES),
    st.sampled_from([(7, 6), (5, 1, 3), (4,), (0, 3), (3, 4, 5)]),
    memory_orders() | st.sampled_from([*ORDERS.values()]).map(lambda order: [order] * 4),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_arrays_in_any_memory_order_are_updated(dtype, shape, orders, planned, seed):
    """With the bits of contiguous arrays; the memory between elements is not written."""
    rng = np.random.default_rng(seed)
    with_masters = dtype in [d for d in DTYPES if d.itemsize == 2]
    dtypes = [dtype, dtype, *[np.dtype("f4") if with_masters else dtype] * 2][: 4 if with_masters else 3]
    names = ("params", "grads", "momentum_buffers", "masters")
    plain = {name: rng.standard_normal(shape).astype(d) for name, d in zip(names, dtypes, strict=False)}
    given = {name: order(a) for (name, a), order in zip(plain.items(), orders, strict=False)}
    options = {"momentum": 0.9, "weight_decay": 0.1, "l1": 0.2, "zero_grad": True}
    expected = tt.sgd_update(**plain, lr=0.1, statistics=True, **options)
    if planned:
        got = _core.sgd_step(_core.sgd_plan(**given, **options), 0.1, statistics=True)
    else:
        got = tt.sgd_update(**given, lr=0.1, statistics=True, **options)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    for name, array in given.items():
        np.testing.assert_array_equal(array, plain[name])


def test_memory_between_elements_is_not_written(rng):
    memory = rng.standard_normal((6, 8)).astype("f4")
    before = memory.copy()
    tt.sgd_update(memory[::2, ::2], np.ones((3, 4), "f4"), lr=1.0)
    before[::2, ::2] -= 1
    np.testing.assert_array_equal(memory, before)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_norms_do_not_depend_on_the_memory_order(rng, order, dtype):
    values = rng.standard_normal((5, 6)).astype(dtype)
    w = values.astype("f8")
    given = ORDERS[order](values)
    np.testing.assert_allclose(
        tt.penalty(given, l1=2.0, l2=3.0), 2 * np.abs(w).sum() + 1.5 * np.square(w).sum(), rtol=1e-13
    )
    norm = np.sqrt(np.square(w).sum())
    np.testing.assert_allclose(tt.clip_grad_norm([given], 1.0), norm, rtol=1e-13)
    np.testing.assert_allclose(given.astype("f8"), w / norm, rtol=float(ml_dtypes.finfo(dtype).eps))


def peak_of_memory(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", ["Fortran", "last axis outermost", "reversed"])
def test_dense_arrays_of_one_order_are_not_copied(rng, order):
    w, g, v = (rng.standard_normal((40, 50)) for _ in range(3))
    if order == "reversed":
        same = [x[::-1, ::-1] for x in (w, g, v)]
    else:
        same = [ORDERS[order](x) for x in (w, g, v)]
    options = {"lr": 0.1, "momentum": 0.9}
    assert peak_of_memory(lambda: tt.sgd_update(*same, **options)) < w.nbytes / 2
    assert peak_of_memory(lambda: tt.clip_grad_norm(same, 1.0)) < w.nbytes / 2
    assert peak_of_memory(lambda: tt.penalty(same, l2=1.0)) < w.nbytes / 2
    other = np.moveaxis(np.zeros((40, 50))[::2], 0, 1)
    mixed = np.zeros((50, 20)), other, np.zeros((50, 20))
    assert peak_of_memory(lambda: tt.sgd_update(*mixed, **options)) > other.nbytes


# ---- mappings ----


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict, MappingProxyType])
def test_mappings_are_matched_by_key(rng, kind):
    """Whatever the order of the keys."""
    w, g, v = ({n: rng.standard_normal(3) for n in names} for names in ("ab", "ba", "ab"))
    expected = {n: w[n] - 0.1 * (0.9 * v[n] + g[n]) for n in w}
    tt.sgd_update(kind(w), kind(g), kind(v), lr=0.1, momentum=0.9)
    for name, value in expected.items():
        np.testing.assert_allclose(w[name], value, rtol=1e-14)
    norm = np.sqrt(sum(np.square(x).sum() for x in w.values()))
    np.testing.assert_allclose(tt.clip_grad_norm(kind(w), np.inf), norm, rtol=1e-14)
    np.testing.assert_allclose(tt.penalty(kind(w), l2=1.0), norm**2 / 2, rtol=1e-14)
    plan = _core.sgd_plan(kind(w), kind(g))
    np.testing.assert_allclose(_core.plan_grad_norm(plan) ** 2, sum(np.square(x).sum() for x in g.values()))


def test_values_of_mappings_are_lists_of_arrays(rng):
    w, g = ({n: rng.standard_normal(3) for n in "ab"} for _ in range(2))
    expected = [w[n] - g[n] for n in w]
    tt.sgd_update(w.values(), (g[n] for n in w), lr=1.0)
    np.testing.assert_array_equal([*w.values()], expected)


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        ({"a": 1}, ValueError, "grads must have the keys of params, got none for 'b'"),
        ({"a": 1, "b": 1, "c": 1}, ValueError, "grads must have the keys of params, got one for 'c'"),
        ([1, 1], TypeError, "grads must be a mapping as params, got list"),
        ({"a": 1, "b": 4}, ValueError, r"grads['b'] must have shape (1,), got (4,)"),
    ],
)
def test_mappings_with_other_keys_are_refused(grads, error, message):
    params = {"a": np.ones(1), "b": np.ones(1)}
    given = {n: np.ones(size) for n, size in grads.items()} if isinstance(grads, dict) else grads
    with pytest.raises(error, match=f"^sgd_update: {re.escape(message)}$"):
        tt.sgd_update(params, given, lr=0.1)
    with pytest.raises(
        TypeError, match=r"^sgd_update: grads must be no mapping where params is none, got dict"
    ):
        tt.sgd_update([np.ones(1)], {"a": np.ones(1)}, lr=0.1)


def test_axes_of_length_1_may_differ(rng):
    w, g, v = (rng.standard_normal(shape) for shape in [(1, 4), (4,), (4, 1)])
    expected = w - 0.5 * (0.5 * v.reshape(1, 4) + g)
    tt.sgd_update(w, g, v, lr=0.5, momentum=0.5)
    np.testing.assert_allclose(w, expected, rtol=1e-14)
