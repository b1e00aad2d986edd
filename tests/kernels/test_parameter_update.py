"""Sums over weights, norms of gradients, and clipping."""

import ml_dtypes
import numpy as np
import pytest
import reference
import trimtab as tt
from helpers.strategies import DTYPES, LAYOUTS


def normal(rng, shapes, dtype):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_penalty_is_accurate(rng, dtype, layout):
    params = [LAYOUTS[layout](w) for w in normal(rng, [(5, 70), (3,), (40_001,)], dtype)]
    expected = reference.penalty(params, l1=0.3, l2=0.7)
    assert tt.penalty(params, l1=0.3, l2=0.7) == pytest.approx(expected, rel=1e-13)
    assert tt.penalty(params[0], l1=0.3, l2=0.7) == pytest.approx(
        reference.penalty(params[:1], l1=0.3, l2=0.7), rel=1e-13
    )
    assert tt.penalty(params) == tt.penalty([], l1=1.0, l2=1.0) == 0


def test_decay_descends_the_gradient_of_the_penalty(rng):
    """Which is taken by central differences."""
    w = rng.uniform(0.5, 1.5, 6) * [1, -1, 1, -1, 1, -1]
    step = 1e-6 * np.eye(6)
    slope = [(tt.penalty(w + d, l1=0.3, l2=0.7) - tt.penalty(w - d, l1=0.3, l2=0.7)) / 2e-6 for d in step]
    moved = w.copy()
    tt.sgd_update(moved, np.zeros(6), lr=0.5, l1=0.3, weight_decay=0.7)
    np.testing.assert_allclose(moved, w - 0.5 * np.array(slope), rtol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("limit", [0.0, 1.0, 1e4, np.inf])
def test_clipping_scales_gradients_to_the_bound(rng, dtype, limit):
    grads = normal(rng, [(40, 30), (7,), (9000,)], dtype)
    before, expected = [g.copy() for g in grads], [g.astype(np.float64) for g in grads]
    norm = tt.clip_grad_norm(grads, limit)
    assert norm == pytest.approx(reference.clip_grad_norm(expected, limit), rel=1e-13)
    for g, old, value in zip(grads, before, expected, strict=True):
        if norm <= limit:
            assert g.tobytes() == old.tobytes()
        eps = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(
            g.astype(float), value, rtol=2 * eps, atol=float(ml_dtypes.finfo(dtype).smallest_subnormal)
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_leaves_nonfinite_gradients_unchanged(bad):
    grads = [np.array([1.0, bad], "f4"), np.array([3.0])[:0].astype("f4")]
    before = grads[0].tobytes()
    assert not np.isfinite(tt.clip_grad_norm(grads, 1.0))
    assert grads[0].tobytes() == before


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_norms_of_extreme_gradients_are_finite(rng, scale):
    """Although squares exceed the range of float32."""
    grads = [(rng.standard_normal(1000) * scale).astype("f4")]
    expected = np.linalg.norm(grads[0].astype(np.float64))
    assert tt.clip_grad_norm(grads, np.inf) == pytest.approx(expected, rel=1e-13)
    tt.clip_grad_norm(grads, float(scale))
    assert np.linalg.norm(grads[0].astype(np.float64)) == pytest.approx(scale, rel=1e-6)


def test_gradients_whose_norm_exceeds_the_largest_number_are_clipped():
    grads = [np.array([1.5e308, -1.5e308]), np.array([[1e308]])]
    assert tt.clip_grad_norm(grads, 2.0) == np.inf
    direction = np.array([1.5, -1.5, 1.0]) / np.linalg.norm([1.5, -1.5, 1.0])
    np.testing.assert_allclose(np.concatenate([grads[0], grads[1][0]]), 2 * direction, rtol=1e-14)


def test_the_penalty_is_finite_where_its_sums_are_not():
    w = np.array([1.5e308, -1e308, 1e308])
    assert tt.penalty(w, l1=1e-5) == pytest.approx(1.5e303 + 2e303, rel=1e-14)
    assert tt.penalty(w, l1=1.0) == np.inf
    assert tt.penalty(w, l2=2e-312) == pytest.approx(4.25e304, rel=1e-9)
    assert tt.penalty(np.array([np.inf]), l1=0.5) == np.inf
    assert np.isnan(tt.penalty(np.array([np.nan, 1e308, 1e308]), l1=0.5))
